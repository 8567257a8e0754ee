"""What every discovery method must do, and what each says to what it cannot work on."""

from dataclasses import replace

import pytest
import torch

from circuitkit.circuits.selection import select_top
from circuitkit.discovery.methods import METHODS, method_named
from circuitkit.errors import CircuitkitError, MethodError
from circuitkit.interventions.ablation import MeanAblation
from circuitkit.interventions.work import Work
from circuitkit.metrics import Accuracy, KLDivergence, LogitDifference
from circuitkit.prompts.columns import by_position, by_role
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted as planted_named
from tests.conftest import fingerprint, random_pairs

SHORT = {"edge-pruning": {"steps": 20}, "optimal-ablation": {"steps": 5}}
FLAT = ("eap", "relp", "atp", "atp-star")  # gradients at the clean run alone
TRAINED = ("edge-pruning", "optimal-ablation")  # rounding grows while they train
METRIC = LogitDifference()


@pytest.fixture(params=METHODS)
def method(request):
    return method_named(request.param, SHORT.get(request.param))


@pytest.fixture
def pairs():
    """Two pairs of 7 and 9 tokens, left padded: the searches take their time."""
    return tokenize_pairs(random_pairs(2))


def circuit_of(method, scores, n=20):
    return set(select_top(scores, n, signed=method.ranks_signed).edges)


def score(method, model, pairs, metric=METRIC, **work):
    return method.score_edges(model, pairs, metric, Work(**work))


def test_names_are_keys_and_summaries_are_short():
    for name, kind in METHODS.items():
        assert kind.name == name
        assert 10 < len(kind.summary) < 90


def test_scores_are_finite_live_inside_the_graph_and_tell_edges_apart(method, toy, pairs):
    values = score(method, toy, pairs).values
    assert values.dtype == torch.float64
    assert bool(torch.isfinite(values).all())
    assert not values[~toy.graph.edge_mask].any()
    assert len(values[toy.graph.edge_mask].unique()) > 5
    if not method.is_signed:
        assert float(values.min()) >= 0


def test_model_pairs_and_random_state_are_left_as_they_were(method, toy, pairs):
    before, state = fingerprint(toy), torch.get_rng_state()
    digest = pairs.digest
    score(method, toy, pairs)
    assert fingerprint(toy) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert pairs.digest == digest


def test_the_same_seed_gives_the_same_scores(method, toy, pairs):
    first, second = (score(method, toy, pairs, seed=3).values for _ in range(2))
    assert torch.equal(first, second)


def test_batches_do_not_change_the_circuit(method, toy, pairs):
    whole = score(method, toy, pairs)
    for changes in ({"batch_size": 1}, {"memory": 6_000_000}):
        parts = score(method, toy, pairs, **changes)
        if method.name not in TRAINED:
            torch.testing.assert_close(parts.values, whole.values, atol=1e-9, rtol=1e-7)
        assert circuit_of(method, parts) == circuit_of(method, whole)


def test_threads_do_not_change_the_circuit(method, toy, pairs):
    if method.name == "exact-joint":
        pytest.skip("runs circuits as acdc does, for much longer")
    n_threads = torch.get_num_threads()
    found = []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(circuit_of(method, score(method, toy, pairs)))
    finally:
        torch.set_num_threads(n_threads)
    assert found[0] == found[1]


def test_the_order_of_pairs_does_not_matter(method, toy, pairs):
    rows = list(range(len(pairs)))[::-1]
    turned = score(method, toy, pairs.select(rows)).values
    torch.testing.assert_close(turned, score(method, toy, pairs).values, atol=1e-8, rtol=1e-6)


def test_equal_prompts_score_zero_wherever_corruption_is_used(method, toy):
    if method.name in ("random", "information-flow", "edge-pruning", "optimal-ablation"):
        pytest.skip("does not compare clean with corrupted values, or refuses a vanishing gap")
    same = [
        PromptPair(pair.clean, pair.clean, pair.answers, pair.wrong_answers)
        for pair in random_pairs(4)
    ]
    values = score(method, toy, tokenize_pairs(same)).values
    assert float(values.abs().max()) < 1e-12


def test_a_metric_that_cannot_be_used_is_refused_before_work(method, toy, pairs):
    refused = {
        Accuracy(): (*FLAT, "eap-ig", "eap-ig-activations", "clean-corrupted", *TRAINED),
        KLDivergence(): FLAT,
    }
    for metric, names in refused.items():
        if method.name not in names:
            method.require_usable(toy, metric, Work())
            values = score(method, toy, pairs, metric).values
            assert bool(torch.isfinite(values).all())
            continue
        with pytest.raises(MethodError, match="metric must"):
            method.require_usable(toy, metric, Work())
        with pytest.raises(MethodError, match="metric must"):
            score(method, toy, pairs, metric)


def test_labels_that_the_metric_lacks_are_refused(method, toy, pairs):
    if method.name in ("random", "magnitude", "information-flow"):
        pytest.skip("uses no labels")
    bare = [replace(pair, wrong_answers=()) for pair in pairs.pairs]
    with pytest.raises(CircuitkitError, match="wrong answer"):
        score(method, toy, tokenize_pairs(bare))


def test_other_ablations_work_or_are_refused(method, toy, pairs):
    work = Work(MeanAblation(pairs))
    if method.name in ("atp", "atp-star", "exact-nodes"):
        with pytest.raises(MethodError, match="ablation must be resample"):
            method.require_usable(toy, METRIC, work)
        return
    method.require_usable(toy, METRIC, work)
    assert bool(torch.isfinite(method.score_edges(toy, pairs, METRIC, work).values).all())


def test_columns_add_up_or_are_refused(method, toy, pairs):
    for columns in (by_position(pairs), by_role(pairs)):
        if not method.has_columns:
            with pytest.raises(MethodError, match="able to score by position"):
                method.score_columns(toy, pairs, METRIC, columns, Work())
            continue
        parts = method.score_columns(toy, pairs, METRIC, columns, Work())
        total = sum(part.values for part in parts)
        torch.testing.assert_close(total, score(method, toy, pairs).values)


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


def test_a_planted_circuit_is_found(method, planted):
    model, pairs = planted
    from_code = load_truth()
    method = method_named(method.name)
    found = circuit_of(method, score(method, model, pairs), n=len(from_code))
    recall = len(found & from_code) / len(from_code)
    assert recall >= RECALL.get(method.name, 1.0)


def load_truth():
    return set(planted_named("planted-induction:decoys").true_edges)
