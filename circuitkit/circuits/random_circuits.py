"""Random circuits: the controls that any circuit must beat.

any        edges drawn evenly from all
profile    as many edges between the same layers, of the same kind of input (q, k, v, mlp)
connected  random paths from the input to the logits, so that no edge is a dead end
"""

import random
from collections import defaultdict
from collections.abc import Sequence

import torch

from circuitkit.circuits.circuit import Circuit, layer_of
from circuitkit.circuits.graph import (
    INPUT,
    LOGITS,
    ComponentGraph,
    EdgeScores,
    component_of,
    read_of,
)
from circuitkit.circuits.paths import edges_into, source_of
from circuitkit.errors import MethodError

MAX_STALE = 50  # paths in a row that do not fit before single edges fill up


def select_random(scores: EdgeScores, n_edges: int, *, seed: int) -> Circuit:
    """Return a circuit of `n_edges` edges drawn evenly from all: the control for a selection.

    Raises:
        MethodError: more edges are asked for than there are, or fewer than none.
    """
    graph = scores.graph
    if not 0 <= n_edges <= graph.n_edges:
        raise MethodError(
            f"random circuit: the number of edges must be from 0 to {graph.n_edges}, got "
            f"{n_edges}. The graph has no more. Change --edges."
        )
    return _of_numbers(
        Circuit(graph, torch.zeros_like(graph.edge_mask), scores),
        random.Random(seed).sample(range(graph.n_edges), n_edges),
    )


def random_like(circuit: Circuit, seed: int) -> Circuit:
    """Return as many edges as the circuit has, drawn evenly from all."""
    return select_random(circuit.scores, circuit.n_edges, seed=seed)


def random_of_profile(circuit: Circuit, seed: int) -> Circuit:
    """Return as many edges of each kind (layers of both ends, q, k, v, mlp) as the circuit has."""
    rng = random.Random(seed)
    of_kind: dict[tuple[int, int, str], list[int]] = defaultdict(list)
    wanted: dict[tuple[int, int, str], int] = defaultdict(int)
    kept = set(circuit.edges)
    for number, edge in enumerate(circuit.graph.edge_names):
        kind = _kind(edge, circuit.graph)
        of_kind[kind].append(number)
        wanted[kind] += edge in kept
    numbers = [n for kind, edges in of_kind.items() for n in rng.sample(edges, wanted[kind])]
    return _of_numbers(circuit, numbers)


def random_connected(circuit: Circuit, seed: int) -> Circuit:
    """Return as many edges as the circuit has, all on random paths from the input to the logits."""
    rng, graph = random.Random(seed), circuit.graph
    chosen: set[int] = set()
    stale = 0
    while len(chosen) < circuit.n_edges and stale < MAX_STALE:
        path = set(_random_path(graph, rng)) - chosen
        fits = path and len(chosen) + len(path) <= circuit.n_edges
        chosen |= path if fits else set()
        stale = 0 if fits else stale + 1
    held = {end for n in chosen for end in Circuit.ends(graph.edge_names[n])}
    between = [
        n
        for n, edge in enumerate(graph.edge_names)
        if n not in chosen and set(Circuit.ends(edge)) <= held
    ]
    missing = circuit.n_edges - len(chosen)
    known = chosen.union(between)
    others = [n for n in range(graph.n_edges) if n not in known]
    pool = between if len(between) >= missing else between + others
    return _of_numbers(circuit, [*chosen, *rng.sample(pool, missing)])


def random_path(graph: ComponentGraph, rng: random.Random) -> list[str]:
    """Return the edges of a random path from the input to the logits, last edge first.

    At each component one of the edges into it is drawn evenly.
    """
    return [graph.edge_names[number] for number in _random_path(graph, rng)]


def _random_path(graph: ComponentGraph, rng: random.Random) -> list[int]:
    path, at = [], LOGITS
    while at != INPUT:
        path.append(rng.choice(edges_into(graph, at)))
        at = source_of(graph.edge_names[path[-1]], graph)
    return path


def _kind(edge: str, graph: ComponentGraph) -> tuple[int, int, str]:
    sender, _, receiver = edge.partition("->")
    return layer_of(sender, graph), layer_of(component_of(receiver), graph), read_of(receiver)


def _of_numbers(circuit: Circuit, numbers: Sequence[int]) -> Circuit:
    mask = torch.zeros_like(circuit.edge_mask)
    mask[tuple(circuit.graph.edge_index[list(numbers)].T)] = True
    return circuit.with_edges(mask)
