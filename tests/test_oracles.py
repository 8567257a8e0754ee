"""Agreement with numbers recorded from EAP-IG, auto-circuit and TransformerLens 2 (tests/data)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from circuitkit.circuit import Circuit
from circuitkit.discovery import eap
from circuitkit.discovery.selection import prune_dead_ends, select_top
from circuitkit.interventions.ablation import (
    Ablation,
    MeanAblation,
    ResampleAblation,
    ZeroAblation,
)
from circuitkit.interventions.columns import all_positions, by_position
from circuitkit.interventions.patching import Direction, patch_activations
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.sites import site_named
from circuitkit.zoo import load_model

CLOSE = 1e-8
DATA = Path(__file__).parent / "data" / "tiny-gpt2"


def without(graph, edge):
    return Circuit(graph, graph.edge_mask & ~graph.mask_of([edge]), Circuit.full(graph).scores)


def test_model_and_empty_circuit_give_the_recorded_metrics(tiny_gpt2, tiny_pairs, metric, oracle):
    recorded = oracle("eapig_f64")
    graph = tiny_gpt2.graph
    values = evaluate_circuits(
        tiny_gpt2,
        tiny_pairs,
        [Circuit.full(graph), Circuit.empty(graph)],
        ablation=ResampleAblation(),
        metric=metric,
    ).numpy()
    np.testing.assert_allclose(values[0], recorded["metric_clean"], atol=CLOSE, rtol=0)
    np.testing.assert_allclose(values[1], recorded["metric_corrupted"], atol=CLOSE, rtol=0)


def test_eap_scores_are_those_of_eap_ig_with_opposite_sign(tiny_gpt2, tiny_pairs, metric, oracle):
    scores = eap.score_edges(tiny_gpt2, tiny_pairs, metric).values.numpy()
    expected = -oracle("eapig_f64")["edge/EAP_patching"]
    np.testing.assert_allclose(scores, expected, atol=CLOSE, rtol=0)


def test_eap_scores_are_those_of_auto_circuit(tiny_gpt2, tiny_pairs, metric, oracle):
    scores = eap.score_edges(tiny_gpt2, tiny_pairs, metric)
    names = json.loads((DATA / "autocircuit_f64.json").read_text())["edge_names"]
    by_name = dict(zip(scores.graph.edge_names, scores.by_edge().tolist(), strict=True))
    mine = np.array([by_name[name] for name in names])
    expected = oracle("autocircuit_f64")["edge/mask_gradient_EAP"]
    np.testing.assert_allclose(mine, expected, atol=CLOSE, rtol=0)


def test_eap_with_mean_ablation_is_that_of_eap_ig(
    tiny_gpt2, tiny_pairs, tiny_reference, metric, oracle
):
    scores = eap.score_edges(
        tiny_gpt2, tiny_pairs, metric, ablation=MeanAblation(tiny_reference)
    ).values.numpy()
    expected = -oracle("eapig_f64")["edge/EAP_mean-positional"]
    np.testing.assert_allclose(scores, expected, atol=CLOSE, rtol=0)


def test_eap_with_zero_ablation_agrees_where_input_means_the_same(
    tiny_gpt2, tiny_pairs, metric, oracle
):
    scores = eap.score_edges(tiny_gpt2, tiny_pairs, metric, ablation=ZeroAblation()).values
    eap_ig = -oracle("eapig_f64")["edge/EAP_zero"]
    np.testing.assert_allclose(scores.numpy()[1:], eap_ig[1:], atol=CLOSE, rtol=0)
    names = json.loads((DATA / "autocircuit_f64.json").read_text())["edge_names"]
    auto_circuit = oracle("autocircuit_f64")["edge/mask_gradient_EAP_zero"]
    at = [tiny_gpt2.graph.edge_number(name) for name in names]
    rows = tiny_gpt2.graph.edge_index[at]
    mine = scores[rows[:, 0], rows[:, 1]].numpy()
    np.testing.assert_allclose(mine, auto_circuit, atol=CLOSE, rtol=0)


def test_eap_scores_in_float32_agree_with_those_recorded_in_float32(tiny_pairs, metric, oracle):
    model = load_model(DATA / "model", dtype=torch.float32)
    scores = eap.score_edges(model, tiny_pairs, metric).values.numpy()
    expected = -oracle("eapig_f32")["edge/EAP_patching"]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_removing_each_edge_has_the_recorded_exact_effect(tiny_gpt2, tiny_pairs, metric, oracle):
    graph = tiny_gpt2.graph
    circuits = [Circuit.full(graph), *(without(graph, name) for name in graph.edge_names)]
    values = evaluate_circuits(
        tiny_gpt2, tiny_pairs, circuits, ablation=ResampleAblation(), metric=metric
    ).numpy()
    expected = oracle("eapig_f64")["edge_perprompt/exact_patching_freshgraph"]
    np.testing.assert_allclose(values[1:] - values[0], expected, atol=CLOSE, rtol=0)


def test_zeroing_each_edge_has_the_effect_recorded_by_auto_circuit(
    tiny_gpt2, tiny_pairs, metric, oracle
):
    graph = tiny_gpt2.graph
    names = json.loads((DATA / "autocircuit_f64.json").read_text())["edge_names"]
    circuits = [Circuit.full(graph), *(without(graph, name) for name in names)]
    values = evaluate_circuits(
        tiny_gpt2, tiny_pairs, circuits, ablation=ZeroAblation(), metric=metric
    ).numpy()
    expected = oracle("autocircuit_f64")["edge_perprompt/exact_zero"]
    np.testing.assert_allclose(values[1:] - values[0], expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("entry", range(10))
def test_top_n_circuits_have_the_recorded_metrics_under_each_ablation(
    tiny_gpt2, tiny_pairs, tiny_reference, metric, entry
):
    recorded = json.loads((DATA / "eapig_circuits_f64.json").read_text())["topn_absEAP"][entry]
    scores = eap.score_edges(tiny_gpt2, tiny_pairs, metric)
    circuit = select_top(scores, recorded["n"])
    assert set(circuit.edges) == set(recorded["edges_topn"])
    pruned = prune_dead_ends(circuit)
    assert set(pruned.edges) == set(recorded["edges_after_prune"])
    ablations: dict[str, Ablation] = {
        "patching": ResampleAblation(),
        "mean-positional": MeanAblation(tiny_reference),
    }
    for key, ablation in ablations.items():
        [values] = evaluate_circuits(
            tiny_gpt2, tiny_pairs, [pruned], ablation=ablation, metric=metric
        ).numpy()
        np.testing.assert_allclose(values, recorded[key], atol=CLOSE, rtol=0)


def test_kept_edges_have_the_metrics_recorded_by_auto_circuit(tiny_pairs, tiny_reference, metric):
    model = load_model(DATA / "model", dtype=torch.float32)
    data = json.loads((DATA / "autocircuit_f32.json").read_text())
    for kind, ablation in [("RESAMPLE", ResampleAblation()), ("ZERO", ZeroAblation())]:
        for n, recorded in data["circuits"][f"TREE_PATCH/{kind}"].items():
            circuit = Circuit.of_edges(model.graph, data["circuit_edges_topn"][n])
            [values] = evaluate_circuits(
                model, tiny_pairs, [circuit], ablation=ablation, metric=metric
            ).numpy()
            np.testing.assert_allclose(values, recorded, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    ("site", "key"), [("resid", "resid_pre"), ("attn", "attn_out"), ("mlp", "mlp_out")]
)
def test_patched_layers_give_the_metrics_of_transformer_lens(
    tiny_gpt2, tiny_pairs, metric, oracle, direction, site, key
):
    recorded = oracle("tl2_patching")
    effects = patch_activations(
        tiny_gpt2,
        tiny_pairs,
        site_named(site),
        by_position(tiny_pairs),
        metric=metric,
        direction=direction,
    ).effects.mean(-1)
    patched = as_metric(effects.numpy(), recorded, direction)
    # recorded in float32, so no closer than its rounding
    expected = recorded[f"get_act_patch_{key}/{short(direction)}"]
    np.testing.assert_allclose(patched, expected, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("direction", list(Direction))
def test_patched_heads_give_the_metrics_of_transformer_lens(
    tiny_gpt2, tiny_pairs, metric, oracle, direction
):
    recorded = oracle("tl2_patching")
    for columns, key in [(by_position, "out_by_pos"), (all_positions, "out_all_pos")]:
        effects = patch_activations(
            tiny_gpt2,
            tiny_pairs,
            site_named("heads"),
            columns(tiny_pairs),
            metric=metric,
            direction=direction,
        ).effects.mean(-1)
        patched = as_metric(effects.numpy(), recorded, direction).reshape(2, 4, -1)
        expected = recorded[f"get_act_patch_attn_head_{key}/{short(direction)}"]
        if key == "out_by_pos":
            patched = patched.transpose(0, 2, 1)
        np.testing.assert_allclose(patched.reshape(expected.shape), expected, atol=1e-7, rtol=1e-6)


def short(direction: Direction) -> str:
    return "noise" if direction is Direction.NOISING else "denoise"


def as_metric(effects, recorded, direction):
    if direction is Direction.NOISING:
        return recorded["metric_clean"] - effects
    return recorded["metric_corrupted"] + effects
