import random

import pytest
import torch

from circuitkit.discovery.baselines import Magnitude, RandomScores
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.work import Work
from circuitkit.metrics import KLDivergence, LogitDifference
from circuitkit.model.recording import record, sender_outputs
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs

METRIC = LogitDifference()


def drawn(model, pairs, seed):
    return RandomScores().score_edges(model, pairs, METRIC, Work(seed=seed)).by_edge()


def test_random_scores_depend_on_the_seed_alone(toy, pairs):
    other_pairs = tokenize_pairs(random_pairs(2, seed=1))
    assert torch.equal(drawn(toy, pairs, 3), drawn(toy, other_pairs, 3))
    assert not torch.equal(drawn(toy, pairs, 3), drawn(toy, pairs, 4))


def test_random_scores_are_even_from_minus_one_to_one(toy, pairs):
    values = torch.cat([drawn(toy, pairs, seed) for seed in range(40)])
    assert len(values.unique()) == len(values) == 40 * toy.graph.n_edges
    assert -1 <= float(values.min()) < -0.999
    assert 0.999 < float(values.max()) <= 1
    shares = torch.histc(values, bins=8, min=-1, max=1) / len(values)
    torch.testing.assert_close(shares, torch.full((8,), 1 / 8).double(), rtol=0, atol=0.015)


def test_random_scores_take_nothing_from_the_global_generators(toy, pairs):
    random.seed(0)
    torch.manual_seed(0)
    states = random.getstate(), torch.get_rng_state()
    first = drawn(toy, pairs, 0)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    random.seed(1)
    torch.manual_seed(1)
    assert torch.equal(drawn(toy, pairs, 0), first)


@pytest.fixture(params=["resample", "mean", "zero"])
def ablation(request):
    reference = tokenize_pairs(random_pairs(6, seed=1))
    made = {"resample": ResampleAblation(), "mean": MeanAblation(reference), "zero": ZeroAblation()}
    return made[request.param]


def sizes_by_hand(model, pairs, ablation):
    """Return the mean over pairs of the length of each sender's change, over its real tokens."""
    lengths = []
    for row in range(len(pairs)):
        pair = pairs.select([row])
        clean = sender_outputs(model, record(model, pair.clean_batch)[0])
        ablated = sender_outputs(model, ablation.values(model, pair))
        real = pair.mask[0]
        lengths.append(torch.linalg.vector_norm((clean - ablated)[:, real].flatten(1), dim=1))
    return torch.stack(lengths).mean(0)


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_magnitude_is_the_mean_length_of_what_a_sender_writes_differently(
    toy, pairs, ablation, batch_size
):
    work = Work(ablation, batch_size=batch_size)
    values = Magnitude().score_edges(toy, pairs, METRIC, work).values
    sizes = sizes_by_hand(toy, pairs, ablation)
    assert len(sizes.unique()) == len(toy.graph.senders)
    expected = sizes.unsqueeze(1) * toy.graph.edge_mask
    torch.testing.assert_close(values[:-1], expected[:-1], rtol=1e-11, atol=1e-12)
    assert torch.equal(values != 0, toy.graph.edge_mask)


def test_magnitude_of_the_last_mlp_is_over_all_tokens_too(toy, pairs, ablation):
    values = Magnitude().score_edges(toy, pairs, METRIC, Work(ablation)).values
    expected = sizes_by_hand(toy, pairs, ablation)
    torch.testing.assert_close(values[-1, -1], expected[-1], rtol=1e-11, atol=1e-12)


def test_magnitude_of_the_input_is_the_length_of_the_change_of_embeddings(toy, pairs):
    values = Magnitude().score_edges(toy, pairs, METRIC, Work()).values
    embed = toy.token_embeddings
    away = (embed[pairs.clean] - embed[pairs.corrupted]) * pairs.mask.unsqueeze(-1)
    expected = away.double().pow(2).sum((1, 2)).sqrt().mean()
    assert float(values[0, -1]) == pytest.approx(float(expected), rel=1e-12)


def test_magnitude_knows_neither_the_metric_nor_the_seed(toy, pairs):
    one = Magnitude().score_edges(toy, pairs, METRIC, Work()).values
    other = Magnitude().score_edges(toy, pairs, KLDivergence(), Work(seed=5)).values
    assert torch.equal(one, other)
