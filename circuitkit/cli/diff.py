"""The command `diff`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import CommonGround, Machine, PictureFile, Shown

N_SHOWN = 15


@command
def diff(
    a: Annotated[Path, typer.Argument(help="The circuit file of circuit A.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="The circuit file of circuit B.", metavar="B")],
    ground: CommonGround,
    machine: Machine,
    shown: Shown,
    run: Annotated[
        bool,
        typer.Option(
            "--run/--no-run",
            help="Run both circuits; --no-run: compare files only, without loading a model.",
        ),
    ] = True,
    show_all: Annotated[
        bool, typer.Option("--all", help=f"Show every edge, not the {N_SHOWN} strongest of each.")
    ] = False,
    output: PictureFile = Path("circuit-diff.svg"),
) -> None:
    """Compare two circuits: the edges of both, of one alone, and the effect of swapping them.

    Example: `circuitkit diff eap.json eap-ig.json -o diff.png`
    """
    with loading():
        from circuitkit.cli.actions.diff import diff_files
    limit = None if show_all else N_SHOWN
    if run:
        diff_files((a, b), ground, machine, shown, output, limit=limit)
    else:
        diff_files((a, b), None, machine, shown, output, limit=limit)
