"""The command `finetuning`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Machine, Shown, What
from circuitkit.cli.rules import MethodOption


@dataclass(frozen=True)
class Tuned(What):
    """What is studied: a task in a fine-tuned model, held against its base."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="The fine-tuned model: a directory or Hugging Face name; its base with --adapter.",
            metavar="MODEL",
        ),
    ] = ""
    base: Annotated[
        str,
        typer.Option("--base", help="The model from which it was tuned.", metavar="MODEL"),
    ] = "pico"


@dataclass(frozen=True)
class Change:
    """How the edges that carry the change are found."""

    title: ClassVar[str] = "How they are found"

    method: MethodOption = "eap"
    edges: Annotated[
        int,
        typer.Option(
            "--edges",
            min=0,
            help="Edges of the circuit (0: the fewest that carry 0.9 of the change).",
            metavar="N",
        ),
    ] = 0


@command
def finetuning(
    what: Tuned,
    change: Change,
    machine: Machine,
    shown: Shown,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Directory for what is found.", metavar="DIR"),
    ] = Path("finetuning"),
) -> None:
    """Find the edges that carry what fine-tuning changed, and take those back alone.

    Example: `circuitkit finetuning ioi --base pico --model ./tuned -o finetuning`
    """
    with loading():
        from circuitkit.cli.actions.finetuning import find_change
    find_change(what, change, machine, shown, output)
