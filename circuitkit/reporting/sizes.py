"""The circuits that a reader can step through: those of the faithfulness curve, and the run's own.

The circuit of a size is the one that the curve measured: the best edges by the run's own selection
(the selection of the circuit's recipe), dead ends removed. One picture
holds the edges of all sizes up to MAX_EDGES and those of the circuit; larger sizes show what is in
it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.selection import prune_dead_ends, select_as_found
from circuitkit.reporting.dot import MAX_DRAWN
from circuitkit.reporting.values import interval, number, rounded
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.records import RunRecord
from circuitkit.validation.curve import CurvePoint

MAX_EDGES = 100  # of a size whose edges are all drawn: more are a thicket
HEAVIEST = 200  # the weight of the circuit's own edges in the layout


@dataclass(frozen=True)
class Size:
    """One circuit: how many edges were asked for, which are kept, and what it is worth.

    `faithfulness` is None where it was not measured; `random_mean` where there are no controls.
    """

    n_asked: int
    edges: frozenset[str]
    faithfulness: Estimate | None
    random_mean: float | None
    is_own: bool

    @property
    def n_kept(self) -> int:
        """The number of edges that are left without dead ends."""
        return len(self.edges)

    @property
    def short(self) -> str:
        """The size as it stands at an end of the axis."""
        n_edges = self.n_kept if self.is_own else self.n_asked
        return f"{n_edges:,} {'edge' if n_edges == 1 else 'edges'}"

    @property
    def title(self) -> str:
        """The size in words."""
        which = "This circuit, " if self.is_own else ""
        dropped = self.n_asked - self.n_kept
        rest = f", {dropped:,} of them dead ends" if dropped > 0 and not self.is_own else ""
        return f"{which}{self.short}{rest}"

    @property
    def worth(self) -> str:
        """The faithfulness in words, with its interval, against random circuits."""
        if self.faithfulness is None:
            return "faithfulness was not measured"
        value = f"faithfulness {rounded(self.faithfulness)} {interval(self.faithfulness)}"
        if self.random_mean is None:
            return value
        return f"{value}; random circuits {number(self.random_mean)}"


def sizes_of(record: RunRecord) -> tuple[Size, ...]:
    """Return the circuit of every size of the curve and the run's own, smallest first."""
    points = [_size_of(record, point) for point in record.validation.curve.points]
    return tuple(sorted([*points, _own(record)], key=lambda size: (size.n_kept, size.is_own)))


def drawn_circuit(record: RunRecord, sizes: Sequence[Size]) -> Circuit:
    """Return all edges that the picture holds: those of the small sizes and of the circuit.

    Of a circuit of more than MAX_DRAWN edges, those with the largest |score|.
    """
    circuit, graph = record.circuit, record.graph
    own = circuit.edges
    if len(own) > MAX_DRAWN:
        scores = circuit.scores.by_edge().abs().tolist()
        ranked = sorted(own, key=lambda edge: -scores[graph.edge_number(edge)])
        own = tuple(ranked[:MAX_DRAWN])
    small = (size.edges for size in sizes if size.n_kept <= MAX_EDGES)
    return circuit.with_edges(graph.mask_of(sorted({*own}.union(*small))))


def layout_weights(sizes: Sequence[Size], drawn: Circuit) -> dict[str, int]:
    """Return how straight each edge is drawn: those of the circuit most, then by the first size."""
    others = [size for size in sizes if not size.is_own]
    own = next(size for size in sizes if size.is_own)
    weights = {}
    for edge in drawn.edges:
        first = next((at for at, size in enumerate(others) if edge in size.edges), len(others))
        weights[edge] = HEAVIEST if edge in own.edges else max(1, HEAVIEST // 4 >> first)
    return weights


def _size_of(record: RunRecord, point: CurvePoint) -> Size:
    chosen = select_as_found(record.circuit, point.n_edges)
    random = point.random_mean if point.random else None
    kept = frozenset(prune_dead_ends(chosen).edges)
    return Size(point.n_edges, kept, point.faithfulness, random, is_own=False)


def _own(record: RunRecord) -> Size:
    measured = record.validation.faithfulness
    chosen = next((each for each in measured if each.ablation == record.info.ablation), None)
    return Size(
        record.info.n_edges_selected,
        frozenset(record.circuit.edges),
        chosen.value if chosen else None,
        None,
        is_own=True,
    )
