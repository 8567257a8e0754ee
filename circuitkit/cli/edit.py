"""The command `edit`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit import names
from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Machine, OneModel, Shown
from circuitkit.cli.values import choice


@dataclass(frozen=True, kw_only=True)
class EditedFact(OneModel):
    """Which fact of which model is edited."""

    title: ClassVar[str] = "What is edited"

    task: Annotated[
        str,
        typer.Argument(
            help="A task whose pairs have the role of a subject, as factual-recall.",
            metavar="TASK",
        ),
    ]
    fact: Annotated[
        str,
        typer.Option("--fact", help="A prompt of the task that states the fact.", metavar="PROMPT"),
    ]
    target: Annotated[
        str, typer.Option("--target", help="What is to follow it: one token.", metavar="WORD")
    ]
    subject: Annotated[
        str, typer.Option("--subject", help="The role of the subject.", metavar="ROLE")
    ] = "subject"


@dataclass(frozen=True)
class HowEdited:
    """How it is edited, and of what text keys are known."""

    title: ClassVar[str] = "How it is edited"

    layer: Annotated[
        str,
        typer.Option(
            "--layer",
            help="all: every layer, beside what causal tracing says of it; traced: the same, and "
            "the layer where tracing peaks is the one saved; or a number: that layer alone.",
            metavar="traced|all|N",
        ),
    ] = "traced"
    method: Annotated[
        str,
        choice("--method", names=tuple(names.EDITS), help="How the matrix is changed", kind="edit"),
    ] = "r-rome"
    texts: Annotated[
        Path | None,
        typer.Option(
            "--texts",
            help="File of text, one on each line: how keys are spread, and what must not change. "
            "pico's own language without it.",
            metavar="FILE",
        ),
    ] = None
    n_tokens: Annotated[
        int, typer.Option("--tokens", help="Tokens of text to read for it.", metavar="N")
    ] = 50_000
    statistics: Annotated[
        Path | None,
        typer.Option(
            "--statistics",
            help="Directory where second moments of keys are kept, and read the next time.",
            metavar="DIR",
        ),
    ] = None


@command
def edit(
    what: EditedFact,
    how: HowEdited,
    machine: Machine,
    shown: Shown,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Directory for edits.json.", metavar="DIR"),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Write the edited model here.", metavar="DIR"),
    ] = None,
) -> None:
    """Edit a fact in one layer or each, and measure what else changed.

    Example: `circuitkit edit factual-recall --fact "The capital of France is" --target Rome`
    """
    with loading():
        from circuitkit.cli.actions.edit import edit_and_measure
    edit_and_measure(what, how, machine, shown, output, save)
