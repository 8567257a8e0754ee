import math
import random
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.bench.scoreboard.recovery import measure_recovery
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.errors import CriterionError, DependencyError

GRAPH = ComponentGraph(n_layers=2, n_heads=2, d_model=6)
TRUTH = Circuit.of_edges(
    GRAPH, ["input->a0.h1<v>", "a0.h1->a1.h0<k>", "input->a1.h0<q>", "a1.h0->logits"]
)


def scores_of(values):
    matrix = torch.zeros(GRAPH.edge_mask.shape, dtype=torch.float64)
    at = GRAPH.edge_index
    matrix[at[:, 0], at[:, 1]] = torch.tensor(values, dtype=torch.float64)
    return EdgeScores(GRAPH, matrix)


def of_truth(on=1.0, off=0.0):
    true = set(TRUTH.edges)
    return scores_of([on if name in true else off for name in GRAPH.edge_names])


def test_the_truth_itself_is_recovered():
    found = measure_recovery(of_truth(), TRUTH)
    assert (found.auroc, found.average_precision, found.recall) == (1.0, 1.0, 1.0)
    assert (found.node_auroc, found.node_average_precision) == (1.0, 1.0)


def test_scores_upside_down_recover_nothing_and_the_sign_is_ignored_unless_signed():
    upside_down = of_truth(on=-1.0, off=0.0)
    assert measure_recovery(upside_down, TRUTH).auroc == 1.0
    signed = measure_recovery(upside_down, TRUTH, signed=True)
    assert (signed.auroc, signed.recall) == (0.0, 0.0)


def test_ties_count_half():
    assert measure_recovery(of_truth(on=1.0, off=1.0), TRUTH).auroc == 0.5


def test_auroc_is_the_share_of_ordered_pairs():
    rng = random.Random(0)
    values = [round(rng.random(), 1) for _ in GRAPH.edge_names]
    true = set(TRUTH.edges)
    pairs = [
        (t, f)
        for t, name in zip(values, GRAPH.edge_names, strict=True)
        if name in true
        for f, other in zip(values, GRAPH.edge_names, strict=True)
        if other not in true
    ]
    by_hand = sum(1.0 if t > f else 0.5 if t == f else 0.0 for t, f in pairs) / len(pairs)
    assert measure_recovery(scores_of(values), TRUTH).auroc == pytest.approx(by_hand)


def test_recall_counts_true_edges_among_as_many():
    values = [0.0] * GRAPH.n_edges
    for rank, name in enumerate(["input->a0.h1<v>", "input->m0", "input->m1", "a1.h0->logits"]):
        values[GRAPH.edge_number(name)] = 10.0 - rank
    assert measure_recovery(scores_of(values), TRUTH).recall == 0.5


def test_a_node_counts_by_its_best_edge_and_the_input_not_at_all():
    values = [0.0] * GRAPH.n_edges
    values[GRAPH.edge_number("a0.h1->logits")] = 1.0
    values[GRAPH.edge_number("a1.h0->logits")] = 1.0
    values[GRAPH.edge_number("input->logits")] = 5.0
    found = measure_recovery(scores_of(values), TRUTH)
    assert found.node_auroc == 1.0


def test_nodes_cannot_be_told_apart_where_all_are_true():
    every = [f"{name}->logits" for name in GRAPH.senders]
    found = measure_recovery(of_truth(), Circuit.of_edges(GRAPH, every))
    assert math.isnan(found.node_auroc)


@pytest.mark.parametrize("truth", [Circuit.empty(GRAPH), Circuit.full(GRAPH)])
def test_a_truth_that_tells_nothing_apart_is_refused(truth):
    with pytest.raises(CriterionError, match="some edges must be true and some not"):
        measure_recovery(of_truth(), truth)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=GRAPH.n_edges, max_size=GRAPH.n_edges))
def test_every_number_is_a_share(values):
    found = measure_recovery(scores_of(values), TRUTH)
    for number in (found.auroc, found.average_precision, found.node_auroc, found.recall):
        assert 0.0 <= number <= 1.0


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(DependencyError, match=r"pip install 'circuitkit-mi\[bench\]'"):
        measure_recovery(of_truth(), TRUTH)
