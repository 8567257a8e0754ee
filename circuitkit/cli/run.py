"""The command `run`."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import BatchedMachine, OutputDirectory, Shown, WhatOrRun
from circuitkit.cli.rules import Search


@dataclass(frozen=True)
class Kept:
    """Where a run is kept, and where it is told."""

    title: ClassVar[str] = "What is written"

    output: OutputDirectory = None
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
    search: Search,
    machine: BatchedMachine,
    shown: Shown,
    kept: Kept,
    explained: Annotated[
        bool, typer.Option("--explain", help="Also say what each component does: `interpret`.")
    ] = False,
) -> None:
    """Find a circuit, judge it on held-out prompts, and write a report.

    Example: `circuitkit run ioi`, then open reports/ioi--pico--eap/report.html. TASK may be the
    run.toml of a run, which is then repeated.
    """
    with loading():
        from circuitkit.cli.actions.run import RunAsked, find_and_judge, logged
    with logged(kept.log) as told:
        asked = RunAsked(kept.output, explained, what.allow_task_code, told)
        find_and_judge(what, search, machine, shown, asked)
