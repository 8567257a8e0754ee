"""The command `tasks`."""

from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import NOption, SeedOption, ShownAtOnce
from circuitkit.cli.values import require_seed


@command
def tasks(
    shown: ShownAtOnce,
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Also measure how this model does on each task.", metavar="MODEL"
        ),
    ] = "",
    n: NOption = 100,
    seed: SeedOption = 0,
) -> None:
    """List the tasks; with --model, how the model does on each.

    Example: `circuitkit tasks --model pico`
    """
    require_seed(seed)
    with loading():
        from circuitkit.cli.actions.listing import list_tasks
    list_tasks(model, n, seed, shown)
