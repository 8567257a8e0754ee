"""The command `interpret`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import CircuitGround, Machine, Plannable


@command
def interpret(
    circuit: Annotated[
        Path,
        typer.Argument(
            help="A circuit file, or a run directory, whose report is remade.", metavar="CIRCUIT"
        ),
    ],
    ground: CircuitGround,
    machine: Machine,
    shown: Plannable,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Directory for interpretation.json.", metavar="DIR"),
    ] = None,
) -> None:
    """Say what each part of a circuit does, and show why: roles, effects, backups, attention.

    Example: `circuitkit interpret reports/ioi--pico--eap`, then open its report.html
    """
    with loading():
        from circuitkit.cli.actions.interpret import interpret_file
    interpret_file(circuit, ground, machine, shown, output)
