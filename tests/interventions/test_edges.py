import pytest
import torch
from transformer_lens.patching import get_act_patch_direct_path

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import GraphError, MemoryBudgetError, MethodError
from circuitkit.interventions.ablation import (
    MeanAblation,
    NoiseAblation,
    ResampleAblation,
    ZeroAblation,
)
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import KLDivergence, LogProbability
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs


def by_circuits(model, pairs, names, metric, ablation):
    """Return the same by running the circuit of all edges but one."""
    full = Circuit.full(model.graph)
    circuits = [full.with_edges(full.edge_mask & ~model.graph.mask_of([name])) for name in names]
    values = evaluate_circuits(model, pairs, [full, *circuits], ablation=ablation, metric=metric)
    sign = 1 if metric.higher_is_better else -1
    return sign * (values[0] - values[1:])


@pytest.mark.parametrize(
    "ablation",
    [ResampleAblation(), ZeroAblation(), NoiseAblation(["A"])],
    ids=lambda ablation: ablation.name,
)
@pytest.mark.parametrize("metric", [LogProbability(), KLDivergence()], ids=lambda m: m.name)
def test_an_edge_has_the_effect_of_the_circuit_without_it(toy, pairs, metric, ablation):
    names = toy.graph.edge_names[::3]
    found = measure_edges(toy, pairs, names, metric, ablation=ablation)
    expected = by_circuits(toy, pairs, names, metric, ablation)
    torch.testing.assert_close(found.effects, expected, rtol=1e-9, atol=1e-11)
    assert found.edges == names


def test_mean_ablation_too(toy, pairs, metric):
    names = toy.graph.edge_names[1::3]
    ablation = MeanAblation(pairs)
    found = measure_edges(toy, pairs, names, metric, ablation=ablation).effects
    expected = by_circuits(toy, pairs, names, metric, ablation)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_effects_do_not_depend_on_the_memory_budget(toy, pairs, metric):
    names = toy.graph.edge_names[::5]
    whole = measure_edges(toy, pairs, names, metric).effects
    small = measure_edges(toy, pairs, names, metric, memory=220_000).effects
    torch.testing.assert_close(small, whole, rtol=1e-9, atol=1e-11)


def test_denoising_is_noising_with_the_prompts_exchanged(toy, metric):
    raw = random_pairs()
    swapped = [
        PromptPair(p.corrupted, p.clean, p.answers, p.wrong_answers, template=p.template)
        for p in raw
    ]
    names = toy.graph.edge_names[::7]
    there = measure_edges(
        toy, tokenize_pairs(raw), names, metric, direction=Direction.DENOISING
    ).effects
    back = measure_edges(toy, tokenize_pairs(swapped), names, metric).effects
    torch.testing.assert_close(there, -back, rtol=1e-9, atol=1e-11)


def test_denoised_edges_between_heads_are_those_of_transformer_lens(tiny_gpt2, tiny_pairs, metric):
    """TransformerLens adds a head's clean write at a later head's own copy of the residual."""
    bridge, pairs = tiny_gpt2.bridge, tiny_pairs
    with torch.no_grad():
        caches = [bridge.run_with_cache(tokens)[1] for tokens in (pairs.clean, pairs.corrupted)]
        corrupted = metric.values(bridge(pairs.corrupted)[:, -1], pairs.labels).mean()
        for read in "qkv":
            theirs = get_act_patch_direct_path(
                bridge,
                pairs.corrupted,
                *caches,
                lambda logits: metric.values(logits[:, -1], pairs.labels).mean(),
                src_layer=0,
                src_head=2,
                component=read,
                verbose=False,
            )
            names = [f"a0.h2->a1.h{head}<{read}>" for head in range(4)]
            found = measure_edges(
                tiny_gpt2, pairs, names, metric, direction=Direction.DENOISING
            ).effects.mean(1)
            # the peer's results are stored in float32
            torch.testing.assert_close(corrupted + found, theirs[1].double(), rtol=1e-5, atol=1e-6)
            assert found.abs().max() > 1e-4


def test_an_edge_that_carries_the_same_in_both_runs_has_no_effect(toy, metric):
    pairs = tokenize_pairs([PromptPair([1, 2, 3, 4], [1, 2, 3, 9], [7], [8])])
    effects = measure_edges(toy, pairs, toy.graph.edge_names, metric).effects
    assert effects.abs().max() > 1e-3
    same = tokenize_pairs([PromptPair([1, 2, 3, 4], [1, 2, 3, 4], [7], [8])])
    assert measure_edges(toy, same, toy.graph.edge_names, metric).effects.abs().max() == 0


def test_what_cannot_be_measured_is_refused_before_any_run(toy, pairs, metric):
    with pytest.raises(GraphError, match="'a9.h0->logits': must be an edge of this graph"):
        measure_edges(toy, pairs, ["a9.h0->logits"], metric)
    with pytest.raises(MethodError, match="denoising needs resample ablation, got 'zero'"):
        measure_edges(
            toy,
            pairs,
            ["a0.h0->logits"],
            metric,
            ablation=ZeroAblation(),
            direction=Direction.DENOISING,
        )
    with pytest.raises(MemoryBudgetError, match="Use --memory"):
        measure_edges(toy, pairs, ["a0.h0->logits"], metric, memory=1000)


def test_progress_counts_every_effect_once(toy, pairs, metric):
    calls = []
    names = toy.graph.edge_names[::10]
    measure_edges(toy, pairs, names, metric, progress=lambda *counts: calls.append(counts))
    assert calls[0] == (0, len(names) * len(pairs))
    assert calls[-1] == (len(names) * len(pairs),) * 2
