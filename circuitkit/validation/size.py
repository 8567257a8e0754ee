"""Size: a circuit that holds most of the model explains little of it."""

from circuitkit.statistics.bound import Bound
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion, exact
from circuitkit.validation.questions import NEEDED
from circuitkit.validation.verdict import Finding


class EdgeShare(Criterion):
    """The circuit's edges as a share of all."""

    name = "edge-share"
    question = NEEDED
    measures = "share of all edges that the circuit holds"
    summary = "edges of the circuit as a share of all in the graph"
    default = Bound(max=0.15)

    def measure(self, case: Case) -> Finding:
        n_edges, total = case.circuit.n_edges, case.circuit.graph.n_edges
        return Finding(exact(n_edges / total), f"{n_edges} of {total} edges")


class EdgeCount(Criterion):
    """The number of the circuit's edges: a claim about size that a contract can pin."""

    name = "edges"
    question = NEEDED
    measures = "number of edges"
    summary = "edges of the circuit"

    def measure(self, case: Case) -> Finding:
        return Finding(exact(float(case.circuit.n_edges)), same_as="edge-share")
