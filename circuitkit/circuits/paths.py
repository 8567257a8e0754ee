"""Where edges lead: from what is written somewhere to what is written next.

Of whole edges the places are components. Of edges at columns they are components at a column,
`m5@S1`, as everything but attention stays in its column; what a head or mixer reads through keys
and values at one column, its *look* `a5.h1`, may be written at every other.
"""

from collections import defaultdict
from functools import lru_cache

import networkx

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import INPUT, LOGITS, MIXER, ComponentGraph, component_of, read_of

LOOKS = ("k", "v", MIXER)


def route_of(edge: str, graph: ComponentGraph) -> tuple[str, str]:
    """Return the places that an edge leads from and to."""
    return source_of(edge, graph), _target_of(edge)


def source_of(edge: str, graph: ComponentGraph) -> str:
    """Return the place that an edge leads from: that of what its sender is computed from."""
    sender, _, receiver = edge.partition("->")
    _, at, column = receiver.partition("@")
    sender = graph.reader_of(sender)
    return sender if sender == INPUT else f"{sender}{at}{column}"


def _target_of(edge: str) -> str:
    receiver = edge.partition("->")[2]
    component = component_of(receiver)
    if component == LOGITS or read_of(receiver) in LOOKS:
        return component
    _, at, column = receiver.partition("@")
    return f"{component}{at}{column}"


def edges_into(graph: ComponentGraph, place: str) -> list[int]:
    """Return the numbers of the edges into a place; at a column, of its head's look too."""
    into = _edges_into(graph)
    look, at, _ = place.partition("@")
    return into.get(place, []) + into.get(look, []) if at else into.get(place, [])


@lru_cache(maxsize=4)
def _edges_into(graph: ComponentGraph) -> dict[str, list[int]]:
    """Return the numbers of the edges into each place: one pass over all, once a graph."""
    into: dict[str, list[int]] = defaultdict(list)
    for number, edge in enumerate(graph.edge_names):
        into[_target_of(edge)].append(number)
    return dict(into)


def routes(circuit: Circuit) -> networkx.DiGraph:
    """Return the places of a circuit, with an edge wherever something leads from one to another."""
    graph = networkx.DiGraph()
    graph.add_edges_from(route_of(edge, circuit.graph) for edge in circuit.edges)
    for place in list(graph):
        look, at, _ = place.partition("@")
        if at and look in graph:
            graph.add_edge(look, place)
    return graph
