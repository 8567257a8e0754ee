import random
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from circuitkit.errors import GraphError, MethodError, PromptError
from circuitkit.interpretation.experiment import Experiment
from circuitkit.interpretation.sweeps.subject_noise import default_subject, subject_noise
from circuitkit.interpretation.sweeps.tracing import (
    RESTORED,
    Blur,
    _says,
    default_window,
    indirect_effects,
    trace,
    trace_facts,
)
from circuitkit.interventions.ablation import CorruptedRun, NoiseAblation, ResampleAblation
from circuitkit.interventions.sites import Place
from circuitkit.metrics import KLDivergence
from circuitkit.model import hook_points
from circuitkit.model.runs import whole_run
from circuitkit.prompts.columns import all_positions, by_position
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import facts
from tests.conftest import fingerprint, random_pairs
from tests.families import make_family
from tests.prompts.test_chat import asking, chat_tokenizer


def roles_of(pair, **roles):
    return replace(pair, roles=roles)


def one_restoration(model, pair, metric, noise, points, positions):
    """Return indirect and total effect by the definition, on one unpadded pair."""
    pairs = tokenize_pairs([pair])
    clean, noised = whole_run(model, pairs.clean_batch), noise.run(model, pairs)
    kept = {}

    def keep(point):
        def hook(x):
            kept[point] = x.clone()

        return hook

    def put(point):
        def hook(x):
            x = x.clone()
            x[:, positions] = kept[point][:, positions]
            return x

        return hook

    def value(entering, hooks):
        with torch.no_grad():
            logits = model.run_from(entering, clean.context, hooks)
        return float(metric.gain(logits, pairs.labels))

    full = value(clean.entering, {point: keep(point) for point in points})
    empty = value(noised.entering, {})
    restored = value(noised.entering, {point: put(point) for point in points})
    return restored - empty, full - empty


POINTS = {
    "residual stream": (3, [hook_points.resid_post(2)]),
    "mlp out": (1, [hook_points.mlp_out(0), hook_points.mlp_out(1), hook_points.mlp_out(2)]),
    "attention out": (2, [hook_points.attn_out(1), hook_points.attn_out(2)]),
}


@pytest.mark.parametrize("restored", RESTORED)
def test_batched_sweeps_equal_one_restoration_at_a_time(toy, pairs, metric, restored):
    noises = subject_noise(toy, pairs, "B", n=3, seed=2)
    sweep = trace(Experiment(toy, pairs, metric), noises, restored, window=3, columns=by_position)
    row, points = POINTS[restored]
    for column in (3, 4, 6):
        each = [
            [one_restoration(toy, pair, metric, noise, points, [column]) for noise in noises]
            for pair in random_pairs()
        ]
        indirect, total = np.array(each).mean((0, 1))
        assert sweep.values[row][column] == pytest.approx(indirect, abs=1e-10)
        assert sweep.whole == pytest.approx(total, abs=1e-10)
        assert sweep.low[row][column] <= sweep.values[row][column] <= sweep.high[row][column]
    assert max(map(abs, sweep.values[row])) > 1e-3


@pytest.mark.parametrize("family", ["gpt-j", "gemma-2", "native-bidirectional"])
def test_windows_are_restored_in_other_families_too(tmp_path, metric, family):
    model = make_family(family, tmp_path)
    pairs = tokenize_pairs(random_pairs(4))
    noises = subject_noise(model, pairs, "A", n=1)
    sweep = trace(
        Experiment(model, pairs, metric), noises, "attention out", window=2, columns=by_position
    )
    points = [hook_points.attn_out(0), hook_points.attn_out(1)]
    slow = [
        one_restoration(model, pair, metric, noises[0], points, [5])[0] for pair in random_pairs(4)
    ]
    assert sweep.rows[1] == "layers 0-1"
    assert sweep.values[1][5] == pytest.approx(np.mean(slow), abs=1e-7)


def test_restoring_every_position_of_the_embedding_gives_the_clean_run_back(toy, pairs, metric):
    noises = subject_noise(toy, pairs, "A")
    embedding = [Place("embedding", hook_points.resid_pre(0))]
    effects, total = indirect_effects(
        Experiment(toy, pairs, metric), embedding, all_positions(pairs), noises
    )
    torch.testing.assert_close(effects[0, 0], total, rtol=0, atol=1e-12)
    assert total.abs().min() > 1e-3


def test_noise_of_no_size_has_no_effect(toy, pairs, metric):
    nothing = [NoiseAblation(("A",), factor=0.0)]
    sweep = trace(Experiment(toy, pairs, metric), nothing, "mlp out")
    assert sweep.whole == 0
    assert np.abs(sweep.values).max() == 0
    assert sweep.says == "nothing to trace: the total effect is 0 [0, 0] logits"


def test_no_layer_before_the_subject_reaches_a_position_matters(toy, pairs, metric):
    sweep = trace(
        Experiment(toy, pairs, metric), subject_noise(toy, pairs, "B"), "attention out", window=1
    )
    assert sweep.columns == ("A", "B", "END", "rest")
    assert [row[0] for row in sweep.values] == [0, 0, 0]  # A stands in front of B
    assert sweep.values[0][1] != 0


def test_the_noise_is_a_multiple_of_the_spread_of_the_subjects_embeddings(toy, pairs):
    spread = toy.token_embeddings[pairs.clean[:, :]]
    rows = torch.stack([spread[i, slice(*r["B"])] for i, r in enumerate(pairs.roles)])
    clean = whole_run(toy, pairs.clean_batch).entering
    noises = subject_noise(toy, pairs, "B", n=40, factor=2.5)
    added = torch.stack([noise.run(toy, pairs).entering - clean for noise in noises])
    at_subject = torch.stack([added[:, i, slice(*r["B"])] for i, r in enumerate(pairs.roles)])
    assert float(at_subject.std()) == pytest.approx(2.5 * float(rows.std()), rel=0.02)
    assert (added.abs().sum(-1) > 0).sum((1, 2)).tolist() == [2 * len(pairs)] * 40
    assert len({float(x.abs().sum()) for x in added}) == 40


def test_seeds_give_other_noise_and_the_same_seed_the_same(toy, pairs, metric):
    def total(seed):
        noises = subject_noise(toy, pairs, "A", n=1, seed=seed)
        return trace(Experiment(toy, pairs, metric), noises, "residual stream").whole

    assert total(1) == total(1) != total(2)


def test_results_do_not_depend_on_memory_or_on_the_other_pairs(toy, metric):
    pairs = tokenize_pairs(random_pairs(7))
    noises = subject_noise(toy, pairs, "A", n=2)
    places = [Place("m1", hook_points.mlp_out(1), also=(hook_points.mlp_out(2),))]
    columns = by_position(pairs)
    effects, total = indirect_effects(Experiment(toy, pairs, metric), places, columns, noises)
    tight = Experiment(toy, pairs, metric, memory=420_000)
    small = indirect_effects(tight, places, columns, noises)
    torch.testing.assert_close(small[0], effects, rtol=0, atol=1e-12)
    torch.testing.assert_close(small[1], total, rtol=0, atol=1e-12)
    some = pairs.select([4, 1, 2])
    alone, _ = indirect_effects(Experiment(toy, some, metric), places, by_position(some), noises)
    torch.testing.assert_close(alone, effects[:, : alone.shape[1], [4, 1, 2]], rtol=0, atol=1e-12)


def test_windows_are_centred_and_cut_off_at_the_ends(toy, pairs, metric):
    def rows(window):
        noises = subject_noise(toy, pairs, "A", n=1)
        return trace(Experiment(toy, pairs, metric), noises, "mlp out", window=window).rows

    assert rows(1) == rows(0) == ("layer 0", "layer 1", "layer 2")
    assert rows(2) == ("layer 0", "layers 0-1", "layers 1-2")
    assert rows(3) == ("layers 0-1", "layers 0-2", "layers 1-2")


def test_the_default_window_is_ten_layers_of_forty_eight():
    layers = {4: 1, 12: 2, 24: 5, 48: 10}
    for n, window in layers.items():
        model = type("Model", (), {"graph": type("Graph", (), {"n_layers": n})})
        checked = default_window
        assert getattr(checked, "__wrapped__", checked)(model) == window  # no shape check


def test_a_metric_of_which_less_is_better_has_positive_effects_too(toy, pairs):
    noises = subject_noise(toy, pairs, "A")
    sweep = trace(
        Experiment(toy, pairs, KLDivergence()), noises, "residual stream", columns=all_positions
    )
    assert sweep.whole > 0
    assert sweep.values[0][0] == pytest.approx(sweep.whole)
    assert sweep.unit == "nats"


def test_the_model_is_left_as_it_was(toy, pairs, metric):
    before = fingerprint(toy)
    trace_facts(Experiment(toy, pairs, metric), Blur("A", n=1))
    assert fingerprint(toy) == before


def test_progress_begins_with_none_and_ends_with_all(toy, pairs, metric):
    calls = []
    experiment, blur = Experiment(toy, pairs, metric), Blur("A", n=2)
    trace_facts(experiment, blur, progress=lambda d, n: calls.append((d, n)))
    assert calls[0][0] == 0
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]
    assert len({total for _, total in calls}) == 1


# a model whose facts are known to stand in the first MLP, at the subject


@pytest.fixture(scope="module")
def planted():
    return load_model("planted-facts", dtype=torch.float64)


def fact_pairs(model, n=24):
    """Return questions whose corrupted prompt asks the same of another subject at that place."""
    rng = random.Random(0)
    pairs = []
    for fact, other in islice(iter(lambda: rng.sample(facts.FACTS, 2), None), 3 * n):
        own, relation = rng.choice([(1, "colour"), (2, "land")])
        if fact[own] == other[own] or len(pairs) == n:
            continue
        before, after = ["the", "old"], ["its"]
        words = [*before, fact[0], *after, relation]
        start = len("the old ")
        pairs.append(
            PromptPair(
                " ".join(words),
                " ".join([*before, other[0], *after, relation]),
                [fact[own]],
                [other[own]],
                roles={"subject": (start, start + len(fact[0]))},
            )
        )
    return tokenize_pairs(pairs, model.tokenizer)


class BlurredNames(CorruptedRun):
    """Blur which subject it is, but not that it is one, as heads look for that."""

    name = "blurred names"

    def __init__(self, seed):
        self.seed = seed

    def run(self, model, pairs, behind=None):
        clean = whole_run(model, pairs.clean_batch)
        subjects = [facts.VOCABULARY.index(fact[0]) for fact in facts.FACTS]
        noise = torch.zeros_like(clean.entering)
        generator = torch.Generator().manual_seed(self.seed)
        for row, roles in enumerate(pairs.roles):
            at = roles["subject"][0]
            drawn = 0.1 * torch.randn(len(subjects), generator=generator, dtype=noise.dtype)
            names = clean.entering[row, at, subjects]
            noise[row, at, subjects] = names.mean() - names + drawn - drawn.mean()
        return replace(clean, entering=clean.entering + noise)


@pytest.mark.parametrize("corruptions", [[ResampleAblation()], [BlurredNames(0), BlurredNames(1)]])
def test_the_memory_of_a_planted_model_gives_back_all_at_the_subject(planted, metric, corruptions):
    pairs = fact_pairs(planted)
    memory = trace(Experiment(planted, pairs, metric), corruptions, "mlp out", window=1)
    assert memory.columns[0] == "subject"
    assert memory.whole > 1
    assert memory.values[0][0] == pytest.approx(memory.whole, rel=1e-9)
    assert np.abs(memory.values).sum() == pytest.approx(memory.whole, rel=1e-9)
    assert "restoring mlp out of layer 0 at subject gives back 1 [0.875, 1.12]" in memory.says


def test_attention_of_a_planted_model_fetches_the_fact_at_the_end(planted, metric):
    pairs = fact_pairs(planted)
    fetched = trace(
        Experiment(planted, pairs, metric), [ResampleAblation()], "attention out", window=1
    )
    subject, end = (fetched.columns.index(name) for name in ("subject", "END"))
    assert fetched.values[0][subject] == fetched.values[0][end] == 0
    assert fetched.values[1][end] == pytest.approx(fetched.whole, rel=1e-9)
    assert "attention out of layer 1 at END gives back 1 [0.875, 1.12]" in fetched.says


def test_the_residual_stream_of_a_planted_model_hands_the_fact_over(planted, metric):
    pairs = fact_pairs(planted)
    sweep = trace(Experiment(planted, pairs, metric), [ResampleAblation()], "residual stream")
    assert sweep.says.endswith(
        "at subject from embedding to layer 0 (at least 1 [0.875, 1.12]), "
        "then at END from layer 1 (at least 1 [0.875, 1.12])"
    )


def test_blind_noise_hides_a_memory_whose_subject_cannot_be_found_any_more(planted, metric):
    pairs = fact_pairs(planted)
    sweep = trace(Experiment(planted, pairs, metric), subject_noise(planted, pairs, n=8), "mlp out")
    assert sweep.whole > 0.5
    assert max(map(max, sweep.values)) < 0.1 * sweep.whole
    assert "gives back nothing of the total effect" in sweep.says


def test_the_residual_stream_is_said_to_hold_at_least_the_least_of_its_rows():
    effects = np.array([[[4.0] * 4, [0.0] * 4], [[2.0] * 4, [1.0] * 4], [[0.0] * 4, [4.0] * 4]])
    said = _says("residual stream", ("e", "f", "g"), ("S", "END"), effects, np.full(4, 4.0), "nats")
    assert "at S from e to f (at least 0.5 [0.125, 0.875]), then at END from g (at least 1" in said


# what cannot be traced


def test_the_default_subject_is_the_first_role_that_differs_in_every_pair():
    def pair(clean, corrupted):
        return PromptPair(clean, corrupted, [7], roles={"Z": (1, 2), "B": (2, 3), "A": (3, 4)})

    pairs = tokenize_pairs(
        [pair([1, 2, 3, 4, 5], [1, 2, 9, 8, 5]), pair([1, 3, 3, 4], [1, 2, 8, 8])]
    )
    assert default_subject(pairs) == "B"
    with pytest.raises(
        PromptError, match=r"must differ .* got none among \['A', 'B', 'END', 'Z'\]"
    ):
        default_subject(tokenize_pairs([pair([1, 2, 3, 4, 5], [9, 2, 3, 4, 5])]))


def test_the_default_subject_of_a_chat_is_a_role_that_the_pairs_name_before_one_they_have():
    tokenizer = chat_tokenizer("zephyr")
    pairs = tokenize_pairs([asking("Paris", "Turin")], tokenizer)
    assert default_subject(pairs) == "city"
    assert (
        default_subject(tokenize_pairs([asking("Paris", "Turin", roles={})], tokenizer)) == "user"
    )


def test_a_role_that_is_not_there_names_those_that_are(toy, pairs, metric):
    with pytest.raises(PromptError, match="must have the role 'subject'.*A, B, END"):
        trace_facts(Experiment(toy, pairs, metric), Blur("subject"))


def test_a_subject_that_some_pairs_lack_is_refused(toy, metric):
    some = [*random_pairs(5), roles_of(random_pairs(6)[5], B=(3, 5))]
    with pytest.raises(PromptError, match=r"must have the role 'A', got \['B', 'END'\]"):
        trace_facts(Experiment(toy, tokenize_pairs(some), metric), Blur("A"))


@pytest.mark.parametrize("factor", [0.0, -3.0, float("nan"), float("inf")])
def test_noise_must_be_positive(toy, pairs, metric, factor):
    with pytest.raises(MethodError, match="noise must be a positive number"):
        trace_facts(Experiment(toy, pairs, metric), Blur("A", factor=factor))


def test_there_must_be_a_sample_of_noise(toy, pairs, metric):
    with pytest.raises(MethodError, match="number of noise samples must be at least 1, got 0"):
        trace_facts(Experiment(toy, pairs, metric), Blur("A", n=0))
    with pytest.raises(MethodError, match="at least one corrupted run, got none"):
        trace(Experiment(toy, pairs, metric), [], "mlp out")


def test_embeddings_that_do_not_vary_give_no_noise(toy, pairs, monkeypatch):
    monkeypatch.setattr(
        type(toy), "token_embeddings", property(lambda self: torch.ones(37, 20).double())
    )
    with pytest.raises(MethodError, match="must vary, got a standard deviation of 0"):
        subject_noise(toy, pairs, "A")


@pytest.mark.parametrize("window", [-1, 4])
def test_a_window_must_be_in_the_model(toy, pairs, metric, window):
    def fail(done, total):
        raise AssertionError("work has begun")

    with pytest.raises(MethodError, match=f"from 1 to 3 layers .*got {window}"):
        trace_facts(Experiment(toy, pairs, metric), Blur("A"), window=window, progress=fail)


def test_what_is_restored_must_be_known(toy, pairs, metric):
    with pytest.raises(MethodError, match="must be one of residual stream, mlp out"):
        trace(Experiment(toy, pairs, metric), subject_noise(toy, pairs, "A"), "heads")


def test_a_model_without_mlps_has_two_sweeps(tmp_path, pairs, metric):
    model = make_family("native-attention-only", tmp_path)
    assert [s.name for s in trace_facts(Experiment(model, pairs, metric), Blur("A", n=1))] == [
        "tracing, residual stream",
        "tracing, attention out",
    ]
    with pytest.raises(GraphError, match="attention-only"):
        trace(Experiment(model, pairs, metric), subject_noise(model, pairs, "A"), "mlp out")


def test_a_spread_needs_three_pairs(toy, pairs, metric):
    with pytest.raises(PromptError, match="at least 3 pairs, got 2"):
        trace_facts(Experiment(toy, pairs.select([0, 1]), metric), Blur("A"))
