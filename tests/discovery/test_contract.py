"""What every discovery method must do, and what each says to what it cannot work on."""

from dataclasses import replace

import pytest
import torch

from circuitkit.circuits.selection import select_top
from circuitkit.discovery.methods import METHODS, method_named
from circuitkit.errors import CircuitkitError, MethodError
from circuitkit.interventions.ablation import MeanAblation
from circuitkit.interventions.budget import bytes_per_pair
from circuitkit.interventions.work import Work
from circuitkit.metrics import Accuracy, KLDivergence, LogitDifference
from circuitkit.prompts.columns import by_position, by_role
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted as planted_named
from tests.conftest import fingerprint, random_pairs, save_toy

SHORT = {"edge-pruning": {"steps": 20}, "optimal-ablation": {"steps": 5}}
FLAT = ("eap", "relp", "atp", "atp-star")  # gradients at the clean run alone
TRAINED = ("edge-pruning", "optimal-ablation")  # rounding grows while they train
LONG = ("acdc", "exact-joint", "eap-ig-activations", *TRAINED)  # many runs: on fewer edges
METRIC = LogitDifference()


@pytest.fixture(params=METHODS)
def method(request):
    return method_named(request.param, SHORT.get(request.param))


@pytest.fixture
def pairs():
    """Two pairs of 7 and 9 tokens, left padded: the searches take their time."""
    return tokenize_pairs(random_pairs(2))


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A random model in float64 of 2 layers with 3 heads."""
    directory = save_toy(tmp_path_factory.mktemp("small"), 1, n_layers=2, n_heads=3)
    return load_model(directory, dtype=torch.float64)


@pytest.fixture
def model(method, request):
    """The toy, and a smaller one where it would take long."""
    return request.getfixturevalue("small" if method.name in LONG else "toy")


@pytest.fixture(scope="module")
def known():
    """Scores that are known by now, by method: of `pairs`, with nothing else asked for."""
    return {}


@pytest.fixture
def usual(known, method, model, pairs):
    """The scores of a method with nothing else asked for, computed once."""
    if method.name not in known:
        known[method.name] = score(method, model, pairs)
    return known[method.name]


def circuit_of(method, scores, n=20):
    return set(select_top(scores, n, signed=method.ranks_signed).edges)


def score(method, model, pairs, metric=METRIC, **work):
    return method.score_edges(model, pairs, metric, Work(**work))


def test_names_are_keys_and_summaries_are_short():
    for name, kind in METHODS.items():
        assert kind.name == name
        assert 10 < len(kind.summary) < 90


def test_scores_are_finite_live_inside_the_graph_and_tell_edges_apart(method, model, usual):
    values = usual.values
    assert values.dtype == torch.float64
    assert bool(torch.isfinite(values).all())
    assert not values[~model.graph.edge_mask].any()
    assert len(values[model.graph.edge_mask].unique()) > 5
    if not method.is_signed:
        assert float(values.min()) >= 0


def test_model_pairs_and_random_state_are_left_as_they_were(method, model, pairs):
    before, state = fingerprint(model), torch.get_rng_state()
    digest = pairs.digest
    score(method, model, pairs)
    assert fingerprint(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert pairs.digest == digest


def test_the_same_seed_gives_the_same_scores(method, model, pairs):
    first, second = (score(method, model, pairs, seed=3).values for _ in range(2))
    assert torch.equal(first, second)


def test_batches_do_not_change_the_circuit(method, model, pairs, usual):
    rows = 12 if method.name in ("exact", *LONG) else 1  # that run at once
    memory = rows * bytes_per_pair(model, pairs.clean.shape[1])
    for changes in ({"batch_size": 1}, {"memory": memory}):
        parts = score(method, model, pairs, **changes)
        if method.name not in TRAINED:
            torch.testing.assert_close(parts.values, usual.values, atol=1e-9, rtol=1e-7)
        assert circuit_of(method, parts) == circuit_of(method, usual)


@pytest.mark.without_shapes
def test_threads_do_not_change_the_circuit(method, model, pairs, usual):
    if method.name == "exact-joint":
        pytest.skip("runs circuits as acdc does, for much longer")
    assert torch.get_num_threads() == 1
    try:
        torch.set_num_threads(2)
        found = score(method, model, pairs)
    finally:
        torch.set_num_threads(1)
    assert circuit_of(method, found) == circuit_of(method, usual)


def test_the_order_of_pairs_does_not_matter(method, model, pairs, usual):
    rows = list(range(len(pairs)))[::-1]
    turned = score(method, model, pairs.select(rows)).values
    torch.testing.assert_close(turned, usual.values, atol=1e-8, rtol=1e-6)


def test_equal_prompts_score_zero_wherever_corruption_is_used(method, model):
    if method.name in ("random", "information-flow", "edge-pruning", "optimal-ablation"):
        pytest.skip("does not compare clean with corrupted values, or refuses a vanishing gap")
    same = [
        PromptPair(pair.clean, pair.clean, pair.answers, pair.wrong_answers)
        for pair in random_pairs(4)
    ]
    values = score(method, model, tokenize_pairs(same)).values
    assert float(values.abs().max()) < 1e-12


def test_a_metric_that_cannot_be_used_is_refused_before_work(method, model, pairs):
    refused = {
        Accuracy(): (*FLAT, "eap-ig", "eap-ig-activations", "clean-corrupted", *TRAINED),
        KLDivergence(): FLAT,
    }
    for metric, names in refused.items():
        if method.name not in names:
            method.require_usable(model, metric, Work())
            values = score(method, model, pairs, metric).values
            assert bool(torch.isfinite(values).all())
            continue
        with pytest.raises(MethodError, match="metric must"):
            method.require_usable(model, metric, Work())
        with pytest.raises(MethodError, match="metric must"):
            score(method, model, pairs, metric)


def test_labels_that_the_metric_lacks_are_refused(method, model, pairs):
    if method.name in ("random", "magnitude", "information-flow"):
        pytest.skip("uses no labels")
    bare = [replace(pair, wrong_answers=()) for pair in pairs.pairs]
    with pytest.raises(CircuitkitError, match="wrong answer"):
        score(method, model, tokenize_pairs(bare))


def test_other_ablations_work_or_are_refused(method, model, pairs):
    work = Work(MeanAblation(pairs))
    if method.name in ("atp", "atp-star", "exact-nodes"):
        with pytest.raises(MethodError, match="ablation must be resample"):
            method.require_usable(model, METRIC, work)
        return
    method.require_usable(model, METRIC, work)
    assert bool(torch.isfinite(method.score_edges(model, pairs, METRIC, work).values).all())


def test_columns_add_up_or_are_refused(method, model, pairs, usual):
    for columns in (by_position(pairs), by_role(pairs)):
        if not method.has_columns:
            with pytest.raises(MethodError, match="able to score by position"):
                method.score_columns(model, pairs, METRIC, columns, Work())
            continue
        parts = method.score_columns(model, pairs, METRIC, columns, Work())
        total = sum(part.values for part in parts)
        if method.columns_add_up:
            torch.testing.assert_close(total, usual.values)
        else:
            assert not torch.allclose(total, usual.values)
            assert all(part.graph == usual.graph for part in parts)


RECALL = {  # of the true edges of a planted circuit, at their number; random finds a sixteenth
    "random": 0.0,
    "atp": 0.6,  # the edges between five nodes are not the five edges
    "atp-star": 0.6,
    "exact-nodes": 0.6,
    "magnitude": 0.2,
    "information-flow": 0.2,
    "edge-pruning": 0.8,
    "optimal-ablation": 0.6,
}


@pytest.fixture(scope="module")
def planted():
    model = load_model("planted-induction:decoys", dtype="float64")
    task = find_task("planted-induction")
    return model, sample_splits(task, model.tokenizer, n=24, seed=0).discovery


@pytest.mark.without_shapes
def test_a_planted_circuit_is_found(method, planted):
    model, pairs = planted
    from_code = load_truth()
    method = method_named(method.name)
    found = circuit_of(method, score(method, model, pairs), n=len(from_code))
    recall = len(found & from_code) / len(from_code)
    assert recall >= RECALL.get(method.name, 1.0)


def load_truth():
    return set(planted_named("planted-induction:decoys").true_edges)
