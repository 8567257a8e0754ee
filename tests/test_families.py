"""The identities of the engine, over every family, in float64, on padded batches.

Everything is computed in the model's own float64, so they hold to rounding in every family. (The
rotary tables alone are Hugging Face's float32 ones: they are the same in every run.) What each
family's own code computes is compared when it is loaded, within the float32 that it uses inside.
"""

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import atp, eap, eap_ig
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.path_patching import MLPs, PatchedPath, patch_paths
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.sites import site_named
from circuitkit.metrics import LogitDifference
from circuitkit.model.recording import record
from circuitkit.prompts.columns import all_positions, by_position
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import Nearly, fingerprint, random_pairs, residual_gaps
from tests.families import FAMILIES, PARALLEL, SPARSE, STRUCTURES, VARIED, make_family

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
METRIC = LogitDifference()


PARAMS = [
    name if name in STRUCTURES else pytest.param(name, marks=pytest.mark.without_shapes)
    for name in FAMILIES
]


@pytest.fixture(scope="module", params=PARAMS)
def family(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


def evaluate(model, pairs, circuits, ablation=None):
    return evaluate_circuits(
        model, pairs, circuits, ablation=ablation or ResampleAblation(), metric=METRIC
    )


def some_circuit(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(model.graph.edge_mask.shape, generator=generator) < 0.5
    full = Circuit.full(model.graph)
    return full.with_edges(chosen & model.graph.edge_mask)


def name_of(family):
    """The name of a family whose directory is called by it and a number."""
    return family.name.rpartition("/")[2].removesuffix("0")


def test_parallel_blocks_are_known_as_such(family):
    assert family.graph.parallel_attn_mlp == (name_of(family) in PARALLEL)


def test_senders_sum_to_the_residual_stream(family, pairs):
    assert all(gap < 1e-9 for gap in residual_gaps(family, pairs.clean_batch))


def test_full_circuit_is_the_clean_run_and_empty_the_corrupted_one(family, pairs):
    clean, corrupted = (
        METRIC.values(record(family, batch)[1], pairs.labels)
        for batch in (pairs.clean_batch, pairs.corrupted_batch)
    )
    full, empty = Circuit.full(family.graph), Circuit.empty(family.graph)
    values = evaluate(family, pairs, [full, empty])
    torch.testing.assert_close(values, torch.stack([clean, corrupted]), **CLOSE)
    for ablation in (ZeroAblation(), MeanAblation(pairs)):
        [values] = evaluate(family, pairs, [full], ablation)
        torch.testing.assert_close(values, clean, **CLOSE)


def test_noising_all_out_edges_of_a_component_equals_patching_it(family, pairs):
    graph = family.graph
    full = Circuit.full(graph)
    circuits = [full]
    for sender in range(1, len(graph.senders)):
        mask = graph.edge_mask.clone()
        mask[sender] = False
        circuits.append(full.with_edges(mask))
    values = evaluate(family, pairs, circuits)
    by_edges = dict(zip(graph.senders[1:], values[0] - values[1:], strict=True))
    patched = {}
    for site in ("heads", "mlp") if graph.has_mlps else ("heads",):
        effects = patch_activations(
            family, pairs, site_named(site), all_positions(pairs), metric=METRIC
        )
        patched |= dict(zip(effects.rows, effects.effects[:, 0], strict=True))
    assert patched.keys() == by_edges.keys()
    for name, effect in patched.items():
        torch.testing.assert_close(by_edges[name], effect, **CLOSE)


def test_identical_prompts_give_zero(family):
    same = tokenize_pairs(
        [
            PromptPair(p.clean, p.clean, p.answers, p.wrong_answers, template=p.template)
            for p in random_pairs()
        ]
    )
    # torch rounds some norms differently when it keeps a graph: zero to the last digits
    assert eap.score_edges(family, same, METRIC).values.abs().max() < 1e-14
    for site in ("heads", "q", "pattern"):
        effects = patch_activations(
            family, same, site_named(site), by_position(same), metric=METRIC
        ).effects
        assert effects.abs().max() == 0


def test_results_do_not_depend_on_batch_padding_or_order(family):
    raw = random_pairs(4)
    left = tokenize_pairs(raw)
    scores = eap.score_edges(family, left, METRIC).values
    circuit = some_circuit(family)
    [values] = evaluate(family, left, [circuit])
    names = family.graph.edge_names[::29]
    exact = measure_edges(family, left, names, METRIC).effects
    for other in (tokenize_pairs(raw, padding_side="right"), tokenize_pairs(raw, pad_token=11)):
        torch.testing.assert_close(eap.score_edges(family, other, METRIC).values, scores, **CLOSE)
        [found] = evaluate(family, other, [circuit])
        torch.testing.assert_close(found, values, **CLOSE)
    alone = [tokenize_pairs([pair]) for pair in raw]
    one_by_one = sum(eap.score_edges(family, pair, METRIC).values for pair in alone) / len(raw)
    torch.testing.assert_close(one_by_one, scores, **CLOSE)
    singly = torch.cat([evaluate(family, pair, [circuit])[0] for pair in alone])
    torch.testing.assert_close(singly, values, **CLOSE)
    by_pair = [measure_edges(family, pair, names, METRIC).effects for pair in alone]
    torch.testing.assert_close(torch.cat(by_pair, 1), exact, **CLOSE)


def test_several_circuits_in_a_batch_give_what_each_gives_alone(family, pairs):
    circuits = [some_circuit(family, seed) for seed in range(4)]
    together = evaluate(family, pairs, circuits, MeanAblation(pairs))
    alone = [evaluate(family, pairs, [circuit], MeanAblation(pairs))[0] for circuit in circuits]
    torch.testing.assert_close(together, torch.stack(alone), **CLOSE)
    assert together.std(0).min() > 1e-4


def test_exact_edges_are_the_circuits_without_them_and_frozen_paths(family, pairs):
    graph = family.graph
    names = graph.edge_names[:: 7 if name_of(family) in STRUCTURES else 17]
    full = Circuit.full(graph)
    circuits = [full.with_edges(full.edge_mask & ~graph.mask_of([name])) for name in names]
    for ablation in (ResampleAblation(), MeanAblation(pairs)):
        values = evaluate(family, pairs, [full, *circuits], ablation)
        exact = measure_edges(family, pairs, names, METRIC, ablation=ablation).effects
        torch.testing.assert_close(exact, values[0] - values[1:], **CLOSE)
    ends = [name.split("->") for name in names]
    paths = [PatchedPath((sender,), (receiver,)) for sender, receiver in ends]
    columns = all_positions(pairs)
    for direction in Direction:
        exact = measure_edges(family, pairs, names, METRIC, direction=direction).effects
        frozen = patch_paths(
            family, pairs, paths, METRIC, columns, mlps=MLPs.FROZEN, direction=direction
        ).effects[:, 0]
        torch.testing.assert_close(frozen, exact, **CLOSE)


def test_a_node_scores_the_sum_of_its_out_edges(family, pairs):
    by_edge = eap.score_edges(family, pairs, METRIC).values.sum(1).tolist()
    scores = atp.score_nodes(family, pairs, METRIC).by_name()
    for sender, total in zip(family.graph.senders, by_edge, strict=True):
        assert scores[sender] == pytest.approx(total, abs=1e-9)


@pytest.mark.without_shapes
@pytest.mark.parametrize("family", dict.fromkeys((*VARIED, *SPARSE)), indirect=True)
def test_integrated_gradients_are_complete_in_the_limit(family):
    """More midpoints bring the scores out of the input closer to the metric difference.

    Not where a router picks experts: the metric jumps when the choice changes, and no gradient
    sees a jump. That gradients are right is seen in every family by the slopes of exact effects.
    """
    if any(hasattr(layer.mlp.module, "experts") for layer in family.layers if layer.mlp):
        pytest.skip("routed experts: the metric is not continuous along the path")
    pairs = tokenize_pairs(random_pairs(2, lengths=(7,)))
    [full, empty] = evaluate(
        family, pairs, [Circuit.full(family.graph), Circuit.empty(family.graph)]
    ).mean(1)
    gaps = []
    for steps in (2, 64):
        path = eap_ig.IntegrationPath("inputs", steps, "midpoint")
        scores = eap_ig.score_edges(family, pairs, METRIC, path=path)
        gaps.append(abs(float(scores.values[0].sum() - (full - empty))))
    assert gaps[1] < 0.1 * gaps[0] or gaps[1] < 1e-3


def test_model_comes_back_as_it_was(family, pairs):
    before = fingerprint(family)
    weights = {name: tensor.clone() for name, tensor in family.bridge.state_dict().items()}
    eap.score_edges(family, pairs, METRIC)
    evaluate(family, pairs, [Circuit.empty(family.graph)])
    for site in ("heads", "neurons"):
        if site == "heads" or all(x.mlp and x.mlp.out_module for x in family.layers):
            columns = all_positions(pairs)
            patch_activations(family, pairs, site_named(site), columns, metric=METRIC)
    assert fingerprint(family) == before
    for name, tensor in family.bridge.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_scores_are_the_slopes_of_exact_effects(family):
    """With ablated values close to the clean ones, effects become first order: EAP is exact."""
    pairs = tokenize_pairs(random_pairs(2, lengths=(7,)))
    ablation = Nearly(1e-4)
    scores = eap.score_edges(family, pairs, METRIC, ablation=ablation).by_edge()
    graph = family.graph
    full = Circuit.full(graph)
    chosen = range(0, graph.n_edges, 3)
    circuits = [
        full.with_edges(full.edge_mask & ~graph.mask_of([graph.edge_names[i]])) for i in chosen
    ]
    values = evaluate(family, pairs, [full, *circuits], ablation).mean(1)
    exact = values[0] - values[1:]
    assert scores.abs().max() > 1e-5
    torch.testing.assert_close(
        scores[list(chosen)], exact, rtol=0, atol=3e-3 * float(scores.abs().max())
    )
