"""The exact identities of the engine, in float64 on padded batches.

They hold to rounding: the tolerance is a thousand times the float64 epsilon of the largest value.
"""

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import eap
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.sites import site_named
from circuitkit.metrics import KLDivergence, LogProbability
from circuitkit.model import hook_points
from circuitkit.model.recording import Recorder, record
from circuitkit.prompts.columns import all_positions, by_position
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import fingerprint, random_pairs, residual_gaps, save_toy

CLOSE = {"rtol": 1e-10, "atol": 1e-11}


def metric_of_run(model, pairs, metric, *, clean):
    batch = pairs.clean_batch if clean else pairs.corrupted_batch
    return metric.values(record(model, batch)[1], pairs.labels).double()


def evaluate(model, pairs, circuits, metric, ablation=None):
    return evaluate_circuits(
        model, pairs, circuits, ablation=ablation or ResampleAblation(), metric=metric
    )


# 1. the senders sum to the residual stream


def test_senders_sum_to_the_residual_stream_at_every_layer(toy, pairs):
    assert all(gap < 1e-9 for gap in residual_gaps(toy, pairs.clean_batch))


def test_a_sender_that_is_not_recorded_breaks_the_sum(toy, pairs, monkeypatch):
    whole = Recorder.activations

    def without_first_mlp(self, run):
        found = whole(self, run)
        return type(found)(found.input, found.z, (0 * found.mlp[0], *found.mlp[1:]))

    monkeypatch.setattr(Recorder, "activations", without_first_mlp)
    assert residual_gaps(toy, pairs.clean_batch)[0] > 1e-9


# 2. full circuit = clean run, empty circuit = ablated run


def test_full_circuit_is_the_clean_run_under_every_ablation(toy, pairs, metric):
    expected = metric_of_run(toy, pairs, metric, clean=True)
    for ablation in (ResampleAblation(), ZeroAblation(), MeanAblation(pairs)):
        [values] = evaluate(toy, pairs, [Circuit.full(toy.graph)], metric, ablation)
        torch.testing.assert_close(values, expected, **CLOSE)


def test_empty_circuit_is_the_corrupted_run_under_resampling(toy, pairs, metric):
    [values] = evaluate(toy, pairs, [Circuit.empty(toy.graph)], metric)
    torch.testing.assert_close(values, metric_of_run(toy, pairs, metric, clean=False), **CLOSE)


def test_empty_circuit_under_zero_ablation_reads_only_the_attention_biases(toy, pairs, metric):
    bias = sum(layer.attention.b_out for layer in toy.layers)
    unembed = toy.bridge.original_model
    logits = unembed.lm_head(unembed.transformer.ln_f(bias)).detach()
    expected = metric.values(logits.expand(len(pairs), -1), pairs.labels)
    [values] = evaluate(toy, pairs, [Circuit.empty(toy.graph)], metric, ZeroAblation())
    torch.testing.assert_close(values, expected.double(), **CLOSE)


def test_swapping_clean_and_corrupted_swaps_full_and_empty(toy, metric):
    raw = random_pairs()
    swapped = [
        PromptPair(p.corrupted, p.clean, p.answers, p.wrong_answers, template=p.template)
        for p in raw
    ]
    ends = [Circuit.full(toy.graph), Circuit.empty(toy.graph)]
    there = evaluate(toy, tokenize_pairs(raw), ends, metric)
    back = evaluate(toy, tokenize_pairs(swapped), ends, metric)
    torch.testing.assert_close(there.flip(0), back, **CLOSE)


# 3. noising all out-edges of a component = patching its activation


def test_noising_all_out_edges_of_a_head_or_mlp_equals_patching_it(toy, pairs, metric):
    graph = toy.graph
    circuits = [Circuit.full(graph)]
    for sender in range(1, len(graph.senders)):
        mask = graph.edge_mask.clone()
        mask[sender] = False
        circuits.append(Circuit(graph, mask, circuits[0].scores))
    values = evaluate(toy, pairs, circuits, metric)
    by_edges = dict(zip(graph.senders[1:], values[0] - values[1:], strict=True))
    patched = {}
    for site in ("heads", "mlp"):
        effects = patch_activations(
            toy, pairs, site_named(site), all_positions(pairs), metric=metric
        )
        patched |= dict(zip(effects.rows, effects.effects[:, 0], strict=True))
    assert patched.keys() == by_edges.keys()
    for name, effect in patched.items():
        torch.testing.assert_close(by_edges[name], effect, **CLOSE)


def test_noising_the_first_residual_everywhere_is_the_corrupted_run(toy, pairs, metric):
    effects = patch_activations(
        toy, pairs, site_named("resid"), all_positions(pairs), metric=metric
    )
    torch.testing.assert_close(effects.effects[0, 0], effects.gap, **CLOSE)


# 4. clean = corrupted gives all-zero effects


def test_identical_prompts_give_zero_scores_and_effects(toy, metric):
    same = tokenize_pairs(
        [
            PromptPair(p.clean, p.clean, p.answers, p.wrong_answers, template=p.template)
            for p in random_pairs()
        ]
    )
    assert eap.score_edges(toy, same, metric).values.abs().max() == 0
    for direction in Direction:
        effects = patch_activations(
            toy, same, site_named("heads"), by_position(same), metric=metric, direction=direction
        )
        assert effects.effects.abs().max() < 1e-11


# 5. no dependence on batch size, padding side, or order


def test_results_do_not_depend_on_batch_size(toy, pairs, metric):
    whole = eap.score_edges(toy, pairs, metric, batch_size=6).values
    for size in (1, 4):
        torch.testing.assert_close(
            eap.score_edges(toy, pairs, metric, batch_size=size).values, whole, **CLOSE
        )


@pytest.mark.without_shapes
def test_results_do_not_depend_on_the_memory_budget(toy, pairs, metric):
    scores = eap.score_edges(toy, pairs, metric)
    circuits = [Circuit.full(toy.graph), Circuit(toy.graph, scores.values > 0.01, scores)]
    site, columns = site_named("heads"), by_position(pairs)
    values = evaluate(toy, pairs, circuits, metric)
    effects = patch_activations(toy, pairs, site, columns, metric=metric).effects
    for memory in (220_000, 900_000):
        small = evaluate_circuits(
            toy, pairs, circuits, ablation=ResampleAblation(), metric=metric, memory=memory
        )
        torch.testing.assert_close(small, values, **CLOSE)
        few = patch_activations(toy, pairs, site, columns, metric=metric, memory=memory).effects
        torch.testing.assert_close(few, effects, **CLOSE)


def test_results_do_not_depend_on_padding_or_its_side_or_its_token(toy, metric):
    raw = random_pairs()
    left = tokenize_pairs(raw)
    scores = eap.score_edges(toy, left, metric)
    circuit = Circuit(toy.graph, scores.values > 0.01, scores)
    for other in (
        tokenize_pairs(raw, padding_side="right"),
        tokenize_pairs(raw, pad_token=11),
    ):
        torch.testing.assert_close(
            eap.score_edges(toy, other, metric).values, scores.values, **CLOSE
        )
        for ablation in (lambda p: ResampleAblation(), MeanAblation):
            torch.testing.assert_close(
                evaluate(toy, other, [circuit], metric, ablation(other)),
                evaluate(toy, left, [circuit], metric, ablation(left)),
                **CLOSE,
            )
    one_by_one = sum(eap.score_edges(toy, tokenize_pairs([pair]), metric).values for pair in raw)
    torch.testing.assert_close(one_by_one / len(raw), scores.values, **CLOSE)


def test_results_do_not_depend_on_the_order_of_pairs(toy, pairs, metric):
    order = [3, 0, 5, 1, 4, 2]
    shuffled = pairs.select(order)
    torch.testing.assert_close(
        eap.score_edges(toy, shuffled, metric).values,
        eap.score_edges(toy, pairs, metric).values,
        **CLOSE,
    )
    circuits = [Circuit.empty(toy.graph)]
    torch.testing.assert_close(
        evaluate(toy, shuffled, circuits, metric)[0],
        evaluate(toy, pairs, circuits, metric)[0][order],
        **CLOSE,
    )


# 6. the model comes back as it was


def test_model_comes_back_as_it_was(toy, pairs, metric):
    before = fingerprint(toy)
    weights = {name: tensor.clone() for name, tensor in toy.bridge.state_dict().items()}
    eap.score_edges(toy, pairs, metric)
    evaluate(toy, pairs, [Circuit.empty(toy.graph)], metric)
    patch_activations(toy, pairs, site_named("heads"), all_positions(pairs), metric=metric)
    assert fingerprint(toy) == before
    for name, tensor in toy.bridge.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


class Interrupted(LogProbability):
    """A metric that fails in the middle of the work."""

    def values(self, logits, labels):
        raise RuntimeError("interrupted")


def test_model_comes_back_as_it_was_after_an_exception(toy, pairs):
    before = fingerprint(toy)
    for work in (
        lambda: eap.score_edges(toy, pairs, Interrupted()),
        lambda: evaluate(toy, pairs, [Circuit.empty(toy.graph)], Interrupted()),
        lambda: patch_activations(
            toy, pairs, site_named("mlp"), all_positions(pairs), metric=Interrupted()
        ),
    ):
        with pytest.raises(RuntimeError, match="interrupted"):
            work()
        assert fingerprint(toy) == before


def test_a_failing_hook_leaves_no_hook_behind(toy, pairs):
    before = fingerprint(toy)

    def fail(_):
        raise RuntimeError("inside the model")

    with pytest.raises(RuntimeError, match="inside the model"):
        toy.run(pairs.clean_batch, {hook_points.mlp_out(1): fail})
    with pytest.raises(RuntimeError, match="inside the model"):
        toy.run(pairs.clean_batch, {hook_points.neurons(1): fail})
    assert fingerprint(toy) == before


# and what follows from them


def test_float32_agrees_with_float64(toy_directory, toy, pairs, metric):
    from circuitkit.zoo import load_model

    narrow = load_model(toy_directory, dtype=torch.float32)
    wide_scores = eap.score_edges(toy, pairs, metric).values
    scores = eap.score_edges(narrow, pairs, metric).values
    assert (scores - wide_scores).abs().max() < 1e-4 * wide_scores.abs().max()


def test_clean_logits_are_those_of_the_plain_hugging_face_model(toy_directory, toy):
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(toy_directory, dtype=torch.float64)
    padded = tokenize_pairs(random_pairs())
    logits = toy.run(padded.clean_batch)
    for row, pair in enumerate(random_pairs()):
        expected = plain(torch.tensor([pair.clean])).logits[0, -1]
        torch.testing.assert_close(logits[row], expected, **CLOSE)


def test_kl_of_the_full_circuit_is_zero_and_of_others_positive(toy, pairs):
    ends = [Circuit.full(toy.graph), Circuit.empty(toy.graph)]
    full, empty = evaluate(toy, pairs, ends, KLDivergence())
    assert full.abs().max() < 1e-12
    assert empty.min() > 0


def test_another_seed_of_weights_gives_other_results(tmp_path, toy, pairs, metric):
    from circuitkit.zoo import load_model

    other = load_model(save_toy(tmp_path, seed=1), dtype=torch.float64)
    assert other.digest != toy.digest
    scores = [eap.score_edges(model, pairs, metric).values for model in (toy, other)]
    assert (scores[0] - scores[1]).abs().max() > 0.1
