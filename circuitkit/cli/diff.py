"""The command `diff`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import CommonGround, Machine, PictureFile, Shown

N_SHOWN = 15


@dataclass(frozen=True)
class Runs(CommonGround):
    """What two circuits are run on, or that they are not."""

    run: Annotated[
        bool,
        typer.Option(
            "--run/--no-run",
            help="Run both circuits; --no-run: compare files only, without loading a model.",
        ),
    ] = True


@dataclass(frozen=True)
class ShownEdges(Shown):
    """What is shown, and how many edges of each circuit."""

    show_all: Annotated[
        bool, typer.Option("--all", help=f"Show every edge, not the {N_SHOWN} strongest of each.")
    ] = False

    @property
    def limit(self) -> int | None:
        """The edges of each circuit that are shown; None for all."""
        return None if self.show_all else N_SHOWN


@command
def diff(
    a: Annotated[Path, typer.Argument(help="The file or run directory of circuit A.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="The file or run directory of circuit B.", metavar="B")],
    ground: Runs,
    machine: Machine,
    shown: ShownEdges,
    output: PictureFile = Path("circuit-diff.svg"),
) -> None:
    """Compare two circuits: the edges of both, of one alone, and the effect of swapping them.

    Example: `circuitkit diff eap.json eap-ig.json -o diff.png`
    """
    with loading():
        from circuitkit.cli.actions.diff import diff_files
    ran = ground if ground.run else None
    diff_files((a, b), ran, machine, shown, output, limit=shown.limit)
