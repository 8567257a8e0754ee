"""Fine-tuning seen as a circuit."""

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.selection import prune_dead_ends
from circuitkit.control.finetuning.base import FromBase, joined
from circuitkit.control.finetuning.change import (
    Tuning,
    circuit_of_change,
    measure_change,
    score_change,
)
from circuitkit.discovery.methods import method_named
from circuitkit.errors import GraphError, MethodError, ModelError, VanishingGapError
from circuitkit.interventions.ablation import ablation_named
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import LogitDifference
from circuitkit.model.changed import named_weights, with_weights
from circuitkit.prompts.splits import sample_splits
from circuitkit.task import find_task
from circuitkit.zoo import load_model

METRIC = LogitDifference()
W_O = "transformer.h.1.attn.c_proj.weight"
HEAD = slice(32, 64)  # rows of head 1


@pytest.fixture(scope="module")
def base():
    return load_model("pico", dtype="float64")


@pytest.fixture(scope="module")
def splits(base):
    return sample_splits(find_task("ioi"), base.tokenizer, n=8, seed=3)


@pytest.fixture(scope="module")
def pairs(splits):
    return splits.validation


@pytest.fixture(scope="module")
def everything_tuned(base):
    """Every weight of every block and the final norm moved a little; embeddings as they were."""
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: w + 0.02 * torch.randn(w.shape, generator=generator, dtype=w.dtype)
        for name, w in named_weights(base).items()
        if ".h." in name
    }
    return with_weights(base, moved, name="tuned")


@pytest.fixture(scope="module")
def one_head_tuned(base):
    """What one head writes is turned around; nothing else is tuned."""
    weight = named_weights(base)[W_O].detach().clone()
    weight[HEAD] *= -1
    return with_weights(base, {W_O: weight}, name="turned")


def values_of(model, pairs):
    return METRIC.values(model.run(pairs.clean_batch), pairs.labels)


def run(model, base, pairs, *circuits):
    return evaluate_circuits(model, pairs, circuits, ablation=FromBase(base), metric=METRIC)


def test_all_edges_are_the_tuned_model_and_none_is_the_base_model(everything_tuned, base, pairs):
    model = joined(everything_tuned, base)
    ends = Circuit.full(model.graph), Circuit.empty(model.graph)
    full, empty = run(model, base, pairs, *ends)
    assert torch.allclose(full, values_of(everything_tuned, pairs), atol=1e-10)
    assert torch.allclose(empty, values_of(base, pairs), atol=1e-10)
    assert (full - empty).abs().max() > 0.01


def test_with_other_embeddings_no_edges_is_the_tuned_unembedding_of_the_base_models_stream(
    base, pairs
):
    wte = "transformer.wte.weight"
    tuned = with_weights(base, {wte: named_weights(base)[wte] * 1.5})
    model = joined(tuned, base)
    [empty] = run(model, base, pairs, Circuit.empty(model.graph))
    assert torch.allclose(empty, 1.5 * values_of(base, pairs), atol=1e-10)


def test_the_joined_model_computes_what_the_tuned_one_does_under_every_other_ablation(
    everything_tuned, base, pairs, splits
):
    model = joined(everything_tuned, base)
    half = Circuit.full(model.graph).without(["a1.h0", "m2"])
    for name in ("resample", "mean", "zero"):
        ours, theirs = (
            evaluate_circuits(
                each,
                pairs,
                [half],
                ablation=ablation_named(name, splits.reference),
                metric=METRIC,
            )
            for each in (model, everything_tuned)
        )
        assert torch.allclose(ours, theirs, atol=1e-10)


def test_taking_back_the_one_head_that_was_tuned_takes_back_all(one_head_tuned, base, pairs):
    tuning = Tuning(one_head_tuned, base, METRIC)
    of_head = Circuit.full(base.graph).without(["a1.h1"]).complement
    found = measure_change(tuning, pairs, of_head)
    assert found.reverted.value == pytest.approx(1, abs=1e-9)
    by_name = {each.name: each.reverted for each in found.components}
    assert by_name["a1.h1"].value == pytest.approx(1, abs=1e-9)
    assert by_name["a0.h0"].value == pytest.approx(0, abs=1e-9)  # in front of what was tuned
    assert found.base.value == pytest.approx(found.stream.value, abs=1e-9)
    assert found.tuned.value - found.base.value == pytest.approx(found.change.value, abs=1e-9)


def test_exact_scores_are_what_taking_an_edge_back_costs(one_head_tuned, base, splits, pairs):
    tuning = Tuning(one_head_tuned, base, METRIC)
    scores = score_change(tuning, pairs, method_named("exact", {}))
    by_name = dict(zip(base.graph.edge_names, scores.by_edge().tolist(), strict=True))
    full = Circuit.full(base.graph)
    edge = "a1.h1->logits"
    whole, without = run(tuning.model, base, pairs, full, full.without_edges([edge])).mean(1)
    assert float(by_name[edge]) == pytest.approx(float(whole - without), abs=1e-9)
    best = max(by_name.items(), key=lambda item: abs(item[1]))[0]
    assert best.startswith("a1.h1->")


def test_the_circuit_of_the_change_is_found_on_other_pairs_and_carries_it(
    one_head_tuned, base, splits
):
    tuning = Tuning(one_head_tuned, base, METRIC)
    scores = score_change(tuning, splits.discovery, method_named("eap", {}))
    circuit = circuit_of_change(tuning, splits.discovery, scores)
    assert "a1.h1" in circuit.components
    found = measure_change(tuning, splits.validation, circuit, [Circuit.empty(base.graph)])
    assert found.carried.value > 0.8
    assert found.random_carried == (0.0,)
    assert circuit_of_change(tuning, splits.discovery, scores, 5).n_edges <= 5


def test_the_circuit_of_a_change_need_not_begin_at_the_input(one_head_tuned, base, splits):
    tuning = Tuning(one_head_tuned, base, METRIC)
    scores = score_change(tuning, splits.discovery, method_named("exact", {}))
    circuit = circuit_of_change(tuning, splits.discovery, scores, 1)
    [edge] = circuit.edges
    assert edge.startswith("a1.h1->")
    assert prune_dead_ends(circuit).n_edges == 0


def test_models_that_are_no_tuned_and_base_model_of_each_other_are_refused(base, planted, pairs):
    with pytest.raises(GraphError, match="must be of one architecture"):
        Tuning(base, planted, METRIC)
    with pytest.raises(ModelError, match="must be of one number type, got torch.float32"):
        Tuning(base, load_model("pico"), METRIC)


@pytest.fixture(scope="module")
def planted():
    return load_model("planted-induction", dtype="float64")


@pytest.mark.parametrize("name", ["information-flow", "optimal-ablation", "random"])
def test_methods_that_do_not_ask_the_base_model_are_refused(everything_tuned, base, pairs, name):
    tuning = Tuning(everything_tuned, base, METRIC)
    with pytest.raises(MethodError, match="must ask what ablated edges change"):
        score_change(tuning, pairs, method_named(name, {}))


def test_a_model_that_was_not_tuned_has_no_change_to_explain(base, pairs):
    tuning = Tuning(base, base, METRIC)
    with pytest.raises(VanishingGapError, match="must change logit-difference on these prompts"):
        measure_change(tuning, pairs, Circuit.full(base.graph))
