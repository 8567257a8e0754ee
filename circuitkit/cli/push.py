"""The command `push`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import ShownAtOnce


@command
def push(
    circuit: Annotated[
        Path, typer.Argument(help="A run directory or a circuit file.", metavar="CIRCUIT")
    ],
    repository: Annotated[
        str, typer.Argument(help="hf://user/name; it is made if need be.", metavar="REPOSITORY")
    ],
    shown: ShownAtOnce,
    private: Annotated[
        bool,
        typer.Option("--private/--public", help="Who may see a repository that is made."),
    ] = True,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the files and the card, and write nothing.")
    ] = False,
) -> None:
    """Put a circuit with a model card on the Hugging Face Hub.

    Example: `circuitkit push reports/ioi--pico--eap hf://user/ioi-in-pico --plan`. Wherever a
    circuit file is read, hf://user/ioi-in-pico is then read too.
    """
    with loading():
        from circuitkit.cli.actions.push import push_file
    push_file(circuit, repository, private=private, plan=plan, as_json=shown.as_json)
