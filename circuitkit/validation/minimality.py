"""Minimality: is every edge needed, given the knock-outs that expose it?

    effect(v) = F(C minus (K + v)) - F(C minus K),   K the set under which v matters most
    v is needed if |effect(v)| > c, idle if < c: tests on the pairs' changes, at a family-wise level
    c         = what REFERENCE_QUANTILE of the edges of no interest do, in absolute value
    value     = share of the circuit's edges that are shown to be needed
    interval  = from there to the share of those that are not shown to be idle

K is the empty set, or the rest of the class of v's sender or receiver (knock_outs.py), so that an
edge which a backup covers counts once the backup is out; it is chosen on discovery pairs. Edges of
no interest are drawn as Shi et al. do: a random path is added to the circuit, and one of its new
edges taken out again.

Changes are nothing on most pairs and large on few, and the more edges the further out their tails
are read. So an edge counts only if both say so: t-tests straightened for skewness (Hall 1992) with
Holm's correction, and the step-down over all edges (step_down.py). Alone, the first called an edge
at the level idle in up to 30 % of samples of 100 pairs.

Wang et al. 2022 (arXiv:2211.00593, section 4) for the effect; Shi et al. 2024 (arXiv:2410.13032,
section 3.2) for the reference, who correct by Bonferroni.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.random_circuits import random_path
from circuitkit.errors import CriterionError
from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bootstrap import Estimate, Values, resampled_t
from circuitkit.statistics.bound import Bound
from circuitkit.statistics.clusters import cluster_rows
from circuitkit.statistics.gaps import dust_of
from circuitkit.statistics.step_down import step_down
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.knock_outs import Components, component_classes
from circuitkit.validation.questions import NEEDED
from circuitkit.validation.verdict import Finding
from circuitkit.work.notebook import Shown
from circuitkit.work.text import brief

N_REFERENCE = 40
REFERENCE_QUANTILE = 0.95
ALPHA = 0.05
MAX_DRAWS = 1000
SHOWN = 5
NAMED = 20  # edges in the verdict's sentence
STILL = -1e30  # T of resamples without spread: below any


class Minimality(Criterion):
    """The share of the circuit's edges whose removal does more than that of a random edge."""

    name = "minimality"
    question = NEEDED
    measures = CRITERIA["minimality"]
    summary = "share of edges that are needed: their removal does more than a random edge's"
    default = Bound(min=0.8)
    least_pairs = 32  # with 16, the rare pairs of skewed effects are not seen: 32 % false alarms

    def measure(self, case: Case) -> Finding:
        found, edges = needed_edges(case), case.circuit.edges
        each = zip(edges, found.needed, found.idle, strict=True)
        rest = [(edge, bool(idle)) for edge, needed, idle in each if not needed]
        note = f"{int(found.needed.sum())} of {len(edges)} edges do more than {found.level:.2g}"
        note += f" {case.metric.unit}, {int(found.idle.sum())} less"
        if rest:
            named = ", ".join(edge for edge, _ in rest[:SHOWN])
            note += f"; not shown: {named}{' ...' if len(rest) > SHOWN else ''}"
        share, most = float(found.needed.mean()), 1 - float(found.idle.mean())
        return Finding(Estimate(share, share, most, len(edges)), note, proviso=_up_to(rest))


def _up_to(edges: Sequence[tuple[str, bool]]) -> str:
    """Return what is not shown to be needed, as a clause: each edge, and whether it is idle.

    Empty where every edge is shown to be needed.
    """
    if not edges:
        return ""
    named = [f"{edge} ({'idle' if idle else 'not shown'})" for edge, idle in edges[:NAMED]]
    more = [f"and {len(edges) - NAMED} more"] if len(edges) > NAMED else []
    n = len(edges)
    return f"minimal up to {n} edge{'s' * (n != 1)}: {', '.join([*named, *more])}"


@dataclass(frozen=True)
class Needed(Shown):
    """Which of `edges` are shown to be needed or idle, and what each does.

    `level` is c, what edges of no interest do.
    """

    edges: tuple[str, ...]
    needed: NDArray[np.bool_]
    idle: NDArray[np.bool_]
    effects: Values
    level: float

    def __repr__(self) -> str:
        counts = f"{int(self.needed.sum())} needed, {int(self.idle.sum())} idle"
        return brief(f"Needed({len(self.edges)} edges: {counts}, level {self.level:.3g})")


def needed_edges(case: Case) -> Needed:
    """Return which edges are needed.

    Raises:
        CriterionError: the circuit has no edge, or no edge lies outside it.
    """
    if not case.circuit.n_edges:
        raise CriterionError(
            "minimality: the circuit must have an edge, got none. There is nothing to take out. "
            "Judge a larger circuit."
        )
    level = reference_level(case)
    changes = cluster_rows(edge_effects(case), case.validation.clusters)
    needed, idle = rejected_above(changes, level), rejected_below(changes, level)
    return Needed(case.circuit.edges, needed, idle, np.abs(changes.mean(1)), level)


def rejected_above(changes: Values, level: float) -> NDArray[np.bool_]:
    """Return, for each row, whether |mean change| <= level is rejected among all rows."""
    size, error, drawn = _resampled(changes)
    with np.errstate(divide="ignore", invalid="ignore"):
        other_side = -drawn - 2 * level / error  # a mean beyond the other end is as extreme
        statistic = np.where(error > 0, (size - level) / error, np.sign(size - level) * np.inf)
    drawn = np.where(error > 0, np.maximum(drawn, other_side), STILL)
    return step_down(statistic, drawn, ALPHA) & holm(p_above(changes, level), ALPHA)


def rejected_below(changes: Values, level: float) -> NDArray[np.bool_]:
    """Return, for each row, whether |mean change| >= level is rejected among all rows."""
    size, error, drawn = _resampled(changes)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, (level - size) / error, np.sign(level - size) * np.inf)
    drawn = np.where(error > 0, -drawn, STILL)
    return step_down(statistic, drawn, ALPHA) & holm(p_below(changes, level), ALPHA)


def _resampled(changes: Values) -> tuple[Values, Values, Values]:
    """Return |mean| of each row, its standard error, and T of resamples that way."""
    size, error, off = _signed(changes)
    return size, error, resampled_t(off)


def _signed(changes: Values) -> tuple[Values, Values, Values]:
    """Return |mean| of each row, its standard error, and how far each pair is off, that way."""
    means = changes.mean(1)
    off = (changes - means[:, None]) * np.where(means < 0, -1, 1)[:, None]
    return np.abs(means), changes.std(1, ddof=1) / np.sqrt(changes.shape[1]), off


def reference_level(case: Case) -> float:
    """Return c: what few edges of no interest exceed, and more than rounding does."""
    effects = np.abs(reference_effects(case).mean(1))
    graph = case.circuit.graph
    full, empty = case.values([Circuit.full(graph), Circuit.empty(graph)])
    dust = dust_of(full, empty)
    return max(dust, float(np.quantile(effects, REFERENCE_QUANTILE)))


def edge_effects(case: Case) -> Values:
    """Return the change of the metric when each edge goes, under the set that exposes it most.

    [edge, pair] on the validation pairs, in the order of `circuit.edges`.
    """
    classes = list(component_classes(case).values())
    exposing = [_exposing_sets(edge, classes) for edge in case.circuit.edges]
    jobs = [(edge, k) for edge, sets in enumerate(exposing) for k in sets]
    changes = np.abs(_changes(case, jobs, choosing=True).mean(1))
    best: dict[int, tuple[float, Components]] = {}
    for (edge, k), change in zip(jobs, changes.tolist(), strict=True):
        if edge not in best or change > best[edge][0]:
            best[edge] = (change, k)
    return _changes(case, [(edge, k) for edge, (_, k) in best.items()])


def reference_effects(case: Case) -> Values:
    """Return the changes when an edge of no interest goes, [draw, pair] on discovery pairs."""
    rng = random.Random(case.seed)
    with_path, without = [], []
    graph, kept = case.circuit.graph, set(case.circuit.edges)
    for _ in range(MAX_DRAWS):
        new = [edge for edge in random_path(graph, rng) if edge not in kept]
        if not new:
            continue
        inflated = case.circuit.with_edges(case.circuit.edge_mask | graph.mask_of(new))
        with_path.append(inflated)
        without.append(inflated.without_edges([rng.choice(new)]))
        if len(without) == N_REFERENCE:
            break
    if not without:
        raise CriterionError(
            "minimality: some edge must lie outside the circuit, got every path inside. There is "
            "nothing to compare with. Judge a smaller circuit."
        )
    values = case.values([*without, *with_path], choosing=True)
    return np.asarray(values[: len(without)] - values[len(without) :])


def p_above(changes: Values, level: float) -> Values:
    """Return, for each row, the p-value of |mean change| <= level, by a t-test.

    Both tails count: what lies as far beyond the other end of [-level, level] is as extreme.
    """
    mean, error, lean, free = _t_parts(changes)
    certain = np.where(mean > level, 0.0, 1.0)  # no spread: the change is what it is
    with np.errstate(divide="ignore", invalid="ignore"):
        tails = _tail((mean - level) / error, lean, free) + t.sf((mean + level) / error, free)
        return np.where(error > 0, np.minimum(tails, 1.0), certain)


def p_below(changes: Values, level: float) -> Values:
    """Return, for each row, the p-value of |mean change| >= level, by two one-sided t-tests."""
    mean, error, lean, free = _t_parts(changes)
    certain = np.where(mean < level, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error > 0, _tail((level - mean) / error, -lean, free), certain)


def _t_parts(changes: Values) -> tuple[Values, Values, Values, int]:
    """Return |mean|, its standard error, skewness / sqrt(n) that way, and degrees of freedom."""
    n = changes.shape[1]
    size, error, off = _signed(changes)
    variance = (off**2).mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = np.where(variance > 0, (off**3).mean(1) / variance**1.5, 0.0)
    return size, error, skewness / np.sqrt(n), n - 1


def _tail(statistic: Values, lean: Values, free: int) -> Values:
    """Return the upper tail of a t statistic, straightened for the skewness of its data.

    Changes are zero on many pairs and large on few, and Holm's correction reads tails far out.
    Hall 1992, J. R. Stat. Soc. B 54:221.
    """
    straight = statistic + lean * statistic**2 / 3 + lean**2 * statistic**3 / 27 + lean / 6
    return np.asarray(t.sf(straight, free))


def holm(p: Values, alpha: float) -> NDArray[np.bool_]:
    """Return which hypotheses are rejected at a family-wise level (Holm 1979)."""
    return np.asarray(holm_adjusted(p) <= alpha)


def holm_adjusted(p: Values) -> Values:
    """Return the smallest family-wise level at which each hypothesis is rejected (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _exposing_sets(edge: str, classes: Sequence[Components]) -> list[Components]:
    """Return the sets that may expose an edge: none, and the rest of either end's class."""
    sets: list[Components] = [()]
    for end in Circuit.ends(edge):
        rest = [tuple(name for name in members if name != end) for members in classes]
        sets += [r for members, r in zip(classes, rest, strict=True) if end in members and r]
    return sets


def _changes(
    case: Case, jobs: Sequence[tuple[int, Components]], *, choosing: bool = False
) -> Values:
    """Return F(C minus (K + v)) - F(C minus K) of each (edge number, K), [job, pair]."""
    edges = case.circuit.edges
    without_k = [case.circuit.without(k) for _, k in jobs]
    without_both = [c.without_edges([edges[v]]) for c, (v, _) in zip(without_k, jobs, strict=True)]
    values = case.values([*without_both, *without_k], choosing=choosing)
    return np.asarray(values[: len(jobs)] - values[len(jobs) :])
