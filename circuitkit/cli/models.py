"""The command `models`."""

from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import AnyModel, Machine, ShownAtOnce
from circuitkit.errors import MethodError


@command
def models(
    what: AnyModel,
    machine: Machine,
    shown: ShownAtOnce,
    task: Annotated[
        str,
        typer.Option(
            "--task", help="Also measure how each model does on this task.", metavar="TASK"
        ),
    ] = "",
    tokens: Annotated[
        int, typer.Option("--tokens", help="Tokens of a prompt, with --model.", metavar="N")
    ] = 32,
) -> None:
    """List the models that ship; with --task, how each does on it.

    With --model: what that model is, and what work on it takes in memory and time on this device.
    Local directories and Hugging Face names work wherever --model is taken.

    Example: `circuitkit models --model pico --tokens 20`
    """
    with loading():
        from circuitkit.cli.actions.costs import show_model
        from circuitkit.cli.actions.listing import list_models
        from circuitkit.cli.actions.requests import model_of
    if model_of(what):
        require_one(task)
        show_model(what, tokens, machine, shown)
    else:
        list_models(task, what.n, what.seed, shown)


def require_one(task: str) -> None:
    """Require no task beside a model.

    Raises:
        MethodError: there is one.
    """
    if task:
        raise MethodError(
            f"--task: must be given without --model, got {task!r} too. Here a model's cost is "
            "shown, not what it can do. Use `circuitkit tasks --model MODEL` for that."
        )
