"""The command `run`."""

from dataclasses import dataclass
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Plannable, RunPlace, SharedMachine, WhatOrRun
from circuitkit.cli.rules import SearchOrAuto


@dataclass(frozen=True)
class Kept(RunPlace):
    """Where a run is written, and where it is logged."""

    log: Annotated[
        str,
        typer.Option(
            "--log",
            help="Also log the run: wandb:project, mlflow:experiment or trackio:project.",
            metavar="WHERE",
        ),
    ] = ""


@command
def run(
    what: WhatOrRun,
    search: SearchOrAuto,
    machine: SharedMachine,
    shown: Plannable,
    where: Kept,
    explained: Annotated[
        bool, typer.Option("--explain", help="Also say what each component does: `interpret`.")
    ] = False,
) -> None:
    """Find a circuit, judge it on held-out prompts, and write a report.

    How it is found is chosen, and the report says why, unless --method names a method.

    Example: `circuitkit run ioi`, then open reports/ioi--pico--auto/report.html. TASK may be the
    run.toml of a run, which is then repeated.
    """
    with loading():
        from circuitkit.cli.actions.run import RunAsked, find_and_judge, logged
    with logged(where.log) as told:
        asked = RunAsked(where, explained, what.allow_task_code, told)
        find_and_judge(what, search, machine, shown, asked)
