"""The command `explain`."""

from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.options import ShownAtOnce
from circuitkit.cli.terminal import OUT, show_json, wrapped
from circuitkit.cli.values import completed
from circuitkit.glossary import DEFINITIONS, KINDS, Definition, definitions_of


@command
def explain(
    shown: ShownAtOnce,
    name: Annotated[
        str,
        typer.Argument(
            help="A criterion, method, metric, ablation, role or word.",
            metavar="NAME",
            autocompletion=completed(tuple(one.name for one in DEFINITIONS)),
        ),
    ] = "",
) -> None:
    """Say in a line what a name means, and where to read more; without NAME, list all.

    Example: `circuitkit explain completeness`
    """
    found = definitions_of(name) if name else DEFINITIONS
    if shown.as_json:
        show_json([vars(one) for one in found])
    elif name:
        _show(found)
    else:
        _list()


def _show(found: tuple[Definition, ...]) -> None:
    for one in found:
        OUT.print(wrapped(f"{one.name} ({one.kind})", one.sentence, f"More: docs/{one.more}"))


def _list() -> None:
    for kind, title in KINDS.items():
        names = ", ".join(one.name for one in DEFINITIONS if one.kind == kind)
        OUT.print(wrapped(f"{title}:", names))
    OUT.print("circuitkit explain NAME says what one of them means.")
