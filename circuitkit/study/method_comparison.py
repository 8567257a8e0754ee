"""All discovery methods on one task and model, where no truth is known: who ranks edges best.

Each method scores the edges on the discovery pairs; circuits of MIB's sizes are judged on the
validation pairs under resample ablation (validation/areas.py). A method that cannot work on this
model or metric is named with its reason; one that would take longer than LIMIT is left out too.
"""

import time
from dataclasses import dataclass, replace
from functools import partial

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.circuits.selection import select_top
from circuitkit.discovery.methods import METHODS
from circuitkit.errors import MethodError
from circuitkit.study.search import discover
from circuitkit.study.settings import Settings, Stage, method_of, work_of
from circuitkit.study.subject import Subject
from circuitkit.validation.areas import Areas, measure_areas
from circuitkit.work.progress import silent

LIMIT = 600.0  # seconds, of an estimate


@dataclass(frozen=True)
class MethodRow:
    """One method: the areas of its ranking, and what scoring took."""

    method: str
    areas: Areas
    seconds: float


def compare_methods(
    subject: Subject, settings: Settings, stage: Stage = lambda title: silent
) -> tuple[list[MethodRow], dict[str, str]]:
    """Return the methods, the best CMD first, and why others are missing.

    Raises:
        VanishingGapError: ablating everything does not change the metric.
    """
    rows, refused = [], {}
    for name in METHODS:
        own = replace(settings, method=name, method_settings={}, checkpoint=None)
        reason = _reason(subject, own)
        if reason:
            refused[name] = reason
            continue
        start = time.perf_counter()
        scores = discover(subject, own, stage(name))
        seconds = time.perf_counter() - start
        signed = settings.signed or method_of(own).ranks_signed
        select = partial(_top, scores, signed=signed)
        areas = measure_areas(
            subject.model,
            subject.splits.validation,
            select,
            metric=subject.metric,
            memory=settings.memory,
        )
        rows.append(MethodRow(name, areas, seconds))
    return sorted(rows, key=lambda row: row.areas.cmd), refused


def _reason(subject: Subject, settings: Settings) -> str:
    """Return why a method is left out; empty where it is not."""
    method = method_of(settings)
    work = work_of(subject, settings)
    try:
        method.require_usable(subject.model, subject.metric, work)
    except MethodError as error:
        return str(error)
    estimate = method.estimate(subject.model, subject.splits.discovery)
    if estimate is not None and estimate.seconds > LIMIT:
        return (
            f"{estimate}, more than {LIMIT / 60:.0f} min: run it alone, with --method {method.name}"
        )
    return ""


def _top(scores: EdgeScores, n_edges: int, *, signed: bool) -> Circuit:
    return select_top(scores, n_edges, signed=signed)
