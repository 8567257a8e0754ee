"""The command `refusal`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import BosOption, Machine, OneModel, Shown, require_bos
from circuitkit.cli.steer import ChartFile, SaveOption, UnrelatedOption


@dataclass(frozen=True)
class Refusals(OneModel):
    """What refuses, and which prompts."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Zoo name, local directory or Hugging Face name; planted-refusal has one that is "
            "known, and prompts of its own.",
            metavar="MODEL",
        ),
    ] = "planted-refusal"
    n: Annotated[
        int,
        typer.Option("--n", help="Prompts to draw for planted-refusal, both kinds.", metavar="N"),
    ] = 256
    harmful: Annotated[
        Path | None,
        typer.Option("--harmful", help="File of harmful prompts, one a line.", metavar="FILE"),
    ] = None
    harmless: Annotated[
        Path | None,
        typer.Option("--harmless", help="File of harmless prompts, one a line.", metavar="FILE"),
    ] = None
    tokens: Annotated[
        str,
        typer.Option(
            "--tokens", help="Texts of one token that begin a refusal, as 'I,As'.", metavar="WORDS"
        ),
    ] = ""
    unrelated: UnrelatedOption = None
    bos: BosOption = "auto"

    def __post_init__(self) -> None:
        """Require a seed and a policy for the BOS token."""
        super().__post_init__()
        require_bos(self.bos)


@dataclass(frozen=True)
class Candidates:
    """Which directions are candidates."""

    title: ClassVar[str] = "Which directions are candidates"

    ends: Annotated[
        int, typer.Option("--ends", help="Last tokens that they are read at.", metavar="N")
    ] = 2
    layers: Annotated[
        str,
        typer.Option(
            "--layers", help="Layers (default: all below 0.8 of them).", metavar="NUMBERS"
        ),
    ] = ""
    max_kl: Annotated[
        float, typer.Option("--max-kl", help="Largest change of harmless answers.", metavar="NATS")
    ] = 0.1


@command
def refusal(
    what: Refusals,
    candidates: Candidates,
    machine: Machine,
    shown: Shown,
    save: SaveOption = None,
    output: ChartFile = None,
) -> None:
    """Select the direction that decides whether a model refuses, and measure what it does.

    Example: `circuitkit refusal --model planted-refusal`
    """
    with loading():
        from circuitkit.cli.actions.refusal import show_refusal
    show_refusal(what, candidates, machine, shown, (save, output))
