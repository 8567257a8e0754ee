import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import eap
from circuitkit.errors import MemoryBudgetError, MethodError
from circuitkit.gradients import soft_circuit
from circuitkit.gradients.circuit_slopes import edge_slopes
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation
from circuitkit.interventions.work import Work
from circuitkit.metrics import Accuracy, LogitDifference
from tests.conftest import fingerprint
from tests.gradients.test_soft_circuit import CLOSE, soft_gain, some_circuits, weights_of

METRIC = LogitDifference()


def test_in_the_whole_model_slopes_are_the_scores_of_edge_attribution(toy, pairs):
    for ablation in (ResampleAblation(), MeanAblation(pairs)):
        [slopes] = edge_slopes(toy, pairs, [Circuit.full(toy.graph)], METRIC, Work(ablation))
        scores = eap.score_edges(toy, pairs, METRIC, ablation=ablation)
        torch.testing.assert_close(slopes, scores.by_edge().double(), **CLOSE)


def test_slopes_are_finite_differences_in_the_circuits_own_run(toy, pairs):
    graph, circuits = toy.graph, some_circuits(toy.graph, n=2)
    slopes = edge_slopes(toy, pairs, circuits, METRIC, Work(ResampleAblation()))
    for circuit, own in zip(circuits, slopes, strict=True):
        weights = weights_of([circuit])
        for number in range(0, graph.n_edges, 9):  # in the circuit and outside it
            step = torch.zeros_like(weights)
            step[0][tuple(graph.edge_index[number].tolist())] = 1e-5
            up, down = (soft_gain(toy, pairs, weights + sign * step).mean() for sign in (1, -1))
            assert float(own[number]) == pytest.approx(float(up - down) / 2e-5, rel=1e-4, abs=1e-8)


def test_slopes_do_not_depend_on_how_many_pairs_fit(toy, pairs, monkeypatch):
    circuits = some_circuits(toy.graph, n=2)
    whole = edge_slopes(toy, pairs, circuits, METRIC, Work())
    monkeypatch.setattr(soft_circuit, "MAX_PAIRS", 1)
    one_by_one = edge_slopes(toy, pairs, circuits, METRIC, Work())
    torch.testing.assert_close(one_by_one, whole, **CLOSE)


def test_the_model_comes_back_as_it_was(toy, pairs):
    before = fingerprint(toy)
    edge_slopes(toy, pairs, some_circuits(toy.graph, n=1), METRIC, Work())
    assert fingerprint(toy) == before


def test_a_metric_without_a_gradient_and_no_memory_are_refused(toy, pairs):
    circuits = some_circuits(toy.graph, n=1)
    with pytest.raises(MethodError, match="accuracy"):
        edge_slopes(toy, pairs, circuits, Accuracy(), Work())
    with pytest.raises(MemoryBudgetError, match="1 pairs of 9 tokens"):
        edge_slopes(toy, pairs, circuits, METRIC, Work(memory=1000))
