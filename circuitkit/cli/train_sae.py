"""The command `train-sae`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit import names
from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Machine, Shown, What
from circuitkit.cli.values import choice


@dataclass(frozen=True)
class TrainedOn(What):
    """What model it is of, and which prompts it is trained on."""

    title: ClassVar[str] = "What it is trained on"

    task: Annotated[
        str,
        typer.Option("--task", help="Train on the prompts of this task.", metavar="TASK"),
    ] = ""
    texts: Annotated[
        Path | None,
        typer.Option("--texts", help="Train on a file of text, one on each line.", metavar="FILE"),
    ] = None
    n: Annotated[
        int,
        typer.Option(
            "--n",
            help="Pairs of a task or prompt file to draw, to train and to hold out.",
            metavar="N",
        ),
    ] = 1000


@dataclass(frozen=True)
class Dictionary:
    """What is trained."""

    title: ClassVar[str] = "What is trained"

    at: Annotated[
        str,
        typer.Option(
            "--at",
            help="What it takes apart: m3 (MLP output of layer 3), a3 (attention output), r3 "
            "(residual stream behind it), several as m0,m1, or mlps.",
            metavar="PLACES",
        ),
    ] = "mlps"
    kind: Annotated[
        str,
        choice(
            "--kind",
            names=tuple(names.DICTIONARY_KINDS),
            help="What features are",
            kind="dictionary",
        ),
    ] = "batchtopk"
    features: Annotated[
        int,
        typer.Option(
            "--features", help="How many features (default: 4 for each dimension).", metavar="N"
        ),
    ] = 0
    k: Annotated[
        int, typer.Option("--k", help="Features active on a token, on average.", metavar="N")
    ] = 16
    steps: Annotated[int, typer.Option("--steps", help="Steps of training.", metavar="N")] = 1000
    prompts_per_step: Annotated[
        int, typer.Option("--prompts-per-step", help="Prompts of one step.", metavar="N")
    ] = 32
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Largest size of a step.", metavar="X")
    ] = 2e-3
    positions: Annotated[
        str,
        choice(
            "--positions",
            names=tuple(names.TRAINED_POSITIONS),
            help="Tokens that are trained on",
            kind="dictionary",
        ),
    ] = "content"


@command
def train_sae(
    what: TrainedOn,
    dictionary: Dictionary,
    machine: Machine,
    shown: Shown,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Directory; a folder for each place.", metavar="DIR"),
    ],
) -> None:
    """Train sparse dictionaries (SAEs, transcoders), and write them as SAELens does.

    Example: `circuitkit train-sae --model pico --at m3 --kind topk -o my-sae`
    """
    with loading():
        from circuitkit.cli.actions.train_sae import train_dictionaries
    train_dictionaries(what, dictionary, machine, shown, output)
