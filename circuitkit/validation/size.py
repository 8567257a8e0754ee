"""Size: a circuit that holds most of the model explains little of it.

    edge-share   edges of C / edges of the graph;  at most max(0.15, min(9 / edges, 0.6)) by default

Nine edges are a circuit that can be read, in a graph of any size: of fewer than sixty edges they
are more than 15 %. Six in ten are most of a graph, however small. Another bound is taken as given.
"""

from dataclasses import replace

from circuitkit.circuits.graph import ComponentGraph
from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bound import Bound
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion, exact
from circuitkit.validation.questions import NEEDED
from circuitkit.validation.verdict import Finding

READABLE = 9  # edges of a circuit that is small in any graph
MOST = 0.6


class EdgeShare(Criterion):
    """The circuit's edges as a share of all."""

    name = "edge-share"
    question = NEEDED
    measures = CRITERIA["edge-share"]
    summary = "edges of the circuit as a share of all in the graph"
    default = Bound(max=0.15)

    def bound_on(self, graph: ComponentGraph, bound: Bound) -> Bound:
        """Return the default bound as it fits a small graph; any other as it is."""
        if bound != self.default or bound.max is None:
            return bound
        return replace(bound, max=max(bound.max, min(READABLE / graph.n_edges, MOST)))

    def measure(self, case: Case) -> Finding:
        n_edges, total = case.circuit.n_edges, case.circuit.graph.n_edges
        return Finding(exact(n_edges / total), f"{n_edges} of {total} edges")


class EdgeCount(Criterion):
    """The number of the circuit's edges: a claim about size that a contract can pin."""

    name = "edges"
    question = NEEDED
    measures = CRITERIA["edges"]
    summary = "edges of the circuit"

    def measure(self, case: Case) -> Finding:
        return Finding(exact(float(case.circuit.n_edges)), same_as="edge-share")
