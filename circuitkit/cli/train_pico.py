"""The command `train-pico`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import SeedOption
from circuitkit.cli.values import require_seed
from circuitkit.errors import OutputError


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
    behaviours: Annotated[
        bool,
        typer.Option(
            "--behaviours",
            help="Train pico-behaviours: pico's weights, further on planted behaviours.",
        ),
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Train the pico model again from its recipe, on the CPU.

    Example: `circuitkit train-pico -o my-pico`, then `circuitkit run ioi --model my-pico`
    """
    require_seed(seed)
    require_one_of_both(dictionaries, behaviours)
    with loading():
        from circuitkit.cli.actions.train_pico import train, train_dictionaries, train_further
    (train_dictionaries if dictionaries else train_further if behaviours else train)(output, seed)


def require_one_of_both(dictionaries: bool, behaviours: bool) -> None:
    """Refuse two things to train in one directory.

    Raises:
        OutputError: both are asked for.
    """
    if dictionaries and behaviours:
        raise OutputError(
            "--behaviours: must be given without --dictionaries, got both. One directory holds one "
            "thing that was trained. Leave one out."
        )
