"""The command `export`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit import names
from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import ShownAtOnce
from circuitkit.cli.values import choice


@command
def export(
    circuit: Annotated[
        Path,
        typer.Argument(
            help="A circuit file, a run directory, hf://user/name, or a .graphml or .cyjs file "
            "that was exported.",
            metavar="CIRCUIT",
        ),
    ],
    shown: ShownAtOnce,
    format: Annotated[
        str,
        choice("--format", names=names.EXPORT_FORMATS, help="Program that the file is for."),
    ] = "graphml",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write (default: beside you, named by the format).",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Write a circuit for another program, and say what its format cannot hold.

    Example: `circuitkit export reports/ioi--pico--eap --format graphml`
    """
    with loading():
        from circuitkit.cli.actions.export import export_file
    export_file(circuit, format, output, as_json=shown.as_json)
