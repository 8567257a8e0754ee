"""The command `explain`."""

from typing import Annotated

import typer

from circuitkit import names
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
        settings = names.SETTINGS.get(one.name, {}) if one.kind == "method" else {}
        lines = (f"--set {key}={value}: {line}." for key, (value, line) in settings.items())
        more = f"More: docs/{one.more}"
        OUT.print(wrapped(f"{one.name} ({one.kind})", one.sentence, *lines, more))


def _list() -> None:
    for kind, title in KINDS.items():
        listed = ", ".join(one.name for one in DEFINITIONS if one.kind == kind)
        OUT.print(wrapped(f"{title}:", listed))
    OUT.print("circuitkit explain NAME says what one of them means.")
