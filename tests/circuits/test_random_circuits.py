import random
from collections import Counter

import pytest
import torch

from circuitkit.circuits import random_circuits
from circuitkit.circuits.circuit import Circuit, layer_of
from circuitkit.circuits.graph import ComponentGraph, EdgeScores, component_of, read_of
from circuitkit.circuits.random_circuits import (
    random_connected,
    random_like,
    random_of_profile,
    random_path,
    select_random,
)
from circuitkit.circuits.selection import prune_dead_ends
from circuitkit.errors import MethodError

GRAPHS = {
    "sequential": ComponentGraph(n_layers=3, n_heads=2, d_model=8),
    "parallel": ComponentGraph(n_layers=3, n_heads=2, d_model=8, parallel_attn_mlp=True),
    "attention only": ComponentGraph(n_layers=3, n_heads=2, d_model=8, has_mlps=False),
}


@pytest.fixture(params=GRAPHS.values(), ids=GRAPHS)
def graph(request):
    return request.param


def circuit_of(graph, n_edges, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(graph.n_edges, generator=generator, dtype=torch.float64)
    names = [graph.edge_names[i] for i in values.argsort()[:n_edges].tolist()]
    return Circuit(graph, graph.mask_of(names), EdgeScores.of_edges(graph, values))


@pytest.mark.parametrize("draw", [random_like, random_of_profile, random_connected])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_draw_has_as_many_edges_depends_on_its_seed_and_changes_nothing(graph, draw, share):
    circuit = circuit_of(graph, int(share * graph.n_edges))
    mask = circuit.edge_mask.clone()
    one, same, other = (draw(circuit, seed) for seed in (1, 1, 2))
    assert one.n_edges == other.n_edges == circuit.n_edges
    assert one.edges == same.edges
    assert torch.equal(circuit.edge_mask, mask)
    assert one.scores is circuit.scores
    if 0 < share < 1:
        assert len({one.edges, other.edges, circuit.edges}) == 3


def test_every_edge_is_as_likely(graph):
    circuit = circuit_of(graph, graph.n_edges // 4)
    counts = Counter(e for seed in range(800) for e in random_like(circuit, seed).edges)
    expected = 800 * circuit.n_edges / graph.n_edges
    assert set(counts) == set(graph.edge_names)
    assert all(abs(n - expected) < 5 * expected**0.5 for n in counts.values())


def test_a_random_circuit_of_too_many_edges_is_refused(graph):
    for n in (-1, graph.n_edges + 1):
        with pytest.raises(MethodError, match=f"from 0 to {graph.n_edges}, got {n}"):
            select_random(circuit_of(graph, 3).scores, n, seed=0)


def test_a_profile_is_kept_kind_by_kind(graph):
    def profile(circuit):
        kinds = []
        for edge in circuit.edges:
            sender, _, receiver = edge.partition("->")
            to = layer_of(component_of(receiver), graph)
            kinds.append((layer_of(sender, graph), to, read_of(receiver)))
        return Counter(kinds)

    circuit = circuit_of(graph, 20)
    drawn = [random_of_profile(circuit, seed) for seed in range(5)]
    assert all(profile(d) == profile(circuit) for d in drawn)
    assert len({d.edges for d in drawn}) == 5


def test_connected_circuits_have_no_dead_ends(graph):
    for n in (1, 4, 9, 30):
        for seed in range(5):
            drawn = random_connected(circuit_of(graph, n), seed)
            assert drawn.n_edges == n
            if n > 1:  # a single edge is connected if it is the direct one, which a path may be
                assert prune_dead_ends(drawn).n_edges == n


def test_connected_circuits_fill_up_with_any_edge_where_no_path_fits():
    graph = GRAPHS["sequential"]
    drawn = random_connected(circuit_of(graph, graph.n_edges - 1), 0)
    assert drawn.n_edges == graph.n_edges - 1


def test_a_path_leads_from_the_input_to_the_logits(graph):
    rng, seen = random.Random(0), set()
    for _ in range(400):
        path = random_path(graph, rng)
        ends = [Circuit.ends(edge) for edge in path]
        assert ends[0][1] == "logits"
        assert ends[-1][0] == "input"
        assert all(a[0] == b[1] for a, b in zip(ends, ends[1:], strict=False))
        seen.update(path)
    assert len(seen) > 0.8 * graph.n_edges


def test_each_edge_into_a_component_is_as_likely():
    graph, rng = GRAPHS["sequential"], random.Random(1)
    last = Counter(random_path(graph, rng)[0] for _ in range(900))
    assert len(last) == len(graph.senders)
    expected = 900 / len(graph.senders)
    assert all(abs(n - expected) < 5 * expected**0.5 for n in last.values())


def test_edges_that_fill_up_lie_between_components_of_the_paths(graph, monkeypatch):
    monkeypatch.setattr(random_circuits, "MAX_STALE", 1)  # so that much is to be filled up
    draws = [random_connected(circuit_of(graph, 12), seed) for seed in range(20)]
    whole = [prune_dead_ends(drawn).n_edges == 12 for drawn in draws]
    assert sum(whole) > 16  # where the paths were so few that too little lies between, not
