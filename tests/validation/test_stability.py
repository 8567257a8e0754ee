import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.errors import CriterionError
from circuitkit.validation.case import N_REFOUND
from circuitkit.validation.stability import RankStability, Stability


def with_scores(graph, scores, n_kept):
    values = EdgeScores.of_edges(graph, torch.tensor(scores, dtype=torch.float64))
    mask = graph.mask_of(list(graph.edge_names[:n_kept]))
    return Circuit(graph, mask, values)


@pytest.fixture
def refound(new_case, small):
    """A case whose circuit has six edges, and finds 4, 5, ... 11 of the same again."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=75)
    others = iter([with_scores(small.graph, scores + rng.normal(size=75), 4 + i) for i in range(8)])
    return new_case(
        circuit=with_scores(small.graph, scores, 6), find=lambda pairs, seed: next(others)
    )


def test_stability_is_the_mean_overlap(refound):
    finding = Stability().measure(refound)
    overlaps = [4 / 6, 5 / 6, *(6 / n for n in range(6, 12))]
    assert finding.value.value == pytest.approx(np.mean(overlaps))
    assert finding.value.n == N_REFOUND
    assert finding.note == f"lowest {6 / 11:.2g}"


def test_rank_stability_is_the_correlation_of_the_ranks_of_magnitudes(refound):
    finding = RankStability().measure(refound)
    own = rankdata(refound.circuit.scores.by_edge().abs())
    by_hand = [
        np.corrcoef(own, rankdata(found.scores.by_edge().abs()))[0, 1] for found in refound.refound
    ]
    assert finding.value.value == pytest.approx(np.mean(by_hand))


def test_the_same_circuit_every_time_is_stable(new_case, case):
    held = new_case(find=lambda pairs, seed: case.circuit)
    for criterion in (Stability(), RankStability()):
        value = criterion.measure(held).value
        assert (value.value, value.high) == pytest.approx((1.0, 1.0))
        assert value.low == pytest.approx(1 - 3 / 8)  # three samples in eight may differ


@pytest.mark.parametrize("equal", ["own", "found"])
def test_equal_scores_are_no_ranking(new_case, small, equal):
    rng = np.random.default_rng(0)
    ranked = with_scores(small.graph, rng.normal(size=75), 5)
    flat = with_scores(small.graph, np.full(75, 0.5), 5)
    own, found = (flat, ranked) if equal == "own" else (ranked, flat)
    with pytest.raises(CriterionError, match="must have different scores"):
        RankStability().measure(new_case(circuit=own, find=lambda pairs, seed: found))
