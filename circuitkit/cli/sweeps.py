"""Options in groups: what is patched."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from circuitkit import names
from circuitkit.cli.options import DirectionOption
from circuitkit.cli.values import choice, completed
from circuitkit.names import Direction, MLPs

PLACES = "\n".join(f"{name}: {what}" for name, what in names.SITES.items())


@dataclass(frozen=True)
class Sweep:
    """Which places are patched, in which columns, and which run is repaired or damaged."""

    title: ClassVar[str] = "What is patched"

    at: Annotated[
        str,
        typer.Option(
            "--at",
            help=f"Places, comma-separated.\n{PLACES}",
            metavar="PLACES",
            autocompletion=completed(tuple(names.SITES)),
        ),
    ] = "heads"
    by: Annotated[str, choice("--by", names=names.COLUMNS, help="Columns of the heat map.")] = (
        "role"
    )
    direction: DirectionOption = Direction.NOISING


@dataclass(frozen=True)
class Paths:
    """Which paths are patched: from where to where, at which positions, and how."""

    title: ClassVar[str] = "What is patched"

    senders: Annotated[
        str,
        typer.Option(
            "--from",
            help="Senders, each a row: a0.h1,m2; joined by + to be replaced together; "
            "or heads, mlps, all.",
            metavar="NAMES",
        ),
    ] = "heads"
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Receivers: logits, m3, 'a3.h0<q>', a3.h0; several by commas.",
            metavar="NAMES",
        ),
    ] = "logits"
    mlps: Annotated[
        MLPs,
        typer.Option(help="recomputed: paths through MLPs count too; frozen: direct ones only."),
    ] = MLPs.RECOMPUTED
    at: Annotated[
        str,
        typer.Option(
            "--at",
            help="Where senders are replaced: all, a role, or a position.",
            metavar="WHERE",
        ),
    ] = "all"
    direction: DirectionOption = Direction.NOISING
