"""The page of the calibration: what the judge said of circuits with known faults, and its rates."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from circuitkit.calibration.false_alarms import LEVEL, Rate
from circuitkit.calibration.faults import CAUGHT_BY, Trial
from circuitkit.files import write_whole
from circuitkit.validation.verdict import REFUTED, SUPPORTED, UNDECIDED

INTRODUCTION = """# Does the judge work?

Two questions. Does a true circuit survive, and is each fault caught by the criterion that should
catch it? And how often does each test reject what is true?

Made by `{command}` with {versions}. Every trial is judged by all criteria that have a default bound
([docs/validation.md](../validation.md)); what only has a value is left out.
"""
FAULTS = """## Circuits with known faults

The true circuits of planted models were written by hand; pico's are those of `circuits/`, which
were found, made minimal and are under contract; they are tried with `--circuits` alone. A row is
right if the true circuit is supported, or if a criterion in "should be refuted by" refuted it.
"""
RATES = """## False alarms

Draws in which a test rejects, at {level:.0%}, a hypothesis that is true. The band holds 99 % of
counts of a test with exactly that rate. What each null is stands on top of
`circuitkit/calibration/false_alarms.py`.
"""


def write_calibration(
    trials: Sequence[Trial],
    rates: Sequence[Rate],
    directory: Path,
    *,
    command: str,
    versions: str,
) -> list[Path]:
    """Write the page and its numbers; return both paths.

    Raises:
        OutputError: the directory cannot be written.
    """
    page = "\n".join(
        [
            INTRODUCTION.format(command=command, versions=versions),
            _summary(trials, rates),
            FAULTS,
            _faults_table(trials),
            RATES.format(level=LEVEL),
            _rates_table(rates),
        ]
    )
    data = {"trials": [asdict(t) for t in trials], "rates": [asdict(r) for r in rates]}
    write_whole(directory / "README.md", page)
    write_whole(directory / "calibration.json", json.dumps(data, indent=1) + "\n")
    return [directory / "README.md", directory / "calibration.json"]


def _summary(trials: Sequence[Trial], rates: Sequence[Rate]) -> str:
    outcomes = (SUPPORTED, UNDECIDED, REFUTED)
    lines = [f"| circuits | right | {' | '.join(outcomes)} | of |", "|---|---|---|---|---|---|"]
    for fault in ("true", *CAUGHT_BY):
        rows = [trial for trial in trials if trial.fault == fault]
        counts = [sum(t.outcome == outcome for t in rows) for outcome in outcomes]
        cells = (fault, sum(t.is_right for t in rows), *counts, len(rows))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    right = sum(rate.is_right for rate in rates)
    lines.append(f"\nTests with a false-alarm rate inside the band: {right} of {len(rates)}.")
    return "\n".join(lines) + "\n"


def _faults_table(trials: Sequence[Trial]) -> str:
    lines = [
        "| model | ablation | circuit | verdict | refuted by | should be refuted by | right |",
        "|---|---|---|---|---|---|---|",
    ]
    for trial in trials:
        by = ", ".join(trial.refuted_by) or "–"
        if trial.undecided_by:
            by += f" (undecided: {', '.join(trial.undecided_by)})"
        should = " or ".join(CAUGHT_BY.get(trial.fault, ())) or "none"
        cells = (trial.subject, trial.ablation, trial.fault, trial.outcome, by, should)
        lines.append(f"| {' | '.join(cells)} | {'yes' if trial.is_right else '**no**'} |")
    return "\n".join(lines) + "\n"


def _rates_table(rates: Sequence[Rate]) -> str:
    lines = ["| test | alarms | draws | rate | band | inside |", "|---|---|---|---|---|---|"]
    for rate in rates:
        low, high = rate.band
        share, inside = rate.alarms / rate.draws, "yes" if rate.is_right else "**no**"
        lines.append(
            f"| {rate.test} | {rate.alarms} | {rate.draws} | {share:.1%} | {low} to {high} | "
            f"{inside} |"
        )
    return "\n".join(lines) + "\n"
