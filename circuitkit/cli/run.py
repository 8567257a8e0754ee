"""The command `run`."""

from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import BatchedMachine, RunPlace, Shown, WhatOrRun
from circuitkit.cli.rules import Search


@command
def run(
    what: WhatOrRun,
    search: Search,
    machine: BatchedMachine,
    shown: Shown,
    where: RunPlace,
    explained: Annotated[
        bool, typer.Option("--explain", help="Also say what each component does: `interpret`.")
    ] = False,
) -> None:
    """Find a circuit, judge it on held-out prompts, and write a report.

    Example: `circuitkit run ioi`, then open reports/ioi--pico--eap/report.html. TASK may be the
    run.toml of a run, which is then repeated.
    """
    with loading():
        from circuitkit.cli.actions.run import RunAsked, find_and_judge
    asked = RunAsked(where, explained, what.allow_task_code)
    find_and_judge(what, search, machine, shown, asked)
