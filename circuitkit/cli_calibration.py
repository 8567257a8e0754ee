"""The command `bench-validation`: is the judge right about circuits whose verdict is known?"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from circuitkit.calibration.false_alarms import measure_false_alarms
from circuitkit.calibration.faults import PICO_TASKS, Trial, pico_trials, planted_trials
from circuitkit.calibration.page import write_calibration
from circuitkit.files import require_writable_directory
from circuitkit.options import JsonOption, QuietOption, typed_command
from circuitkit.progress import Progress
from circuitkit.settings import installed_versions
from circuitkit.terminal import OUT, bars, reported_errors, show_json
from circuitkit.zoo.planted import BLUEPRINTS, DIFFICULTIES

# Graphs of 17 edges: five of them are more than the share of edges that a circuit may have.
TOO_SMALL = "planted-skip-trigram"
MODELS = ",".join(each for each in BLUEPRINTS if each != TOO_SMALL)


def bench_validation_command(
    models: Annotated[
        str, typer.Option("--models", help="Comma-separated planted models.")
    ] = MODELS,
    difficulties: Annotated[
        str, typer.Option("--difficulties", help=f"Comma-separated: {', '.join(DIFFICULTIES)}.")
    ] = ",".join(DIFFICULTIES),
    n: Annotated[int, typer.Option("--n", min=32, help="Pairs of each split.")] = 128,
    draws: Annotated[int, typer.Option(min=1, help="Draws of each test under its null.")] = 400,
    circuits: Annotated[
        Path | None,
        typer.Option(help="Directory of pico's circuits, <task>.json; left out: planted alone."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Directory of the page and its numbers.")
    ] = Path("calibration"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Try the judge: true circuits, faults that must be caught, and false-alarm rates.

    Example: `circuitkit bench-validation --circuits circuits -o docs/calibration`
    """
    with reported_errors(as_json=as_json):
        require_writable_directory(output)
        names = [f"{m}:{d}:0" for m in models.split(",") for d in difficulties.split(",")]
        with bars(shown=not (quiet or as_json)) as stage:
            trials = _trials(names, circuits, n, stage("Circuits with known faults"))
            rates = measure_false_alarms(draws, stage("False alarms"))
        versions = ", ".join(f"{name} {number}" for name, number in installed_versions().items())
        written = write_calibration(
            trials, rates, output, command=typed_command(), versions=versions
        )
        if as_json:
            show_json({"trials": [asdict(t) for t in trials], "rates": [asdict(r) for r in rates]})
            return
        for path in written:
            OUT.print(str(path), soft_wrap=True)


def _trials(names: list[str], circuits: Path | None, n: int, progress: Progress) -> list[Trial]:
    trials: list[Trial] = []
    tasks = PICO_TASKS if circuits is not None else ()
    total = len(names) + len(tasks)
    for done, name in enumerate(names):
        progress(done, total)
        trials += planted_trials(name, n=n, ablation="resample")
    for done, task in enumerate(tasks, len(names)):
        progress(done, total)
        assert circuits is not None
        trials += pico_trials(circuits, task, n=n)
    progress(total, total)
    return trials
