"""All discovery methods on one task and model, where no truth is known: who ranks edges best.

Each method scores the edges on the discovery pairs; circuits of MIB's sizes are judged on the
validation pairs under resample ablation (validation/areas.py). A method that cannot work on this
model or metric is named with its reason; one that would take longer than LIMIT is left out too.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from circuitkit.circuit import Circuit
from circuitkit.circuit_search import discover
from circuitkit.discovery.methods import METHODS
from circuitkit.discovery.selection import select_top
from circuitkit.errors import MethodError
from circuitkit.graph import EdgeScores
from circuitkit.progress import silent
from circuitkit.reporting.figures import drawing, svg_of
from circuitkit.settings import Settings, Stage, Subject, method_of, work_of
from circuitkit.validation.areas import FRACTIONS, Areas, measure_areas

LIMIT = 600.0  # seconds, of an estimate
MARKS = "osv^D<>Pp*hX8dH+"


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


def comparison_svg(rows: Sequence[MethodRow], task: str, model: str) -> str:
    """Return faithfulness over circuit size as SVG, one line a method."""
    with drawing():
        figure = Figure(figsize=(8.5, 5.2), layout="constrained")
        axes = figure.add_subplot()
        colours = [f"C{i % 10}" for i in range(len(rows))]
        for row, colour, mark in zip(rows, colours, MARKS, strict=False):
            label = f"{row.method} ({row.areas.cmd:.3f})"
            axes.plot(FRACTIONS, row.areas.faithfulness, color=colour, marker=mark, label=label)
        axes.axhline(1.0, color="#222222", linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
        axes.set_ylim(-0.5, 2.0)
        axes.set_xlabel("share of edges kept (log scale)")
        axes.set_ylabel("faithfulness under resample ablation")
        axes.set_title(f"{task} on {model}: methods by CMD, less is better")
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        return svg_of(figure)


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
