"""The command `bench-discovery`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.benches import Board
from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Shown


@command
def bench_discovery(
    board: Board,
    shown: Shown,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes, of one thread each.", metavar="N")
    ] = 1,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Directory of the page, plots and data.", metavar="DIR"
        ),
    ] = Path("scoreboard"),
) -> None:
    """Measure how well every method recovers circuits whose truth is known.

    What is measured is kept in DIR/results.sqlite: the same command goes on where it was stopped.

    Example: `circuitkit bench-discovery --methods eap,eap-ig,exact --seeds 0 -o board`
    """
    with loading():
        from circuitkit.cli.actions.bench_discovery import measure_methods
    measure_methods(board, shown, output, workers=workers)
