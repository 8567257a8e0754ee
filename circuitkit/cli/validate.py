"""The command `validate`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import CircuitGround, Machine, Plannable
from circuitkit.cli.rules import Bounds


@command
def validate(
    circuit: Annotated[
        Path, typer.Argument(help="A circuit file or run directory.", metavar="CIRCUIT")
    ],
    ground: CircuitGround,
    bounds: Bounds,
    machine: Machine,
    shown: Plannable,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the judgement here as JSON.", metavar="FILE"),
    ] = None,
) -> int:
    """Judge a circuit on prompts that did not find it.

    Exit code 0: supported, 1: refuted, 3: undecided; 2: what was given cannot be used.

    Example: `circuitkit validate circuit.json`
    """
    with loading():
        from circuitkit.cli.actions.validate import judge_file
    return judge_file(circuit, ground, bounds, machine, shown, output)
