import pytest
import torch

from circuitkit.circuit import Circuit
from circuitkit.discovery.selection import prune_dead_ends, select_random, select_top
from circuitkit.errors import MethodError
from circuitkit.graph import ComponentGraph, EdgeScores
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.run_circuit import evaluate_circuits

TOY = ComponentGraph(n_layers=2, n_heads=3, d_model=8)


def scores_of(**named):
    values = torch.zeros(TOY.edge_mask.shape, dtype=torch.float64)
    for name, value in named.items():
        values[TOY.mask_of([name])] = value
    return EdgeScores(TOY, values)


NAMED = {"input->m0": -3.0, "m0->logits": 2.0, "a0.h0->m0": 1.0, "input->logits": -0.5}


def test_top_edges_are_those_of_largest_absolute_score():
    circuit = select_top(scores_of(**NAMED), 2)
    assert set(circuit.edges) == {"input->m0", "m0->logits"}


def test_signed_selection_prefers_positive_scores():
    circuit = select_top(scores_of(**NAMED), 2, signed=True)
    assert set(circuit.edges) == {"m0->logits", "a0.h0->m0"}


def test_ties_break_by_edge_order():
    circuit = select_top(scores_of(), 3)
    assert circuit.edges == TOY.edge_names[:3]


def test_smaller_selections_are_part_of_larger_ones():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(TOY.edge_mask.shape, generator=generator, dtype=torch.float64)
    scores = EdgeScores(TOY, values * TOY.edge_mask)
    previous: set[str] = set()
    for n in range(TOY.n_edges + 1):
        circuit = select_top(scores, n)
        assert circuit.n_edges == n
        assert previous <= set(circuit.edges)
        previous = set(circuit.edges)


@pytest.mark.parametrize("n", [-1, TOY.n_edges + 1])
def test_an_impossible_size_is_refused(n):
    with pytest.raises(MethodError, match=f"from 0 to {TOY.n_edges}, got {n}"):
        select_top(scores_of(), n)
    with pytest.raises(MethodError, match="number of edges"):
        select_random(scores_of(), n, seed=0)


def test_random_circuits_depend_on_the_seed_alone():
    one, same, other = (select_random(scores_of(), 9, seed=s) for s in (4, 4, 5))
    assert one.n_edges == 9
    assert one.edges == same.edges != other.edges


def test_pruning_keeps_exactly_the_edges_on_paths_from_input_to_logits():
    alive = ["input->a0.h0<v>", "a0.h0->a1.h1<q>", "a1.h1->logits", "input->logits"]
    dead = [
        "a0.h1->logits",  # nothing reaches a0.h1
        "input->m1",  # m1 leads nowhere
        "a0.h2->m0",  # neither
    ]
    pruned = prune_dead_ends(Circuit.of_edges(TOY, alive + dead))
    assert set(pruned.edges) == set(alive)


def test_pruning_a_circuit_without_a_path_leaves_nothing():
    assert prune_dead_ends(Circuit.of_edges(TOY, ["input->m0"])).n_edges == 0
    assert prune_dead_ends(Circuit.empty(TOY)).n_edges == 0


def test_pruning_changes_no_value_under_resampling(toy, pairs, metric):
    scores = EdgeScores(toy.graph, torch.zeros(toy.graph.edge_mask.shape, dtype=torch.float64))
    changed = 0
    for seed in range(5):
        circuit = select_random(scores, 40, seed=seed)
        pruned = prune_dead_ends(circuit)
        changed += circuit.n_edges - pruned.n_edges
        values = evaluate_circuits(
            toy, pairs, [circuit, pruned], ablation=ResampleAblation(), metric=metric
        )
        torch.testing.assert_close(values[0], values[1], rtol=1e-10, atol=1e-11)
    assert changed > 0
