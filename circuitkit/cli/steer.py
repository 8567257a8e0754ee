"""The command `steer`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Machine, Shown, What

ChartFile = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Draw the curves here, as .svg or .png.", metavar="FILE"),
]
UnrelatedOption = Annotated[
    Path | None,
    typer.Option(
        "--unrelated",
        help="File of prompts that should not change, one on each line, to measure side effects.",
        metavar="FILE",
    ),
]
SaveOption = Annotated[
    Path | None, typer.Option("--save", help="Write the direction here.", metavar="DIR")
]


@dataclass(frozen=True)
class Steered(What):
    """What is steered: a task's pairs, or prompts of two classes."""

    n: Annotated[int, typer.Option("--n", help="Pairs of each split.", metavar="N")] = 64
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            help="File of prompts of two classes instead of TASK: a JSON object with prompt and "
            "label on each line.",
            metavar="FILE",
        ),
    ] = None
    tokens: Annotated[
        str,
        typer.Option(
            "--tokens",
            help="With --classes: the tokens whose log-odds are watched, several as ' yes,Yes'.",
            metavar="TOKENS",
        ),
    ] = ""
    unrelated: UnrelatedOption = None


@dataclass(frozen=True)
class Direction:
    """Which direction, and how much of it."""

    title: ClassVar[str] = "The direction"

    at: Annotated[
        str,
        typer.Option(
            "--at",
            help="Where it is read and added: r3 (residual stream behind layer 3), m3 (MLP output) "
            "or a3 (attention output); default: r and the middle layer.",
            metavar="PLACE",
        ),
    ] = ""
    vector: Annotated[
        Path | None,
        typer.Option("--vector", help="Use a direction that was saved.", metavar="DIR"),
    ] = None
    feature: Annotated[
        str,
        typer.Option(
            "--feature",
            help="Use a feature of a sparse dictionary, as pico:m3#5 or FOLDER#5.",
            metavar="NAME#N",
        ),
    ] = ""
    doses: Annotated[
        str,
        typer.Option("--doses", help="Times the direction is added.", metavar="NUMBERS"),
    ] = "-1,-0.5,0,0.5,1,1.5,2"
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Add it at every position, not the last alone.")
    ] = False


@command
def steer(
    what: Steered,
    direction: Direction,
    machine: Machine,
    shown: Shown,
    save: SaveOption = None,
    output: ChartFile = None,
) -> None:
    """Add a direction in doses, beside random ones of its length, and show the response.

    Example: `circuitkit steer ioi --at r2`
    """
    with loading():
        from circuitkit.cli.actions.steer import show_steering
    show_steering(what, direction, machine, shown, (save, output))
