import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import eap
from circuitkit.errors import MemoryBudgetError, MethodError, PromptError
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import Accuracy, KLDivergence, LogitDifference, LogProbability
from circuitkit.model import hook_points
from circuitkit.model.recording import record, sender_outputs
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import Nearly, random_pairs


def literal_scores(model, pairs, metric, ablation):
    """EAP by its definition: every receiver of a layer reads a leaf of its own, d_model wide.

    One run and one backward pass a layer; the layers around it run as they always do.
    """
    graph = model.graph
    clean, _ = record(model, pairs.clean_batch)
    change = sender_outputs(model, clean.minus(ablation.values(model, pairs)))
    scores = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    for layer in range(graph.n_layers):
        leaves = {}
        logits = model.run(pairs.clean_batch, leaf_hooks(model, layer, leaves))
        gain = metric.gain(logits, pairs.labels).sum()
        grads = torch.autograd.grad(gain, list(leaves.values()))
        n_pos = pairs.clean.shape[1]
        at_label = torch.arange(len(pairs)) * n_pos + pairs.label_pos
        for name, grad in zip(leaves, grads, strict=True):
            column = graph.receivers.index(name)
            at = at_label if name == "logits" else slice(None)
            grad = grad if name == "logits" else grad.flatten(0, 1)
            scores[:, column] = torch.einsum("sad,ad->s", change[:, at], grad)
    return scores * graph.edge_mask / len(pairs)


def leaf_hooks(model, layer, leaves):
    """Return hooks that give each receiver of the layer, and the logits, a leaf to read."""

    def split(x):
        for receiver in model.graph.receivers:
            if receiver.startswith(f"a{layer}.h"):
                leaves[receiver] = x.detach().clone().requires_grad_()

    def project(read):
        # the model's own norm and weights, as the bridge shows them: not those folded by us
        block = model.bridge.blocks[layer]
        norm, attn = block.ln1.original_component, block.attn

        def out(_):
            heads = range(model.graph.n_heads)
            inputs = [norm(leaves[f"a{layer}.h{head}<{read}>"]) for head in heads]
            w, b = getattr(attn, f"W_{read.upper()}"), getattr(attn, f"b_{read.upper()}")
            return torch.stack([x @ w[h] + b[h] for h, x in enumerate(inputs)], dim=2)

        return out

    def leaf(name):
        def keep(x):
            leaves[name] = x.view_as(x)
            return leaves[name]

        return keep

    def leaf_at_label(x):
        leaves["logits"] = x.view_as(x)
        return leaves["logits"]

    hooks = {hook_points.projection(layer, read): project(read) for read in "qkv"}
    hooks[hook_points.resid_pre(0)] = lambda x: x.detach().requires_grad_()
    hooks[hook_points.mlp_in(layer)] = leaf(f"m{layer}")
    hooks[hook_points.FINAL_NORM_IN] = leaf_at_label
    if layer == 0:
        start = hooks[hook_points.resid_pre(0)]
        hooks[hook_points.resid_pre(0)] = lambda x: (split(x), start(x))[1]
    else:
        hooks[hook_points.resid_pre(layer)] = split
    return hooks


@pytest.mark.parametrize("metric", [LogitDifference(), LogProbability()])
def test_fast_scores_equal_the_literal_definition(toy, pairs, metric):
    for ablation in (ResampleAblation(), MeanAblation(pairs)):
        fast = eap.score_edges(toy, pairs, metric, ablation=ablation).values
        slow = literal_scores(toy, pairs, metric, ablation)
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)


def test_a_score_is_the_slope_of_the_exact_effect(toy, metric):
    """Move the corrupted prompt's embedding a little: effects become first order, scores exact."""
    pairs = tokenize_pairs(random_pairs(3, lengths=(7,)))
    scores = eap.score_edges(toy, pairs, metric, ablation=Nearly(1e-4)).by_edge()
    full = Circuit.full(toy.graph)
    circuits = [full] + [
        full.with_edges(full.edge_mask & ~toy.graph.mask_of([name]))
        for name in toy.graph.edge_names
    ]
    values = evaluate_circuits(toy, pairs, circuits, ablation=Nearly(1e-4), metric=metric).mean(1)
    exact = values[0] - values[1:]
    assert scores.abs().max() > 1e-5
    torch.testing.assert_close(scores, exact, rtol=0, atol=3e-3 * float(scores.abs().max()))


def test_scores_are_zero_where_there_is_no_edge(toy, pairs, metric):
    scores = eap.score_edges(toy, pairs, metric).values
    assert scores[~toy.graph.edge_mask].abs().max() == 0
    assert (scores[toy.graph.edge_mask] != 0).double().mean() > 0.8


def test_a_metric_where_less_is_better_needs_no_sign_trick(toy, pairs):
    class Surprise(LogProbability):
        higher_is_better = False

        def values(self, logits, labels):
            return -super().values(logits, labels)

    torch.testing.assert_close(
        eap.score_edges(toy, pairs, Surprise()).values,
        eap.score_edges(toy, pairs, LogProbability()).values,
    )


def test_scores_are_means_over_pairs_not_sums(toy, metric):
    raw = random_pairs(2)
    once = eap.score_edges(toy, tokenize_pairs(raw), metric).values
    thrice = eap.score_edges(toy, tokenize_pairs(raw * 3), metric).values
    torch.testing.assert_close(once, thrice)


def test_kl_has_no_gradient_at_the_clean_run(toy, pairs):
    assert eap.score_edges(toy, pairs, KLDivergence()).values.abs().max() < 1e-12


def test_a_metric_without_gradient_is_refused(toy, pairs):
    with pytest.raises(MethodError, match="must have a gradient, got 'accuracy'"):
        eap.score_edges(toy, pairs, Accuracy())


def test_missing_wrong_answers_are_refused_before_any_run(toy, metric):
    pairs = tokenize_pairs([PromptPair([1, 2], [1, 3], [4])])
    with pytest.raises(PromptError, match="every pair must have a wrong answer"):
        eap.score_edges(toy, pairs, metric)


def test_too_little_memory_is_refused_with_the_amount_that_fits(toy, pairs, metric):
    with pytest.raises(MemoryBudgetError, match="Use --memory .*GB or more"):
        eap.score_edges(toy, pairs, metric, memory=1000)
