"""The command line, put together. Each command is a file of its own beside this one.

Exit codes: 0 done (validate, check: it holds), 1 refuted, 2 what was given cannot be used, 3 not
judged, 130 interrupted.
"""

from typing import Annotated

import typer

import circuitkit
from circuitkit.cli import main as main
from circuitkit.cli.attribute import attribute
from circuitkit.cli.bench_discovery import bench_discovery
from circuitkit.cli.bench_validation import bench_validation
from circuitkit.cli.check import check
from circuitkit.cli.circuits import circuits
from circuitkit.cli.command import GroupedCommand
from circuitkit.cli.compare import compare
from circuitkit.cli.crossfit import crossfit
from circuitkit.cli.dictionary import dictionary
from circuitkit.cli.diff import diff
from circuitkit.cli.discover import discover
from circuitkit.cli.edit import edit
from circuitkit.cli.explain import explain
from circuitkit.cli.export import export
from circuitkit.cli.finetuning import finetuning
from circuitkit.cli.foretell import foretell
from circuitkit.cli.gallery import gallery
from circuitkit.cli.hypothesis import hypothesis
from circuitkit.cli.interpret import interpret
from circuitkit.cli.models import models
from circuitkit.cli.monitor import monitor
from circuitkit.cli.new_task import new_task
from circuitkit.cli.patch import patch
from circuitkit.cli.path import path
from circuitkit.cli.push import push
from circuitkit.cli.refusal import refusal
from circuitkit.cli.report import report
from circuitkit.cli.run import run
from circuitkit.cli.steer import steer
from circuitkit.cli.tasks import tasks
from circuitkit.cli.train_pico import train_pico
from circuitkit.cli.train_sae import train_sae
from circuitkit.cli.validate import validate

app = typer.Typer(
    name="circuitkit",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: it loads nothing, cuts no name and reads no <q> as markup
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    run,
    tasks,
    models,
    circuits,
    new_task,
    patch,
    path,
    attribute,
    discover,
    crossfit,
    validate,
    interpret,
    explain,
    hypothesis,
    dictionary,
    edit,
    steer,
    refusal,
    monitor,
    report,
    export,
    push,
    gallery,
    diff,
    compare,
    foretell,
    finetuning,
    check,
    bench_discovery,
    bench_validation,
    train_pico,
    train_sae,
):
    app.command(
        command.__name__.replace("_", "-"),
        cls=GroupedCommand,
        short_help=(command.__doc__ or "").partition("\n")[0],  # whole, however long
    )(command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"circuitkit {circuitkit.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    asked: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Find circuits in transformers, and try hard to refute them.

    Start with `circuitkit run ioi`: it needs no network and writes a report to reports/.
    """
