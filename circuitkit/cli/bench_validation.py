"""The command `bench-validation`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.benches import Trials
from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Shown


@command
def bench_validation(
    trials: Trials,
    shown: Shown,
    circuits: Annotated[
        Path | None,
        typer.Option(
            help="Directory of pico's circuits, <task>.json; left out: planted alone.",
            metavar="DIR",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Directory of the page and its numbers.", metavar="DIR"
        ),
    ] = Path("calibration"),
) -> None:
    """Try the judge: true circuits, faults that must be caught, and false-alarm rates.

    Example: `circuitkit bench-validation --circuits circuits -o docs/calibration`
    """
    with loading():
        from circuitkit.cli.actions.bench_validation import try_the_judge
    try_the_judge(trials, circuits, output, shown)
