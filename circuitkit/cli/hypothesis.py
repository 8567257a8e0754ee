"""The command `hypothesis`."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Machine, Shown, What


@dataclass(frozen=True)
class JudgedOn(What):
    """On what a hypothesis is judged."""

    title: ClassVar[str] = "On what it is judged"

    task: Annotated[
        str,
        typer.Option(
            "--task", help="Task that it does (default: the hypothesis' own).", metavar="TASK"
        ),
    ] = ""
    n: Annotated[
        int,
        typer.Option("--n", help="Pairs to search on, and as many to judge on.", metavar="N"),
    ] = 100


@dataclass(frozen=True)
class Places:
    """Where the variables are."""

    title: ClassVar[str] = "Where its variables are"

    align: Annotated[
        list[str] | None,
        typer.Option(
            "--align",
            help="A variable's place, instead of the hypothesis' own, as 'subject=a3.h0 at END' or "
            "'subject=post 2 at S2'; once for each.",
            metavar="VARIABLE=PLACE",
        ),
    ] = None
    search: Annotated[
        bool,
        typer.Option("--search", help="Look for the places that --align does not give."),
    ] = False
    at: Annotated[
        str,
        typer.Option(
            "--at",
            help="Places that are searched, and are the controls: some of those of `patch`.",
            metavar="SITES",
        ),
    ] = "resid-post,heads"
    subspace: Annotated[
        int,
        typer.Option(
            "--subspace",
            help="Exchange a subspace of this many dimensions, trained for each variable (default: "
            "whole places).",
            metavar="K",
        ),
    ] = 0
    steps: Annotated[int, typer.Option("--steps", help="Steps of that training.", metavar="N")] = (
        100
    )
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls", help="Measure other places and an untrained model too."
        ),
    ] = True


@command
def hypothesis(
    which: Annotated[
        str,
        typer.Argument(
            help="A hypothesis that ships, as ioi-by-name, or ioi.py:IOIAlgorithm.",
            metavar="HYPOTHESIS",
        ),
    ],
    on: JudgedOn,
    places: Places,
    machine: Machine,
    shown: Shown,
) -> int:
    """Judge an algorithm: exchange what its variables hold, and compare the answers.

    Example: `circuitkit hypothesis ioi-by-name --model pico`
    """
    with loading():
        from circuitkit.cli.actions.hypothesis import judge
    return judge(which, on, places, machine, shown)
