"""The page of the calibration: what the judge said of circuits with known faults, and its rates."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from circuitkit.bench.calibration.false_alarms import LEVEL, Rate
from circuitkit.bench.calibration.faults import CAUGHT_BY, CaseResult
from circuitkit.validation.verdict import REFUTED, SUPPORTED, UNDECIDED
from circuitkit.work.files import write_whole

INTRODUCTION = """# Does the judge work?

Two questions. Does a true circuit survive, and is each fault caught by the criterion that should
catch it? And how often does each test reject what is true?

Made by `{command}` with {versions}. Every case is judged by all criteria that have a default bound
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
`circuitkit/bench/calibration/false_alarms.py`.
"""


def write_calibration(
    cases: Sequence[CaseResult],
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
            _summary(cases, rates),
            FAULTS,
            _faults_table(cases),
            RATES.format(level=LEVEL),
            _rates_table(rates),
        ]
    )
    data = {"cases": [asdict(t) for t in cases], "rates": [asdict(r) for r in rates]}
    write_whole(directory / "README.md", page)
    write_whole(directory / "calibration.json", json.dumps(data, indent=1) + "\n")
    return [directory / "README.md", directory / "calibration.json"]


def _summary(cases: Sequence[CaseResult], rates: Sequence[Rate]) -> str:
    outcomes = (SUPPORTED, UNDECIDED, REFUTED)
    lines = [f"| circuits | right | {' | '.join(outcomes)} | of |", "|---|---|---|---|---|---|"]
    for fault in ("true", *CAUGHT_BY):
        rows = [case for case in cases if case.fault == fault]
        counts = [sum(t.outcome == outcome for t in rows) for outcome in outcomes]
        cells = (fault, sum(t.is_right for t in rows), *counts, len(rows))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    right = sum(rate.is_right for rate in rates)
    lines.append(f"\nTests with a false-alarm rate inside the band: {right} of {len(rates)}.")
    return "\n".join(lines) + "\n"


def _faults_table(cases: Sequence[CaseResult]) -> str:
    lines = [
        "| model | ablation | circuit | verdict | refuted by | should be refuted by | right |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        by = ", ".join(case.refuted_by) or "–"
        if case.undecided_by:
            by += f" (undecided: {', '.join(case.undecided_by)})"
        should = " or ".join(CAUGHT_BY.get(case.fault, ())) or "none"
        cells = (case.subject, case.ablation, case.fault, case.outcome, by, should)
        lines.append(f"| {' | '.join(cells)} | {'yes' if case.is_right else '**no**'} |")
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
