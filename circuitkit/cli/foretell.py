"""The command `foretell`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import CircuitGround, Machine, Shown


@dataclass(frozen=True)
class Done:
    """What is done to the model, and which circuits foretell it beside the given one."""

    title: ClassVar[str] = "What is foretold"

    interventions: Annotated[
        Path | None,
        typer.Option(
            "--interventions",
            help="File of interventions, TOML or JSON (default: every component ablated, sets of "
            "them, and outputs rescaled).",
            metavar="FILE",
        ),
    ] = None
    n_random: Annotated[
        int,
        typer.Option(
            "--n-random", min=0, help="Random circuits of the same size that foretell too."
        ),
    ] = 5


@command
def foretell(
    path: Annotated[
        Path,
        typer.Argument(help="The circuit file or run directory.", metavar="CIRCUIT"),
    ],
    done: Done,
    ground: CircuitGround,
    machine: Machine,
    shown: Shown,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Directory to write.", metavar="DIR")
    ] = Path("foretold"),
) -> None:
    """Write down what a circuit says of interventions, make them, and hold the two together.

    Example: `circuitkit foretell reports/ioi--pico--eap-ig -o foretold`
    """
    with loading():
        from circuitkit.cli.actions.foretell import foretell_file
    foretell_file(path, done, ground, machine, shown, output)
