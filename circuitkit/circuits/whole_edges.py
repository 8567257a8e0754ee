"""From edges at columns to whole edges, and back."""

from dataclasses import replace

import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.graph import EdgeScores
from circuitkit.errors import GraphError


def at_every_column(circuit: Circuit, graph: ColumnGraph) -> Circuit:
    """Return the circuit with each of its edges at all columns; scores are not divided: zero.

    Raises:
        GraphError: it belongs to another architecture.
    """
    if circuit.graph != graph.everywhere:
        raise GraphError(
            f"circuit: must be of the graph ({graph.everywhere}), got one of ({circuit.graph}). "
            "Its edges have no place there. Name a circuit of the same architecture."
        )
    scores = EdgeScores(graph, torch.zeros(graph.edge_mask.shape, dtype=torch.float64))
    return replace(
        circuit, graph=graph, edge_mask=graph.edge_mask & circuit.edge_mask, scores=scores
    )


def everywhere(circuit: Circuit) -> Circuit:
    """Return the circuit of the edges that are kept at any column, each at all; scores add up.

    A circuit without columns is returned as it is.
    """
    graph = circuit.graph
    if not isinstance(graph, ColumnGraph):
        return circuit
    scores = EdgeScores(graph.everywhere, circuit.scores.values.sum(0))
    return replace(
        circuit, graph=graph.everywhere, edge_mask=circuit.edge_mask.any(0), scores=scores
    )
