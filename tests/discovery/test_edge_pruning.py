import math
from dataclasses import replace

import pytest
import torch
from transformers import GPT2LMHeadModel

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery.edge_pruning import (
    FIRST_LOG_ALPHA,
    EdgePruning,
    _Distances,
    open_probabilities,
    sample_masks,
    train_masks,
)
from circuitkit.errors import MemoryBudgetError, MethodError, VanishingGapError
from circuitkit.gradients.soft_circuit import SoftCircuits
from circuitkit.interventions.ablation import ZeroAblation
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.metrics import Accuracy, KLDivergence, LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from tests.conftest import fingerprint, random_pairs, save_toy

QUICK = EdgePruning(
    target_sparsity=0.6, steps=120, patience=30, learning_rate=0.2, multiplier_rate=0.5
)
QUICK_ENOUGH = replace(QUICK, steps=30)
FEW = replace(QUICK, steps=6, pairs_per_step=3)


def wide(x):
    return torch.tensor(x, dtype=torch.float64)


@pytest.fixture(scope="module")
def module_pairs():
    return tokenize_pairs(random_pairs())


@pytest.fixture(scope="module")
def trained(toy, module_pairs):
    return train_masks(toy, module_pairs, LogitDifference(), QUICK, Work())


def test_masks_are_those_of_the_formula():
    # u = 1/2 adds no noise: sigmoid(log alpha / beta) stretched to [-0.1, 1.1]
    for log_alpha, u in ((0.3, 0.5), (-0.4, 0.7), (1.0, 0.25)):
        inner = 1 / (1 + math.exp(-(math.log(u / (1 - u)) + log_alpha) / (2 / 3)))
        [found] = sample_masks(wide([log_alpha]), wide([u])).tolist()
        assert found == pytest.approx(1.2 * inner - 0.1, abs=1e-14)
    assert sample_masks(wide([-4.0, 4.0]), wide([0.5, 0.5])).tolist() == [0.0, 1.0]


def test_the_probability_of_an_open_mask_is_how_often_one_is_drawn():
    log_alpha = wide([-2.0, -0.5, 1.0])
    assert float(open_probabilities(wide([0.0]))) == pytest.approx(
        11 ** (2 / 3) / (1 + 11 ** (2 / 3))
    )
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    drawn = [(sample_masks(x.expand(len(u)), u) > 0).double().mean() for x in log_alpha]
    torch.testing.assert_close(torch.stack(drawn), open_probabilities(log_alpha), atol=1e-4, rtol=0)


def test_training_meets_the_target_and_keeps_the_behaviour(toy, module_pairs, trained):
    assert trained.sparsities[-1] == pytest.approx(0.6, abs=0.03)
    kept = trained.log_alpha.sigmoid() > 0.5
    assert 1 - float(kept.double().mean()) == pytest.approx(0.6, abs=0.1)
    assert sum(trained.distances[-10:]) < 0.7 * sum(trained.distances[:10])


def test_the_circuit_is_nearer_to_the_model_than_random_ones_of_its_size(
    toy, pairs, metric, trained
):
    graph = toy.graph
    full = Circuit.full(graph)
    kept = trained.log_alpha.sigmoid() > 0.5
    circuits = [full, full.with_edges(graph.mask_of(names_at(graph, kept)))]
    for seed in range(5):
        order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))
        circuits.append(full.with_edges(graph.mask_of(names_at(graph, kept[order]))))
    values = evaluate_circuits(toy, pairs, circuits, ablation=Work().ablation, metric=metric)
    own, *others = (values[1:] - values[0]).abs().mean(1).tolist()
    assert own < 0.5 * min(others)


def names_at(graph, kept):
    return [name for name, keep in zip(graph.edge_names, kept.tolist(), strict=True) if keep]


def test_edges_of_a_component_that_writes_nothing_are_closed_first(tmp_path, pairs, metric):
    plain = GPT2LMHeadModel.from_pretrained(save_toy(tmp_path))
    with torch.no_grad():
        plain.transformer.h[1].mlp.c_proj.weight.zero_()
        plain.transformer.h[1].mlp.c_proj.bias.zero_()
    plain.save_pretrained(tmp_path)
    model = load_model(tmp_path, dtype=torch.float64)
    trained = train_masks(model, pairs, metric, replace(QUICK, steps=40), Work())
    idle = torch.tensor(
        ["m1->" in name or name.endswith("->m1") for name in model.graph.edge_names]
    )
    assert trained.log_alpha[idle].max() < trained.log_alpha.median()


def test_the_distance_starts_at_that_of_the_first_draw(toy, pairs, metric):
    # all six pairs in one step, one step: gain(clean) - gain(circuit) over the gap, by hand
    one = replace(QUICK, steps=1)
    trained = train_masks(toy, pairs, metric, one, Work(seed=3))
    generator = torch.Generator().manual_seed(3)
    torch.randperm(6, generator=generator)
    u = torch.rand(toy.graph.n_edges, generator=generator, dtype=torch.float64)
    masks = sample_masks(torch.full_like(u, FIRST_LOG_ALPHA), u)
    weights = torch.zeros(3, *toy.graph.edge_mask.shape, dtype=torch.float64)
    weights[0, toy.graph.edge_index[:, 0], toy.graph.edge_index[:, 1]] = masks
    weights[1] = 1
    runs = PairRuns(toy, pairs, Work().ablation, metric)
    with torch.no_grad():
        logits = SoftCircuits.of(runs).logits(weights).flatten(0, 1)
    soft, clean, ablated = metric.gain(logits, pairs.labels.repeated(3)).reshape(3, -1)
    expected = (clean - soft).abs().mean() / (clean.mean() - ablated.mean()).abs()
    assert trained.distances[0] == pytest.approx(float(expected), rel=1e-9)


def test_for_the_divergence_the_distance_is_itself_over_its_gap(toy, pairs):
    kl, ablation, graph = KLDivergence(), ZeroAblation(), toy.graph
    distances = _Distances(toy, pairs, kl, Work(ablation), 4)
    circuit = Circuit.full(graph).with_edges(graph.mask_of(graph.edge_names[::2]))
    ends = [circuit, Circuit.empty(graph)]
    own, empty = evaluate_circuits(toy, pairs, ends, ablation=ablation, metric=kl).mean(1).tolist()
    found = distances.of(circuit.edge_mask.double(), range(len(pairs)))
    assert float(found) == pytest.approx(own / empty, rel=1e-9)
    assert float(distances.of(graph.edge_mask.double(), [0, 3])) < 1e-9


def test_the_same_seed_gives_the_same_masks_and_another_does_not(toy, pairs, metric):
    first, again, small, other = (
        train_masks(toy, pairs, metric, FEW, work).log_alpha
        for work in (Work(), Work(), Work(batch_size=1, memory=5_000_000), Work(seed=1))
    )
    assert torch.equal(first, again)
    assert torch.equal(first, small)
    assert not torch.equal(first, other)


def test_masks_do_not_depend_on_the_order_of_pairs(toy, pairs, metric):
    shuffled = train_masks(toy, pairs.select([3, 0, 5, 1, 4, 2]), metric, FEW, Work())
    assert torch.equal(shuffled.log_alpha, train_masks(toy, pairs, metric, FEW, Work()).log_alpha)


def test_scores_are_sigmoids_and_the_own_circuit_its_open_masks(toy, pairs, metric):
    scores = QUICK_ENOUGH.score_edges(toy, pairs, metric, Work())
    log_alpha = train_masks(toy, pairs, metric, QUICK_ENOUGH, Work()).log_alpha
    torch.testing.assert_close(scores.by_edge(), log_alpha.sigmoid())
    circuit = QUICK_ENOUGH.own_circuit(scores)
    masks = (1.2 * log_alpha.sigmoid() - 0.1).clamp(0, 1)  # without noise
    assert circuit.edges == tuple(names_at(toy.graph, masks > 0.5))
    assert 0 < circuit.n_edges < toy.graph.n_edges
    assert bool((scores.values[~toy.graph.edge_mask] == 0).all())


def test_model_and_global_random_numbers_are_left_as_they_were(toy, pairs, metric):
    before, state = fingerprint(toy), torch.get_rng_state()
    FEW.score_edges(toy, pairs, metric, Work())
    assert fingerprint(toy) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_training_stops_when_the_distance_no_longer_falls(toy, pairs, metric):
    # the target is met from the first step on
    easy = EdgePruning(target_sparsity=0.01, steps=60, raised_share=0.1, patience=5)
    trained = train_masks(toy, pairs, metric, easy, Work())
    n = len(trained.distances)
    assert 16 <= n < 60
    windows = trained.distances[-5:], trained.distances[-10:-5]
    assert sum(windows[0]) >= sum(windows[1])
    assert trained.sparsities[-1] >= 0


def test_what_cannot_be_trained_is_refused(toy, pairs, metric):
    with pytest.raises(MethodError, match="must have a gradient, got 'accuracy'"):
        QUICK.score_edges(toy, pairs, Accuracy(), Work())
    with pytest.raises(MemoryBudgetError, match="6 pairs of 9 tokens"):
        QUICK.score_edges(toy, pairs, metric, Work(memory=300_000))
    same = [
        PromptPair(p.clean, p.clean, p.answers, p.wrong_answers, template=p.template)
        for p in random_pairs()
    ]
    with pytest.raises(VanishingGapError, match="logit-difference of the clean and of the ablated"):
        QUICK.score_edges(toy, tokenize_pairs(same), metric, Work())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"target_sparsity": 1.0}, "target_sparsity must be between 0 and 1, got 1.0"),
        ({"raised_share": 0.0}, "raised_share must be between 0 and 1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"pairs_per_step": 0}, "pairs_per_step must be at least 1, got 0"),
    ],
)
def test_unusable_settings_are_refused(setting, message):
    with pytest.raises(MethodError, match=message):
        EdgePruning(**setting)
