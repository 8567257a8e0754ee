"""The command `check`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Shown


@command
def check(
    shown: Shown,
    config: Annotated[
        Path, typer.Option(help="The file that holds the contracts.", metavar="FILE")
    ] = Path("pyproject.toml"),
    matching: Annotated[
        str,
        typer.Option(
            "-k", help="Judge only what holds this text in contract::criterion.", metavar="TEXT"
        ),
    ] = "",
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML here.", metavar="FILE")
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Write a Markdown summary here.", metavar="FILE")
    ] = None,
) -> int:
    """Judge the contracts of pyproject.toml. Exit code 0: all hold, 1: broken, 3: not judged.

    Example: `circuitkit check --junit circuits.xml`
    """
    with loading():
        from circuitkit.cli.actions.check import judge_contracts
    return judge_contracts(config, matching, junit, summary, shown)
