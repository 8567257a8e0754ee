"""Options in groups: what methods and the judge are tried on."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from circuitkit import names
from circuitkit.cli.values import parse_seeds

# Graphs of 17 edges: five of them are more than the share of edges that a circuit may have.
TOO_SMALL = "planted-skip-trigram"

DifficultiesOption = Annotated[
    str,
    typer.Option(
        "--difficulties",
        help=f"Comma-separated: {', '.join(names.DIFFICULTIES)}.",
        metavar="NAMES",
    ),
]


@dataclass(frozen=True)
class Trials:
    """Which planted models, how hard, on how many pairs; and how often each test is drawn."""

    title: ClassVar[str] = "What the judge is tried on"

    models: Annotated[
        str, typer.Option("--models", help="Comma-separated planted models.", metavar="NAMES")
    ] = ",".join(name for name in names.PLANTED_MODELS if name != TOO_SMALL)
    difficulties: DifficultiesOption = ",".join(names.DIFFICULTIES)
    n: Annotated[int, typer.Option("--n", min=32, help="Pairs of each split.", metavar="N")] = 128
    draws: Annotated[
        int, typer.Option(min=1, help="Draws of each test under its null.", metavar="N")
    ] = 400
    levels: Annotated[
        bool,
        typer.Option(
            "--levels", help="Also the error rates of every cell, of models of seed 11: takes long."
        ),
    ] = False
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that share the models of --levels.", metavar="N")
    ] = 1


@dataclass(frozen=True)
class Board:
    """Which methods, on which planted models, how hard, of which seeds, on how many pairs."""

    title: ClassVar[str] = "What is measured"

    methods: Annotated[
        str,
        typer.Option(
            "--methods", help=f"Comma-separated: {', '.join(names.METHODS)}.", metavar="NAMES"
        ),
    ] = ",".join(names.METHODS)
    models: Annotated[
        str,
        typer.Option(
            "--models", help=f"Comma-separated: {', '.join(names.PLANTED_MODELS)}.", metavar="NAMES"
        ),
    ] = ",".join(names.PLANTED_MODELS)
    difficulties: DifficultiesOption = ",".join(names.DIFFICULTIES)
    seeds: Annotated[
        str, typer.Option("--seeds", help="Comma-separated numbers.", metavar="NUMBERS")
    ] = "0"
    n: Annotated[
        int, typer.Option("--n", min=4, help="Pairs of each planted split.", metavar="N")
    ] = 24
    trained: Annotated[
        bool, typer.Option("--trained/--no-trained", help="CPR and CMD on pico's tasks as well.")
    ] = True

    def __post_init__(self) -> None:
        """Require seeds that are numbers."""
        parse_seeds(self.seeds)
