"""What `bench-validation` does: is the judge right about circuits whose verdict is known?"""

from dataclasses import asdict
from pathlib import Path

from circuitkit.bench.calibration.false_alarms import measure_false_alarms
from circuitkit.bench.calibration.faults import PICO_TASKS, CaseResult, pico_cases, planted_cases
from circuitkit.bench.calibration.levels import TRAINED, levels_page, measure_levels
from circuitkit.bench.calibration.page import write_calibration
from circuitkit.cli.actions.reports import show_paths
from circuitkit.cli.benches import Trials
from circuitkit.cli.options import Shown
from circuitkit.cli.terminal import bars, show_json
from circuitkit.cli.values import typed_command
from circuitkit.study.settings import installed_versions
from circuitkit.work.files import require_writable_directory, write_whole
from circuitkit.work.progress import Progress

UNSEEN = 11  # the seed of planted models that no default was set by


def try_the_judge(trials: Trials, circuits: Path | None, output: Path, shown: Shown) -> None:
    """Judge circuits whose verdict is known, measure false alarms, and write the page."""
    require_writable_directory(output)
    versions = ", ".join(f"{name} {number}" for name, number in installed_versions().items())
    with bars(shown=shown.has_bars) as stage:
        cases = _cases(_planted(trials, 0), circuits, trials.n, stage("Circuits with known faults"))
        rates = measure_false_alarms(trials.draws, stage("False alarms"))
        levels = [_write_levels(trials, circuits, output, versions)] if trials.levels else []
    written = write_calibration(cases, rates, output, command=typed_command(), versions=versions)
    if shown.as_json:
        show_json({"cases": [asdict(t) for t in cases], "rates": [asdict(r) for r in rates]})
    else:
        show_paths([*written, *levels], as_json=False)


def _planted(trials: Trials, seed: int) -> list[str]:
    models, difficulties = trials.models.split(","), trials.difficulties.split(",")
    return [f"{model}:{difficulty}:{seed}" for model in models for difficulty in difficulties]


def _write_levels(trials: Trials, circuits: Path | None, output: Path, versions: str) -> Path:
    """Write the page of every cell's error rates and return its path; pools are kept beside it."""
    named = _planted(trials, UNSEEN)
    named += [f"{TRAINED}{task}" for task in PICO_TASKS] if circuits is not None else []
    cells = measure_levels(
        named, output / "pools", draws=trials.draws, circuits=circuits, workers=trials.workers
    )
    path = output / "levels.md"
    write_whole(path, levels_page(cells, typed_command(), versions))
    return path


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
