"""The command `train-pico`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import SeedOption
from circuitkit.cli.values import require_seed


@command
def train_pico(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Directory for the weights.", metavar="DIR"),
    ],
    dictionaries: Annotated[
        bool,
        typer.Option(
            "--dictionaries", help="Train the dictionaries of pico that ship, and not the model."
        ),
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Train the pico model again from its recipe, on the CPU.

    Example: `circuitkit train-pico -o my-pico`, then `circuitkit run ioi --model my-pico`
    """
    require_seed(seed)
    with loading():
        from circuitkit.cli.actions.train_pico import train, train_dictionaries
    (train_dictionaries if dictionaries else train)(output, seed)
