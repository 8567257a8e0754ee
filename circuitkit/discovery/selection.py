"""From scores to circuits: the n best edges, a random control, and removal of dead ends.

Evaluation never prunes. Removing dead ends is an explicit step that changes no value under
resample ablation; under mean and zero ablation a component without in-edges still computes
something from ablated inputs, so removing its out-edges can change the result a little.
"""

import random

import networkx
import torch

from circuitkit.circuit import Circuit
from circuitkit.errors import MethodError
from circuitkit.graph import INPUT, LOGITS, EdgeScores


def select_top(scores: EdgeScores, n_edges: int, *, signed: bool = False) -> Circuit:
    """Return the circuit of the `n_edges` best edges: by absolute score, or by signed score.

    Ties break by edge order. No dead ends are removed.

    Raises:
        MethodError: more edges are asked for than there are, or fewer than none.
    """
    _require_size(n_edges, scores.graph.n_edges)
    values = scores.by_edge()
    ranked = torch.argsort(values if signed else values.abs(), descending=True, stable=True)
    return _circuit_of(scores, ranked[:n_edges])


def select_random(scores: EdgeScores, n_edges: int, *, seed: int) -> Circuit:
    """Return a circuit of `n_edges` edges drawn evenly from all: the control for a selection.

    Raises:
        MethodError: more edges are asked for than there are, or fewer than none.
    """
    _require_size(n_edges, scores.graph.n_edges)
    drawn = random.Random(seed).sample(range(scores.graph.n_edges), n_edges)
    return _circuit_of(scores, torch.tensor(drawn, dtype=torch.long))


def prune_dead_ends(circuit: Circuit) -> Circuit:
    """Return the edges that lie on a path from the input to the logits."""
    graph = circuit.to_networkx()
    if INPUT not in graph or LOGITS not in graph:
        return circuit.with_edges(torch.zeros_like(circuit.edge_mask))
    alive = {INPUT, *networkx.descendants(graph, INPUT)} & {
        LOGITS,
        *networkx.ancestors(graph, LOGITS),
    }
    kept = [edge for edge in circuit.edges if set(circuit.ends(edge)) <= alive]
    return circuit.with_edges(circuit.graph.mask_of(kept))


def _circuit_of(scores: EdgeScores, numbers: torch.Tensor) -> Circuit:
    mask = torch.zeros_like(scores.graph.edge_mask)
    at = scores.graph.edge_index[numbers]
    mask[at[:, 0], at[:, 1]] = True
    return Circuit(scores.graph, mask, scores)


def _require_size(n_edges: int, available: int) -> None:
    if not 0 <= n_edges <= available:
        raise MethodError(
            f"selection: the number of edges must be from 0 to {available}, got {n_edges}. "
            "The graph has no more. Change --edges."
        )
