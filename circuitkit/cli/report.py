"""The command `report`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit import names
from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import ShownAtOnce


@command
def report(
    directory: Annotated[Path, typer.Argument(help="A run directory.", metavar="DIR")],
    shown: ShownAtOnce,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help=f"Comma-separated: {', '.join(names.REPORT_FORMATS)}.",
            metavar="FORMATS",
        ),
    ] = "html,md,svg",
) -> None:
    """Make the reports of a run directory again from its data files.

    Example: `circuitkit report reports/ioi--pico--eap --format pdf`
    """
    with loading():
        from circuitkit.cli.actions.reports import make_reports
    make_reports(directory, formats, as_json=shown.as_json)
