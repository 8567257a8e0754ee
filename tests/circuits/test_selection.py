import math

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.circuits.random_circuits import select_random
from circuitkit.circuits.selection import (
    TIE,
    prune_dead_ends,
    select_above,
    select_greedy,
    select_top,
)
from circuitkit.errors import MethodError
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


def test_scores_that_rounding_could_swap_are_ties():
    first, second = "input->a0.h0<q>", "m1->logits"
    for select in (select_top, select_greedy):
        assert select(scores_of(**{second: 2.0}), 1).edges == (second,)
    for signed in (False, True):
        by_rounding = scores_of(**{first: 1.0, second: 1.0 + 1e-9})
        assert select_top(by_rounding, 1, signed=signed).edges == (first,)
        by_more = scores_of(**{first: 1.0, second: 1.0 + 5 * TIE})
        assert select_top(by_more, 1, signed=signed).edges == (second,)


def random_scores(seed=1):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(TOY.edge_mask.shape, generator=generator, dtype=torch.float64)
    return EdgeScores(TOY, values * TOY.edge_mask)


@pytest.mark.parametrize("select", [select_top, select_greedy])
def test_smaller_selections_are_part_of_larger_ones(select):
    scores = random_scores()
    previous: set[str] = set()
    for n in range(TOY.n_edges + 1):
        circuit = select(scores, n)
        assert circuit.n_edges == n
        assert previous <= set(circuit.edges)
        previous = set(circuit.edges)


@pytest.mark.parametrize("n", [-1, TOY.n_edges + 1])
def test_an_impossible_size_is_refused(n):
    with pytest.raises(MethodError, match=f"from 0 to {TOY.n_edges}, got {n}"):
        select_top(scores_of(), n)
    with pytest.raises(MethodError, match=f"from 0 to {TOY.n_edges}, got {n}"):
        select_greedy(scores_of(), n)
    with pytest.raises(MethodError, match="number of edges"):
        select_random(scores_of(), n, seed=0)


def test_a_threshold_keeps_the_edges_that_reach_it():
    scores = scores_of(**NAMED)
    assert set(select_above(scores, 2.0).edges) == {"input->m0", "m0->logits"}
    assert set(select_above(scores, math.nextafter(2.0, 3.0)).edges) == {"input->m0"}
    assert set(select_above(scores, 0.5).edges) == set(NAMED)
    assert set(select_above(scores, 1.0, signed=True).edges) == {"m0->logits", "a0.h0->m0"}
    assert set(select_above(scores, -0.5, signed=True).edges) == {*TOY.edge_names} - {"input->m0"}


def test_a_threshold_that_leaves_nothing_is_refused_with_the_best_score():
    with pytest.raises(MethodError, match=r"got 3\.5 where the best score is 3\. .*Lower"):
        select_above(scores_of(**NAMED), 3.5)
    with pytest.raises(MethodError, match=r"got 2\.5 where the best score is 2\. "):
        select_above(scores_of(**NAMED), 2.5, signed=True)


def test_greedy_follows_the_best_way_from_the_logits_where_top_takes_what_leads_nowhere():
    """The best edge is the last but one on its way, behind a weak one."""
    named = {
        "input->a0.h0<v>": 9.0,  # leads on through m1 alone, whose way out is weak
        "a0.h0->m1": 8.0,
        "m1->logits": 1.0,
        "a1.h0->logits": 5.0,
        "input->a1.h0<k>": 4.0,
        "a0.h1->a1.h0<q>": -3.0,
        "input->a0.h1<q>": 2.0,
        "input->m0": 7.0,  # leads nowhere: no edge out of m0 has a score
    }
    scores = scores_of(**named)
    ways = ["a1.h0->logits", "input->a1.h0<k>", "a0.h1->a1.h0<q>", "input->a0.h1<q>"]
    ways += ["m1->logits", "a0.h0->m1", "input->a0.h0<v>"]
    for n in range(1, len(ways) + 1):
        assert set(select_greedy(scores, n).edges) == set(ways[:n])
    assert set(select_top(scores, 3).edges) == {"input->a0.h0<v>", "a0.h0->m1", "input->m0"}
    signed = select_greedy(scores, 5, signed=True)
    best = {"a1.h0->logits", "input->a1.h0<k>", "m1->logits", "a0.h0->m1", "input->a0.h0<v>"}
    assert set(signed.edges) == best


def test_ties_break_by_edge_order_among_what_greedy_can_reach():
    for n in range(1, TOY.n_edges, 5):
        assert set(select_greedy(scores_of(), n).edges) == greedy_by_hand(n)
    named = {"a1.h2->logits": 2.0, "m0->a1.h2<v>": 1.0, "input->a1.h2<k>": 1.0 + 1e-9}
    scores = scores_of(**named, **{"input->logits": 1.0})
    assert select_greedy(scores, 2).edges == ("input->a1.h2<k>", "a1.h2->logits")
    assert select_greedy(scores, 3).edges == ("input->a1.h2<k>", "m0->a1.h2<v>", "a1.h2->logits")


def greedy_by_hand(n):
    """Return the first `n` edges by edge order, each into what is held by then."""
    held, chosen = {"logits"}, []
    while len(chosen) < n:
        open_now = [e for e in TOY.edge_names if Circuit.ends(e)[1] in held and e not in chosen]
        chosen.append(open_now[0])
        held.add(Circuit.ends(open_now[0])[0])
    return set(chosen)


@pytest.mark.parametrize("seed", range(4))
def test_every_edge_that_greedy_chooses_leads_on_to_the_logits(seed):
    scores = random_scores(seed)
    by_top = 0
    for n in range(1, TOY.n_edges + 1, 3):
        edges = select_greedy(scores, n).edges
        assert len(edges) == n
        assert not dangling(edges)
        by_top += bool(dangling(select_top(scores, n).edges))
    assert by_top > 3


def dangling(edges):
    """Return the edges into components that send nothing."""
    senders = {Circuit.ends(edge)[0] for edge in edges} | {"logits"}
    return [edge for edge in edges if Circuit.ends(edge)[1] not in senders]


def test_all_edges_can_be_reached_even_where_no_score_is_above_zero():
    assert select_greedy(scores_of(), TOY.n_edges).edges == TOY.edge_names
    assert select_greedy(random_scores(), TOY.n_edges, signed=True).edges == TOY.edge_names
    assert select_greedy(scores_of(), 0).n_edges == 0


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
