"""Trimming a circuit: fewer edges that keep as much, on the discovery pairs alone.

    effect(e)   = max over sets K of |m(C minus K) - m(C minus (K + e))| / |m(M) - m(0)|
    a round       takes out the edges of least effect together, and dead ends with them: as many as
                  leave the circuit allowed
    allowed       |1 - f(C)| <= 1 - aim, and max over K of
                  |m(C minus K) - m(M minus K)| / |m(M) - m(0)| <= MAX_INCOMPLETE
    done          the circuit is small enough, and nearly all its edges do clearly more than edges
                  of no interest do (validation/minimality.py)

Faithfulness f is looked at for the edges that go together, since edges that stand in for each other
are each idle, but not all at once; knock-outs K are looked at since a backup is idle until what it
backs up is out. K runs over single components, random sets, and the sets that a greedy search finds
whenever the circuit has become smaller. Effects are measured with nothing knocked out, and under
those K for which a smaller circuit was not allowed: first by slopes (gradients/circuit_slopes.py),
which cost one gradient for all edges; where these find no step, exactly, on the edges of least
slope. On the way to a small circuit, faithfulness is lost at a pace, evenly over the rounds.

Trimming begins with the first of AIMS and goes on to the next only where the circuit is not done
by then: a circuit that keeps 95 % and whose edges are all needed is not made smaller still. Where
none is done, the small circuit of the first aim that led to one is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.circuits.selection import prune_dead_ends
from circuitkit.errors import MethodError
from circuitkit.statistics.bootstrap import Values
from circuitkit.study.edge_effects import EdgeEffects
from circuitkit.study.plain_case import plain_case
from circuitkit.study.settings import Settings, Stage
from circuitkit.study.subject import Subject
from circuitkit.validation.bench import Bench
from circuitkit.validation.case import N_CHOOSING, Case
from circuitkit.validation.judge import MIN_TO_JUDGE
from circuitkit.validation.knock_outs import (
    GREEDY_STEPS,
    N_RANDOM,
    Components,
    greedy_sets,
    inner_components,
    random_sets,
)
from circuitkit.work.progress import Progress, silent

AIMS = (0.95, 0.92, 0.89)  # shares of the behaviour, tried in this order
MAX_INCOMPLETE = 0.3  # share of the gap
ENOUGH_NEEDED = 0.9  # share of edges that are needed
SURE = 2.2  # standard errors above what edges of no interest do; 3.1 on twice as many pairs
SMALL_SHARE = 0.15  # of all edges
SMALL_COUNT = 24  # edges are few, whatever their share
STEPS = (0.02, 0.04, 0.08, 0.12, 0.2, 0.3)  # shares of the edges that are tried
LARGE_STEP = 0.08  # by slopes; where they find a smaller one only, effects are measured
MARGIN = 0.1  # by which f on few pairs may mislead
MANY = 600  # edges; of more than this, slopes stand for effects
EARLY = 1.2  # about three rounds: how far the pace is ahead at the start
N_MENDING = 6  # edges, each tried alone
N_OBJECTING = 4  # sets K under which effects are measured, beside the empty one
SHRUNK = 0.7  # greedy sets are found anew when a circuit is this much smaller
LATE = 2.0  # times the number of edges that are few: from there on, greedy sets are searched
LEAST_PAIRS = 2 * MIN_TO_JUDGE
ROUNDS, RUNS_A_ROUND, RUNS_A_SET = 25, 60, 0.3  # about, for an estimate of time


@dataclass(frozen=True)
class Trimmed:
    """A circuit from which edges went, and why no more did: a sentence."""

    circuit: Circuit
    reason: str


def trimmed(
    subject: Subject,
    circuit: Circuit,
    settings: Settings,
    stage: Stage = lambda title: silent,
    bench: Bench | None = None,
) -> Trimmed:
    """Return the circuit without edges that are not needed, and without dead ends.

    Raises:
        MethodError: too few discovery pairs.
    """
    pairs = subject.splits.discovery
    if len(pairs) < LEAST_PAIRS:
        raise MethodError(
            f"minimal circuit: there must be at least {LEAST_PAIRS} discovery pairs, got "
            f"{len(pairs)}. Which edges are needed cannot be told from fewer. Raise --n, or leave "
            "out --minimal."
        )
    case = discovery_case(subject, circuit, settings, bench)
    return trim(case, stage("Dropping idle edges"))


def discovery_case(
    subject: Subject, circuit: Circuit, settings: Settings, bench: Bench | None = None
) -> Case:
    """Return the case of a circuit on the pairs that found it: to choose by, not for a verdict."""
    return replace(
        plain_case(subject, circuit, settings, bench), validation=subject.splits.discovery
    )


def trim(case: Case, progress: Progress = silent) -> Trimmed:
    """Return the circuit of a case of `discovery_case` without edges that are not needed."""
    return _Trimming(case, progress).smallest()


def few_edges(graph: ComponentGraph) -> float:
    """Return how many edges are few in a graph: trimming need not go further for its size."""
    return max(SMALL_COUNT, SMALL_SHARE * graph.n_edges)


def passes_to_trim(circuit: Circuit) -> float:
    """Return about how many forward passes of one pair trimming a circuit takes."""
    sets = len(inner_components(circuit)) + N_RANDOM + GREEDY_STEPS
    return ROUNDS * RUNS_A_SET * (sets + RUNS_A_ROUND) * N_CHOOSING


@dataclass
class _Trimming:
    """The state of trimming: what is looked at, and what it has found."""

    case: Case
    progress: Progress
    sets: list[Components] = field(default_factory=list)
    searched: float = np.inf  # edges of the circuit for which greedy sets were last found
    stopped: str = "every edge does too much to go"

    def __post_init__(self) -> None:
        self.effects = EdgeEffects(self.case)
        inner = inner_components(self.case.circuit)
        self.sets += [(name,) for name in inner]
        self.sets += random_sets(inner, seed=self.case.seed).values()

    def smallest(self) -> Trimmed:
        """Return the circuit when it is done, or when nothing more may go."""
        circuit = self.case.circuit
        total = circuit.n_edges
        self.progress(0, total)
        stuck: list[Trimmed] = []  # small ones, at each aim
        for aim in AIMS:
            while True:
                if reason := self._done(circuit):
                    self.progress(total, total)
                    return Trimmed(self._without_idle(circuit, aim), reason)
                fewer = self._fewer(circuit, aim)
                if fewer is None:
                    break
                circuit = fewer
                self.progress(total - circuit.n_edges, total)
            if circuit.n_edges <= few_edges(circuit.graph):
                stuck.append(Trimmed(circuit, self.stopped))
        self.progress(total, total)
        # no aim led to edges that are all needed: then rather keep more of the behaviour
        return stuck[0] if stuck else Trimmed(circuit, self.stopped)

    def _fewer(self, circuit: Circuit, aim: float) -> Circuit | None:
        """Return the smallest allowed circuit of one round, or None.

        At the pace first: what is lost on the way to a small circuit is lost evenly, since who
        loses all that is allowed on the first edges can drop no more.
        """
        self._search_sets(circuit)
        while True:
            found, objects = self._step(circuit, aim, self._pace(circuit))
            if found is None and self._pace(circuit) < 1:
                found, objects = self._step(circuit, aim, 1.0)
            if found is not None or not objects or objects in self.effects.objecting:
                return found
            if len(self.effects.objecting) > N_OBJECTING:
                return None
            # Edges that a knock-out exposes came first: measure what all do under it, too.
            self.effects.objecting.append(objects)

    def _step(self, circuit: Circuit, aim: float, pace: float) -> tuple[Circuit | None, Components]:
        """Return the smallest allowed circuit by slopes, else by effects, and what objects."""
        allowed_off = max((1 - aim) * pace, self._off(circuit))
        if circuit.n_edges > MANY:  # too many to measure the effect of each
            return self._largest_step(
                circuit, self._options(circuit, self.effects.cheap(circuit)), allowed_off
            )
        found: Circuit | None = None
        objects: Components = ()
        if self.effects.slopes_exist:
            options = self._options(circuit, self.effects.slopes(circuit))
            least = circuit.n_edges * (1 - LARGE_STEP)
            large = [option for option in options if option.n_edges <= least]
            found, objects = self._largest_step(circuit, large, allowed_off)
        if found is None:
            options = self._options(circuit, self.effects.least(circuit))
            found, objects = self._largest_step(circuit, options, allowed_off)
        if found is None:
            found, _ = self._largest_step(circuit, self._mending(circuit), allowed_off)
        return found, objects

    def _pace(self, circuit: Circuit) -> float:
        """Return how much of what may be lost may be lost by now, from the number of edges."""
        start, goal = self.case.circuit.n_edges, few_edges(circuit.graph) / 2
        if circuit.n_edges <= goal or start <= goal:
            return 1.0
        way = np.log(start / circuit.n_edges) + EARLY
        return float(min(1.0, way / (np.log(start / goal) + EARLY)))

    def _options(self, circuit: Circuit, effects: Values) -> list[Circuit]:
        """Return the circuits without the edges of least effect, the smallest first."""
        edges = circuit.edges
        order = np.argsort(effects, kind="stable").tolist()
        counts = sorted({max(1, round(len(edges) * step)) for step in STEPS}, reverse=True)
        return _pruned([circuit.without_edges([edges[i] for i in order[:n]]) for n in counts])

    def _mending(self, circuit: Circuit) -> list[Circuit]:
        """Return the circuits without one edge whose loss brings it nearer to the model.

        Where faithfulness is at its limit, those of least effect may all pull away from it.
        """
        edges = circuit.edges
        effects = self.effects.least(circuit)
        tried = [i for i in np.argsort(effects, kind="stable") if np.isfinite(effects[i])]
        without = [circuit.without_edges([edges[i]]) for i in tried]
        full, before, *after = self._means([Circuit.full(circuit.graph), circuit, *without])
        nearer = [
            c for c, v in zip(without, after, strict=True) if abs(full - v) < abs(full - before)
        ]
        return _pruned(nearer[:N_MENDING])

    def _largest_step(
        self, circuit: Circuit, options: Sequence[Circuit], allowed_off: float
    ) -> tuple[Circuit | None, Components]:
        """Return the first allowed option, and the knock-out that objects to the last."""
        if not options:
            return None, ()
        allowed = max(MAX_INCOMPLETE, float(self._incomplete(circuit).max()))
        objects: Components = ()
        self._means(options)  # all in one batch
        for option in options:
            if self._roughly_off(option) > allowed_off + MARGIN or self._off(option) > allowed_off:
                objects = ()
                self.stopped = (
                    f"without more it would keep less than {1 - allowed_off:.0%} or more than "
                    f"{1 + allowed_off:.0%}"
                )
                continue
            gaps = self._incomplete(option)
            if gaps.max() <= allowed:
                return option, ()
            objects = self.sets[int(gaps.argmax())]
            self.stopped = f"without more it would lack what takes over for {' and '.join(objects)}"
        return None, objects

    def _off(self, circuit: Circuit) -> float:
        """Return |1 - f|."""
        return abs(1 - float(self.case.faithfulness([circuit])[0]))

    def _roughly_off(self, circuit: Circuit) -> float:
        """Return |1 - f| on the few pairs on which sets are chosen."""
        full, empty = Circuit.full(circuit.graph), Circuit.empty(circuit.graph)
        values = self._means([circuit, full, empty])
        return abs(float((values[1] - values[0]) / (values[1] - values[2])))

    def _search_sets(self, circuit: Circuit) -> None:
        """Add the sets that expose what this circuit lacks, if it has shrunk since the last."""
        if circuit.n_edges > min(SHRUNK * self.searched, LATE * few_edges(circuit.graph)):
            return
        self.searched = circuit.n_edges
        found = greedy_sets(replace(self.case, circuit=circuit), inner_components(circuit))
        self.sets += [k for k in found.values() if k not in self.sets]

    def _incomplete(self, circuit: Circuit) -> Values:
        """Return how far a circuit is from the model under each K, as a share of the gap."""
        full = Circuit.full(circuit.graph)
        left = self._means([each.without(k) for each in (circuit, full) for k in self.sets])
        return np.abs(left[: len(self.sets)] - left[len(self.sets) :]) / self.effects.gap

    def _done(self, circuit: Circuit) -> str:
        """Return why nothing needs to go: it is small, and enough edges are shown to be needed."""
        if circuit.n_edges > few_edges(circuit.graph):
            return ""
        measure, level = self.effects, self.effects.level(circuit) / self.effects.gap
        if circuit.n_edges <= MANY:  # about what minimality will say, at a tenth of its price
            effects, errors = measure.measured(circuit, circuit.edges)
            share = float((effects - level > SURE * errors).mean())
        elif measure.slopes_exist:
            share = float((measure.slopes(circuit) > level).mean())
        else:
            return ""
        return f"{share:.0%} of what is left does enough to be needed" * (share >= ENOUGH_NEEDED)

    def _without_idle(self, circuit: Circuit, aim: float) -> Circuit:
        """Return the circuit without the edges that do no more than edges of no interest."""
        if circuit.n_edges > MANY:
            return circuit
        level = self.effects.level(circuit) / self.effects.gap
        effects = zip(circuit.edges, self.effects.exact(circuit, circuit.edges), strict=True)
        idle = [edge for edge, effect in effects if effect <= level]
        if not idle:
            return circuit
        allowed_off = max(1 - aim, self._off(circuit))
        less = _pruned([circuit.without_edges(idle)])
        found, _ = self._largest_step(circuit, less, allowed_off)
        return found or circuit

    def _means(self, circuits: Sequence[Circuit]) -> Values:
        return np.asarray(self.case.values(circuits, choosing=True).mean(1))


def _pruned(circuits: Sequence[Circuit]) -> list[Circuit]:
    """Return the circuits without dead ends, those of which nothing is left left out."""
    return [each for each in map(prune_dead_ends, circuits) if each.n_edges]
