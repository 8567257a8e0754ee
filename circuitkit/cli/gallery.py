"""The command `gallery`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import ShownAtOnce


@command
def gallery(
    shown: ShownAtOnce,
    folder: Annotated[
        Path,
        typer.Argument(help="The folder that holds run directories.", metavar="FOLDER"),
    ] = Path("reports"),
) -> None:
    """Make an index page of the run directories in a folder.

    Example: `circuitkit gallery reports`, then open reports/index.html
    """
    with loading():
        from circuitkit.cli.actions.reports import make_gallery
    make_gallery(folder, as_json=shown.as_json)
