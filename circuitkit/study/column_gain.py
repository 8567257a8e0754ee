"""What is gained by letting edges live at columns, against whole edges by the same scores.

Sizes are counted in edges at columns: a whole edge counts once for every column at which it is. An
edge's score is the sum over its columns, so both rankings rest on the same measurement.
"""

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.graph import EdgeScores
from circuitkit.circuits.selection import prune_dead_ends, select_top
from circuitkit.circuits.whole_edges import at_every_column
from circuitkit.validation.case import Case

N_SIZES = 16  # of whole edges, each about 1.3 times the one before


def gain_of_columns(case: Case, scores: EdgeScores) -> tuple[str, ...]:
    """Return sentences: how faithful whole edges are at equal size, and what size is as faithful.

    Both on the pairs that judge, under the ablation of the verdict. None without columns.
    """
    graph = scores.graph
    if not isinstance(graph, ColumnGraph):
        return ()
    whole = EdgeScores(graph.everywhere, scores.values.sum(0))
    signed = case.circuit.provenance.recipe.selection.signed
    n, n_all = case.circuit.n_edges, graph.everywhere.n_edges
    least = max(1, n // len(graph.columns))
    sizes = sorted({min(n_all, round(least * 1.3**step)) for step in range(N_SIZES)})
    tried = [prune_dead_ends(select_top(whole, size, signed=signed)) for size in sizes]
    own, *others = case.faithfulness([case.circuit, *tried]).tolist()
    counted = [_at_columns(circuit, graph) for circuit in tried]
    fitting = [number for number, size in enumerate(counted) if size <= n]
    said = f"At columns, {n} edges keep {own:.0%}"
    if fitting:
        best = max(fitting, key=lambda number: counted[number])
        equal = (
            f"{said}; whole edges of no greater size ({tried[best].n_edges} edges, "
            f"{counted[best]} counted at every column) keep {others[best]:.0%}."
        )
    else:
        equal = f"{said}; no connected circuit of whole edges is that small."
    as_good = [number for number, value in enumerate(others) if abs(1 - value) <= abs(1 - own)]
    if not as_good:
        return equal, f"No circuit of up to {tried[-1].n_edges} whole edges keeps as much."
    first = as_good[0]
    return equal, (
        f"Whole edges first come as close to the model with {tried[first].n_edges} edges, "
        f"{counted[first]} counted at every column: {counted[first] / n:.1f} times as many."
    )


def _at_columns(circuit: Circuit, graph: ColumnGraph) -> int:
    return at_every_column(circuit, graph).n_edges
