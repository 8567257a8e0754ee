"""What each edge does in a circuit that is being trimmed, on the discovery pairs.

    effect(e)   = max over sets K of |m(C minus K) - m(C minus (K + e))| / |m(M) - m(0)|

K is nothing, and each set of components whose knock-out spoke against a smaller circuit before. To
first order for all edges by one gradient (gradients/circuit_slopes.py), or by running the circuit
without the edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError, MemoryBudgetError, MethodError
from circuitkit.gradients.circuit_slopes import edge_slopes
from circuitkit.interventions.work import Work
from circuitkit.statistics.bootstrap import Values
from circuitkit.validation.case import Case
from circuitkit.validation.knock_outs import Components
from circuitkit.validation.minimality import reference_level

CANDIDATES = 0.4  # share of the edges whose effects are measured
LEAST_CANDIDATES = 24
LEVEL_HOLDS = 0.75  # the level of idle edges is measured anew for circuits this much smaller


@dataclass
class EdgeEffects:
    """Effects in circuits of one case; `objecting` are the sets K that they are measured under."""

    case: Case
    objecting: list[Components] = field(default_factory=lambda: [()])
    # how many edges a circuit had, and what edges of no interest did to it, in the metric's unit
    known: tuple[float, float] = (np.inf, 0.0)

    @cached_property
    def gap(self) -> float:
        """|m(M) - m(0)|."""
        full, empty = self.case.ends()
        return abs(float(full.mean() - empty.mean()))

    @cached_property
    def slopes_exist(self) -> bool:
        """Whether the metric has a gradient that fits in memory."""
        try:
            self.slopes(self.case.circuit)
        except (MethodError, MemoryBudgetError):
            return False
        return True

    def slopes(self, circuit: Circuit) -> Values:
        """Return the largest effect of each edge to first order, in the order of its edges."""
        case = self.case
        work = Work(case.ablations[case.ablation], memory=case.memory)
        bases = [circuit.without(k) for k in self.objecting]
        slopes = edge_slopes(case.model, case.choosing, bases, case.metric, work)
        at = tuple(circuit.graph.edge_index.T)  # in edge order, as slopes and `circuit.edges` are
        held = torch.stack([base.edge_mask[at] for base in bases])  # what K takes does nothing
        largest = (slopes.abs() * held).amax(0)[circuit.edge_mask[at]]
        return np.asarray(largest / self.gap)

    def least(self, circuit: Circuit) -> Values:
        """Return the largest effect of each edge, in the order of `circuit.edges`.

        Of edges that surely do not go now, a bound that is never the least.
        """
        edges = circuit.edges
        found = np.full(len(edges), np.inf)
        tried = range(len(edges))
        if self.slopes_exist:
            order = np.argsort(self.slopes(circuit), kind="stable")
            tried = order[: max(LEAST_CANDIDATES, round(len(edges) * CANDIDATES))].tolist()
        found[list(tried)] = self.exact(circuit, [edges[i] for i in tried])
        return found

    def exact(self, circuit: Circuit, edges: Sequence[str]) -> Values:
        """Return the largest effect of some edges."""
        return self.measured(circuit, edges)[0]

    def measured(self, circuit: Circuit, edges: Sequence[str]) -> tuple[Values, Values]:
        """Return the largest effect of some edges, and its standard error on all the pairs.

        The pairs on which sets are chosen say how much pairs differ.
        """
        found, errors = np.zeros(len(edges)), np.zeros(len(edges))
        root = np.sqrt(self.case.discovery.n_clusters)
        for k in self.objecting:
            base = circuit.without(k)
            kept = set(base.edges)
            held = [i for i, edge in enumerate(edges) if edge in kept]
            without = [base.without_edges([edges[i]]) for i in held]
            values = self.case.values([base, *without], choosing=True)
            for i, changes in zip(held, values[1:] - values[0], strict=True):
                if (effect := abs(changes.mean()) / self.gap) >= found[i]:
                    found[i], errors[i] = effect, changes.std(ddof=1) / root / self.gap
        return found, errors

    def cheap(self, circuit: Circuit) -> Values:
        """Return what stands for the effects of many edges: slopes, else the method's scores."""
        if self.slopes_exist:
            return self.slopes(circuit)
        kept = circuit.edge_mask[tuple(circuit.graph.edge_index.T)]
        return np.asarray(circuit.scores.by_edge()[kept].abs())

    def level(self, circuit: Circuit) -> float:
        """Return about what an edge of no interest does to this circuit."""
        n_edges, _ = self.known
        if circuit.n_edges < LEVEL_HOLDS * n_edges:
            try:
                level = reference_level(replace(self.case, circuit=circuit))
            except CriterionError:  # no path lies outside the circuit: any effect is one
                level = 0.0
            self.known = (circuit.n_edges, level)
        return self.known[1]
