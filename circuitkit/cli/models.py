"""The command `models`."""

from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import NOption, SeedOption, ShownAtOnce
from circuitkit.cli.values import require_seed


@command
def models(
    shown: ShownAtOnce,
    task: Annotated[
        str,
        typer.Option(
            "--task", help="Also measure how each model does on this task.", metavar="TASK"
        ),
    ] = "",
    n: NOption = 100,
    seed: SeedOption = 0,
) -> None:
    """List the models that ship; with --task, how each does on it.

    Local directories and Hugging Face names work wherever --model is taken.
    """
    require_seed(seed)
    with loading():
        from circuitkit.cli.actions.listing import list_models
    list_models(task, n, seed, shown)
