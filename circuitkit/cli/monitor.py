"""The command `monitor`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import BosOption, Machine, OneModel, Shown, require_bos


@dataclass(frozen=True)
class Watched(OneModel):
    """What is watched, and which topics are held out."""

    held_out: Annotated[
        str,
        typer.Option(
            "--held-out",
            help="Topics that the scorer is measured on and not made from, as food,music.",
            metavar="TOPICS",
        ),
    ] = ""
    layer: Annotated[
        int | None,
        typer.Option(
            "--layer", help="Layer in front of which it reads (default: the middle).", metavar="N"
        ),
    ] = None
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="difference (of the two means) or probe (a logistic regression).",
            metavar="[difference|probe]",
        ),
    ] = "difference"
    bos: BosOption = "auto"

    def __post_init__(self) -> None:
        """Require a seed and a policy for the BOS token."""
        super().__post_init__()
        require_bos(self.bos)


@command
def monitor(
    prompts: Annotated[
        Path,
        typer.Argument(
            help="Prompts of two classes with topics: a JSON object with prompt, label and topic "
            "on each line.",
            metavar="FILE",
        ),
    ],
    what: Watched,
    machine: Machine,
    shown: Shown,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the scorer here.", metavar="DIR"),
    ] = None,
) -> None:
    """Make a small scorer of a direction, measured on topics that it was not made from.

    Example: `circuitkit monitor requests.jsonl --held-out food,music -o scorer`
    """
    with loading():
        from circuitkit.cli.actions.monitor import make_scorer
    make_scorer(prompts, what, machine, shown, output)
