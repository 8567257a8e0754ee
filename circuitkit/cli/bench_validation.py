"""The command `bench-validation`: is the judge right about circuits whose verdict is known?"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from circuitkit.bench.calibration.false_alarms import measure_false_alarms
from circuitkit.bench.calibration.faults import PICO_TASKS, CaseResult, pico_cases, planted_cases
from circuitkit.bench.calibration.page import write_calibration
from circuitkit.cli.options import JsonOption, QuietOption, typed_command
from circuitkit.cli.terminal import OUT, bars, reported_errors, show_json
from circuitkit.study.settings import installed_versions
from circuitkit.work.files import require_writable_directory
from circuitkit.work.progress import Progress
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
            cases = _cases(names, circuits, n, stage("Circuits with known faults"))
            rates = measure_false_alarms(draws, stage("False alarms"))
        versions = ", ".join(f"{name} {number}" for name, number in installed_versions().items())
        written = write_calibration(
            cases, rates, output, command=typed_command(), versions=versions
        )
        if as_json:
            show_json({"cases": [asdict(t) for t in cases], "rates": [asdict(r) for r in rates]})
            return
        for path in written:
            OUT.print(str(path), soft_wrap=True)


def _cases(names: list[str], circuits: Path | None, n: int, progress: Progress) -> list[CaseResult]:
    cases: list[CaseResult] = []
    tasks = PICO_TASKS if circuits is not None else ()
    total = len(names) + len(tasks)
    for done, name in enumerate(names):
        progress(done, total)
        cases += planted_cases(name, n=n, ablation="resample")
    for done, task in enumerate(tasks, len(names)):
        progress(done, total)
        assert circuits is not None
        cases += pico_cases(circuits, task, n=n)
    progress(total, total)
    return cases
