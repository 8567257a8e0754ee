"""What two circuits of one architecture have in common, and what only one of them has."""

from dataclasses import dataclass

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import GraphError
from circuitkit.work.notebook import Shown
from circuitkit.work.text import brief


@dataclass(frozen=True)
class CircuitDiff(Shown):
    """The edges of circuits A and B, each tuple in edge order."""

    both: tuple[str, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    def __repr__(self) -> str:
        only = f"{len(self.only_a):,} only in A, {len(self.only_b):,} only in B"
        return brief(
            f"CircuitDiff({len(self.both):,} edges in both, {only}, jaccard {self.jaccard:.3g})"
        )

    @property
    def jaccard(self) -> float:
        """The share of the edges of either circuit that both have; 1 for two empty ones."""
        union = len(self.both) + len(self.only_a) + len(self.only_b)
        return len(self.both) / union if union else 1.0


def diff_circuits(a: Circuit, b: Circuit) -> CircuitDiff:
    """Return what circuit `a` and circuit `b` share and what not.

    Raises:
        GraphError: they are of different architectures, where the same name is another component.
    """
    if a.graph != b.graph:
        raise GraphError(
            f"diff: both circuits must be of one architecture, got ({a.graph}) and ({b.graph}). "
            "Components of the same name are not the same there. Compare circuits of one model, "
            "or of models that differ in their weights alone."
        )
    in_a, in_b = set(a.edges), set(b.edges)
    return CircuitDiff(
        tuple(edge for edge in a.edges if edge in in_b),
        tuple(edge for edge in a.edges if edge not in in_b),
        tuple(edge for edge in b.edges if edge not in in_a),
    )


def origin_of(circuit: Circuit) -> str:
    """Return what a circuit says of its origin: method and seed, and model."""
    origin = circuit.provenance
    method = f"{origin.method}, seed {origin.seed}" if origin.method else ""
    model = f"model {origin.model}" if origin.model else ""
    return ", ".join(part for part in (method, model) if part) or "origin not said"
