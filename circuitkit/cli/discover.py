"""The command `discover`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Plannable, SharedMachine, What
from circuitkit.cli.rules import SearchOrAll


@command
def discover(
    what: What,
    search: SearchOrAll,
    machine: SharedMachine,
    shown: Plannable,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Circuit file (default circuit.json), or plot with --method all.",
            metavar="FILE",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Long searches keep what is done here, and the same command resumes "
            "(default: beside the output).",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Score every edge and write the best ones as a circuit file in MIB's format.

    Examples: `circuitkit discover ioi --method eap-ig --edges 50 -o circuit.json`,
    `circuitkit discover ioi --method all`
    """
    with loading():
        from circuitkit.cli.actions.discover import find_circuit
    find_circuit(what, search, machine, shown, output, checkpoint)
