"""The command `crossfit`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import BatchedMachine, Plannable, What
from circuitkit.cli.rules import Search


@command
def crossfit(
    what: What,
    search: Search,
    machine: BatchedMachine,
    shown: Plannable,
    folds: Annotated[
        int, typer.Option("--folds", min=2, help="Folds of the pairs.", metavar="K")
    ] = 5,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Write what is found here.", metavar="FILE")
    ] = Path("crossfit.json"),
) -> int:
    """Judge how circuits are found where pairs are few: each fold by the circuit of the others.

    --n is the number of all pairs. Only faithfulness and size are judged, and the claim is about
    the procedure, not about one circuit. Exit code 0: supported, 1: refuted, 3: undecided.

    Example: `circuitkit crossfit ioi --n 40 --edges 60 --folds 5`
    """
    with loading():
        from circuitkit.cli.actions.crossfit import judge_folds
    return judge_folds(what, search, machine, shown, folds, output)
