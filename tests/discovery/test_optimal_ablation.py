from dataclasses import replace

import pytest
import torch
from transformers import GPT2LMHeadModel

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery.optimal_ablation import (
    OptimalAblation,
    _distances,
    component_importances,
    train_constants,
)
from circuitkit.errors import MethodError
from circuitkit.interventions.ablation import SuppliedAblation, ZeroAblation
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.metrics import Accuracy, KLDivergence, LogitDifference
from circuitkit.model.recording import record
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from tests.conftest import fingerprint, random_pairs, save_toy
from tests.families import make_family

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
QUICK = OptimalAblation(steps=30)
FEW = OptimalAblation(steps=2)
UNTRAINED = OptimalAblation(steps=0)


@pytest.fixture(scope="module")
def trained(toy):
    return train_constants(toy, tokenize_pairs(random_pairs()), LogitDifference(), QUICK, Work())


def distances_by_circuits(model, pairs, metric, values):
    """Return E |gain(clean) - gain(s writes its constant)| of every sender, by circuit runs."""
    graph = model.graph
    circuits = [Circuit.full(graph)]
    for sender in range(len(graph.senders)):
        mask = graph.edge_mask.clone()
        mask[sender] = False
        circuits.append(circuits[0].with_edges(mask))
    ablation = SuppliedAblation(values, otherwise=ZeroAblation())
    found = evaluate_circuits(model, pairs, circuits, ablation=ablation, metric=metric)
    return (found[1:] - found[0]).abs().mean(1)


# layer norm; grouped queries with norms behind; parallel blocks; no MLPs
@pytest.mark.parametrize("name", ["gpt2", "gemma-2", "gpt-j", "native-attention-only"])
def test_importances_are_the_distances_of_runs_without_the_sender(name, tmp_path, pairs, metric):
    model = make_family(name, tmp_path)
    found = train_constants(model, pairs, metric, FEW, Work())
    expected = distances_by_circuits(model, pairs, metric, found.values)
    torch.testing.assert_close(found.importances.values, expected, **CLOSE)


def test_constants_start_at_the_mean_over_all_real_tokens(toy, pairs, metric):
    found = train_constants(toy, pairs, metric, UNTRAINED, Work())
    clean = record(toy, pairs.clean_batch)[0]
    for name, write in (
        ("input", clean.input),
        ("a1.h2", clean.z[1][:, :, 2]),
        ("m2", clean.mlp[2]),
    ):
        torch.testing.assert_close(found.values[name], write[pairs.mask].mean(0))
    assert torch.equal(found.importances.values, found.at_mean.values)


def test_trained_constants_do_better_than_the_mean_and_than_zero(toy, pairs, metric, trained):
    at_best, at_mean = trained.importances.values, trained.at_mean.values
    assert bool((at_best <= at_mean).all())
    assert at_best.sum() < 0.7 * at_mean.sum()
    zeros = {name: torch.zeros_like(value) for name, value in trained.values.items()}
    at_zero = distances_by_circuits(toy, pairs, metric, zeros)
    assert bool((at_best <= at_zero).all())


def test_the_gradient_is_that_of_finite_differences(toy, pairs, metric):
    start = train_constants(toy, pairs, metric, UNTRAINED, Work()).values
    constants = list(start.values())
    found = _distances(toy, pairs, metric, constants, None)
    for sender in (0, 3, 5, 6, 15):
        ends = []
        for sign in (1, -1):
            moved = [c.clone() for c in constants]
            moved[sender][1] += sign * 1e-6
            ends.append(_distances(toy, pairs, metric, moved, None).values[sender])
        slope = float(ends[0] - ends[1]) / 2e-6
        assert float(found.gradients[sender][1]) == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_a_component_that_writes_nothing_matters_for_nothing(tmp_path, pairs, metric):
    plain = GPT2LMHeadModel.from_pretrained(save_toy(tmp_path))
    block = plain.transformer.h[1]
    with torch.no_grad():
        block.mlp.c_proj.weight.zero_()
        block.mlp.c_proj.bias.zero_()
        block.attn.c_proj.weight[5:10].zero_()  # what head 1 writes with
    plain.save_pretrained(tmp_path)
    model = load_model(tmp_path, dtype=torch.float64)
    importances = component_importances(model, pairs, metric, FEW).by_name()
    idle = {name for name, value in importances.items() if value < 1e-12}
    assert idle == {"m1", "a1.h1"}
    scores = FEW.score_edges(model, pairs, metric, Work())
    for name, score in zip(model.graph.edge_names, scores.by_edge().tolist(), strict=True):
        is_idle = name.startswith(("m1->", "a1.h1->")) or name.endswith(("->m1", "->a1.h1<v>"))
        assert abs(score) < 1e-12 or not is_idle


def test_edges_score_the_mean_effect_of_reading_the_constant(toy, pairs, metric):
    found = train_constants(toy, pairs, metric, FEW, Work())
    scores = FEW.score_edges(toy, pairs, metric, Work())
    ablation = SuppliedAblation(found.values, otherwise=ZeroAblation())
    full = Circuit.full(toy.graph)
    for name in ("input->a0.h1<v>", "a0.h2->m1", "m2->logits", "a1.h3->a2.h0<q>"):
        without = toy.graph.edge_mask & ~toy.graph.mask_of([name])
        values = evaluate_circuits(
            toy, pairs, [full, full.with_edges(without)], ablation=ablation, metric=metric
        )
        expected = float((values[0] - values[1]).mean())
        assert float(scores.by_edge()[toy.graph.edge_number(name)]) == pytest.approx(expected)
    # all that the last MLP does goes through one edge
    last = measure_edges(toy, pairs, ["m2->logits"], metric, ablation=ablation).effects
    assert float(last.abs().mean()) == pytest.approx(found.importances.by_name()["m2"])
    assert scores.values.min() < 0 < scores.values.max()


def test_the_divergence_from_the_clean_run_is_its_own_distance(toy, pairs):
    found = train_constants(toy, pairs, KLDivergence(), FEW, Work())
    expected = distances_by_circuits(toy, pairs, KLDivergence(), found.values)
    torch.testing.assert_close(found.importances.values, expected, **CLOSE)


def test_results_do_not_depend_on_memory_or_the_order_of_pairs(toy, pairs, metric):
    whole = train_constants(toy, pairs, metric, FEW, Work())
    shuffled = pairs.select([3, 0, 5, 1, 4, 2])
    for other in (
        train_constants(toy, pairs, metric, FEW, Work(memory=400_000)),
        train_constants(toy, shuffled, metric, FEW, Work()),
    ):
        assert other.values.keys() == whole.values.keys()
        for name, value in whole.values.items():
            torch.testing.assert_close(other.values[name], value, **CLOSE)
        torch.testing.assert_close(other.importances.values, whole.importances.values, **CLOSE)


def test_model_and_global_random_numbers_are_left_as_they_were(toy, pairs, metric):
    before, state = fingerprint(toy), torch.get_rng_state()
    FEW.score_edges(toy, pairs, metric, Work())
    assert fingerprint(toy) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_trained_is_refused(toy, pairs):
    with pytest.raises(MethodError, match="must have a gradient, got 'accuracy'"):
        FEW.score_edges(toy, pairs, Accuracy(), Work())
    for setting in ({"steps": -1}, {"learning_rate": 0.0}):
        with pytest.raises(MethodError, match="steps must be at least 0 and learning_rate above 0"):
            replace(FEW, **setting)
