"""The command `new-task`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import ShownAtOnce


@command
def new_task(
    name: Annotated[str, typer.Argument(help="Name of the task, as my-task.", metavar="NAME")],
    shown: ShownAtOnce,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Directory to write into.", metavar="DIR")
    ] = Path(),
) -> None:
    """Write a task of your own to fill in, and its test beside it.

    Example: `circuitkit new-task my-task`, then `circuitkit run my_task.py:MyTask`
    """
    with loading():
        from circuitkit.cli.actions.new_task import write_task
    write_task(name, output, shown)
