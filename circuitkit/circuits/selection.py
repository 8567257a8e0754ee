"""From scores to circuits: the n best edges, those above a threshold, or greedily from the logits.

Edges rank by the magnitude of their scores, or by signed score. Scores that differ by less than
TIE of the largest are ties, as rounding may order them either way; ties break by edge order, so the
same command gives the same circuit whatever the batch size.

Evaluation never prunes. Removing dead ends is an explicit step that changes no value under
resample ablation; under mean and zero ablation a component without in-edges still computes
something from ablated inputs, so removing its out-edges can change the result a little.
"""

import heapq

import networkx
import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import INPUT, LOGITS, EdgeScores
from circuitkit.circuits.paths import edges_into, route_of, routes, source_of
from circuitkit.errors import MethodError
from circuitkit.names import SELECTIONS as SELECTIONS

TIE = 1e-6


def select_top(scores: EdgeScores, n_edges: int, *, signed: bool = False) -> Circuit:
    """Return the circuit of the `n_edges` best edges. No dead ends are removed.

    Raises:
        MethodError: more edges are asked for than there are, or fewer than none.
    """
    _require_size(n_edges, scores.graph.n_edges)
    ranked = torch.argsort(_rank_values(scores, signed), descending=True, stable=True)
    return _circuit_of(scores, ranked[:n_edges])


def select_best(scores: EdgeScores, n_edges: int, selection: str, *, signed: bool) -> Circuit:
    """Return the `n_edges` best edges by one of SELECTIONS.

    Raises:
        MethodError: more edges are asked for than there are, or fewer than none.
    """
    select = select_greedy if selection == "greedy" else select_top
    return select(scores, n_edges, signed=signed)


def select_as_found(circuit: Circuit, n_edges: int) -> Circuit:
    """Return the best edges of a circuit's own scores, selected as its provenance says it was.

    Raises:
        MethodError: more edges are asked for than there are, or fewer than none.
    """
    said = circuit.provenance.recipe.selection
    return select_best(circuit.scores, n_edges, said.rule, signed=said.signed)


def select_above(scores: EdgeScores, threshold: float, *, signed: bool = False) -> Circuit:
    """Return the circuit of the edges whose score, or its magnitude, is at least `threshold`.

    Raises:
        MethodError: no edge is.
    """
    values = scores.by_edge() if signed else scores.by_edge().abs()
    kept = (values >= threshold).nonzero()[:, 0]
    if not len(kept):
        raise MethodError(
            f"selection: the threshold must leave an edge, got {threshold:g} where the best score "
            f"is {float(values.max()):.3g}. The circuit would be empty. Lower --threshold."
        )
    return _circuit_of(scores, kept)


def select_greedy(scores: EdgeScores, n_edges: int, *, signed: bool = False) -> Circuit:
    """Return `n_edges` edges chosen one by one from the logits back.

    Each is the best of those into what the circuit holds already, so every edge leads on to the
    logits; once a component is in, edges into its query, key and value all are candidates. Fewer
    edges are returned only if no more can be reached. Hanna et al. 2024 (arXiv:2403.17806),
    section 3.

    Raises:
        MethodError: more edges are asked for than there are, or fewer than none.
    """
    graph = scores.graph
    _require_size(n_edges, graph.n_edges)
    values = _rank_values(scores, signed).tolist()
    held = {LOGITS, INPUT}
    chosen: list[int] = []
    seen: set[int] = set()
    # a heap of (-value, edge number): the best first, ties by edge order
    candidates = [(-values[number], number) for number in edges_into(graph, LOGITS)]
    heapq.heapify(candidates)
    while candidates and len(chosen) < n_edges:
        number = heapq.heappop(candidates)[1]
        chosen.append(number)
        sender = source_of(graph.edge_names[number], graph)
        if sender not in held:
            held.add(sender)
            new = [found for found in edges_into(graph, sender) if found not in seen]
            seen.update(new)  # keys and values at a column lead to a head at every column
            for found in new:
                heapq.heappush(candidates, (-values[found], found))
    return _circuit_of(scores, torch.tensor(chosen, dtype=torch.long))


def prune_dead_ends(circuit: Circuit) -> Circuit:
    """Return the edges that lie on a path from the input to the logits."""
    graph = routes(circuit)
    if INPUT not in graph or LOGITS not in graph:
        return circuit.with_edges(torch.zeros_like(circuit.edge_mask))
    alive = {INPUT, *networkx.descendants(graph, INPUT)} & {
        LOGITS,
        *networkx.ancestors(graph, LOGITS),
    }
    return _between(circuit, alive)


def prune_unread(circuit: Circuit) -> Circuit:
    """Return the edges from which a path leads to the logits, wherever it begins.

    For edges that carry something of their own, as what fine-tuning changed: it need not come from
    the input.
    """
    graph = routes(circuit)
    if LOGITS not in graph:
        return circuit.with_edges(torch.zeros_like(circuit.edge_mask))
    return _between(circuit, {LOGITS, *networkx.ancestors(graph, LOGITS)})


def _between(circuit: Circuit, alive: set[str]) -> Circuit:
    """Return the circuit's edges whose whole route is alive."""
    kept = [edge for edge in circuit.edges if alive.issuperset(route_of(edge, circuit.graph))]
    return circuit.with_edges(circuit.graph.mask_of(kept))


def _rank_values(scores: EdgeScores, signed: bool) -> Float[Tensor, " edge"]:
    values = scores.by_edge() if signed else scores.by_edge().abs()
    step = TIE * float(values.abs().max())
    return (values / step).round() if step > 0 else values


def _circuit_of(scores: EdgeScores, numbers: torch.Tensor) -> Circuit:
    mask = torch.zeros_like(scores.graph.edge_mask)
    mask[tuple(scores.graph.edge_index[numbers].T)] = True
    return Circuit(scores.graph, mask, scores)


def _require_size(n_edges: int, available: int) -> None:
    if not 0 <= n_edges <= available:
        raise MethodError(
            f"selection: the number of edges must be from 0 to {available}, got {n_edges}. "
            "The graph has no more. Change --edges."
        )
