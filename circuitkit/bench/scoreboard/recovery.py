"""How well scores recover known edges.

    AUROC              chance that a true edge ranks above a false one, ties counting half
    average precision  mean precision over the ranks at which true edges are found
    precision, recall  of the circuit of as many edges as are true; the two are equal there

Edges rank as the method says: by magnitude, or by signed score. A node's score is the best of its
out-edges, and a node is true if a true edge leaves it; the input is not counted.
"""

from dataclasses import dataclass

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import INPUT, EdgeScores
from circuitkit.circuits.selection import select_top
from circuitkit.errors import CriterionError, DependencyError


@dataclass(frozen=True)
class Recovery:
    """How well one set of scores recovers one circuit; NaN where every node is true."""

    auroc: float
    average_precision: float
    node_auroc: float
    node_average_precision: float
    recall: float


def measure_recovery(scores: EdgeScores, truth: Circuit, *, signed: bool = False) -> Recovery:
    """Return how well the scores recover the true circuit.

    Raises:
        DependencyError: scikit-learn is not installed.
        CriterionError: no edge is true, or every one is.
    """
    try:
        from sklearn.metrics import average_precision_score, roc_auc_score
    except ImportError as error:
        raise DependencyError(
            "recovery", "scikit-learn", "bench", "AUROC and average precision are its."
        ) from error
    graph = scores.graph
    if not 0 < truth.n_edges < graph.n_edges:
        raise CriterionError(
            f"recovery: some edges must be true and some not, got {truth.n_edges} true ones of "
            f"{graph.n_edges}. There is nothing to tell apart. Give a circuit of known edges."
        )
    at = graph.edge_index
    is_true = truth.edge_mask[at[:, 0], at[:, 1]].numpy()
    values = scores.by_edge() if signed else scores.by_edge().abs()
    found = select_top(scores, truth.n_edges, signed=signed)
    lowest = float(values.min())
    best = np.full(len(graph.senders), lowest)
    np.maximum.at(best, at[:, 0].numpy(), values.numpy())
    others = [i for i, name in enumerate(graph.senders) if name != INPUT]
    node_true = truth.edge_mask.any(1).numpy()[others]
    nodes = best[others]
    tell_apart = 0 < int(node_true.sum()) < len(node_true)
    return Recovery(
        float(roc_auc_score(is_true, values.numpy())),
        float(average_precision_score(is_true, values.numpy())),
        float(roc_auc_score(node_true, nodes)) if tell_apart else float("nan"),
        float(average_precision_score(node_true, nodes)) if tell_apart else float("nan"),
        int((found.edge_mask & truth.edge_mask).sum()) / truth.n_edges,
    )
