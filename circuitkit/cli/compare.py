"""The command `compare`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Machine, Pairs, PictureFile, Shown


@command
def compare(
    circuits: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more run directories or circuit files. What has not been interpreted is "
            "interpreted first, which takes a minute or more.",
            metavar="CIRCUITS",
        ),
    ],
    pairs: Pairs,
    machine: Machine,
    shown: Shown,
    output: PictureFile = Path("circuits-compared.svg"),
) -> None:
    """Compare circuits of different models: who plays which role, and how much is shared.

    Components are matched by what they do, never by name. For circuits of one architecture, edge
    by edge, there is `diff`.

    Example: `circuitkit compare reports/ioi--pico--eap reports/ioi--other--eap`
    """
    with loading():
        from circuitkit.cli.actions.compare import compare_circuits
    compare_circuits(circuits, pairs, machine, shown, output)
