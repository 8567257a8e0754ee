"""Drawn edges held against the real model, on a model made by hand whose truth takes two hops.

Layer 0 finds AND and NOR of two signs, layer 1 their sum (XNOR), which alone is read by the logits.
A cross-layer transcoder can leave layer 1 out: its features of layer 0 write XNOR themselves.
"""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from circuitkit.attribution.attribute import GraphSettings, attribute
from circuitkit.attribution.checks import check_edges, control_graphs
from circuitkit.attribution.interventions import intervene
from circuitkit.attribution.transcoders import Transcoder, Transcoders
from circuitkit.errors import CriterionError, MemoryBudgetError, MethodError
from circuitkit.model import from_hf

D, SCALE = 16, 5.0
SIGNS = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
READ = [-0.4, -0.2, 0.2, 0.4, -0.6, 0.6]  # how much each logit reads of XNOR
ALL = GraphSettings(first=0)


def pair(place, value=1.0):
    """Return a direction that leaves the mean as it is."""
    out = torch.zeros(D, dtype=torch.float64)
    out[place], out[place + 1] = value, -value
    return out


@pytest.fixture(scope="module")
def model():
    config = GPT2Config(
        vocab_size=6, n_positions=4, n_embd=D, n_layer=2, n_head=1, n_inner=2,
        activation_function="relu", tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    hf = GPT2LMHeadModel(config).double().eval()
    with torch.no_grad():
        for p in hf.parameters():
            p.zero_()
        for norm in [hf.transformer.ln_f, *[n for b in hf.transformer.h for n in (b.ln_1, b.ln_2)]]:
            norm.weight.fill_(1)
        for token, (x, y) in enumerate(SIGNS):
            hf.transformer.wte.weight[token] = pair(0, x) + pair(2, y) + pair(12, 2 * SCALE)
        first, second = (block.mlp for block in hf.transformer.h)
        first.c_fc.weight[:] = SCALE * torch.stack([pair(0) + pair(2), -pair(0) - pair(2)], 1)
        first.c_fc.bias.fill_(-1)
        first.c_proj.weight[:] = torch.stack([pair(6), pair(8)])
        second.c_fc.weight[:, 0] = pair(6) + pair(8)
        second.c_proj.weight[0] = pair(10, 3)
        hf.lm_head.weight[:, 10] = torch.tensor(READ)
    return from_hf(hf)


def transcoders(model, *, shortcut):
    """Return the MLPs themselves as transcoders, or layer 1 told by layer 0's features alone."""
    first, second = (block.mlp for block in model.bridge.original_model.transformer.h)
    layers = []
    for mlp in (first, second):
        weights = [
            mlp.c_fc.weight.T,
            mlp.c_fc.bias,
            mlp.c_proj.weight.unsqueeze(1),
            mlp.c_proj.bias,
        ]
        layers.append(Transcoder(*(w.detach().clone() for w in weights)))
    if shortcut:
        one = layers[0]
        _, seen = mlp_outputs(model)
        direct = seen / values_of(model)
        layers[0] = Transcoder(
            one.encoder, one.encoder_bias,
            torch.stack([one.decoder[:, 0], direct.expand(2, -1)], 1), one.decoder_bias,
        )  # fmt: skip
        layers[1] = Transcoder(*(torch.zeros_like(w) for w in weights))
    return Transcoders(tuple(layers), "mlp", "shortcut" if shortcut else "the MLPs")


def mlp_outputs(model):
    run = attribute(model, [0], transcoders(model, shortcut=False), ALL).run
    return [each.mlp_out[0] for each in run.layers]


def values_of(model):
    return attribute(model, [0], transcoders(model, shortcut=False), ALL).run.layers[0].values.max()


def test_a_relu_mlp_as_its_own_transcoder_has_no_error_and_its_features_are_its_neurons(model):
    graph = attribute(model, [3, 1, 0], transcoders(model, shortcut=False), ALL)
    assert float(torch.stack([graph.run.error(i) for i in range(2)]).abs().max()) < 1e-12
    assert graph.replacement_score == pytest.approx(1)
    assert [n.name for n in graph.nodes[:4]] == ["L0.p0.f1", "L0.p2.f0", "L1.p0.f0", "L1.p2.f0"]


def test_a_one_hop_shortcut_of_a_two_hop_truth_is_told_although_all_its_scores_are_perfect(model):
    graph = attribute(model, [0], transcoders(model, shortcut=True), ALL)
    assert graph.replacement_score == pytest.approx(1)
    assert graph.completeness_score == pytest.approx(1)
    found = check_edges(graph)
    direct, own, live = (found.of(mode).measured for mode in ("direct", "own write", "live"))
    torch.testing.assert_close(direct, found.predicted)
    assert float(found.predicted.abs().min()) > 0.02
    assert float(own.abs().max()) < 0.2 * float(found.predicted.abs().min())
    assert bool((live * found.predicted > 0).all())
    assert len(found.skipping) == len(found.edges) == 6
    assert "6 edges are no single hop" in found.summary()


def test_the_two_hop_truth_is_not_said_to_skip_an_mlp(model):
    graph = attribute(model, [0], transcoders(model, shortcut=False), ALL)
    found = check_edges(graph)
    assert found.skipping == ()
    assert "no single hop" not in found.summary()
    own = [edge for edge in found.edges if graph.nodes[edge[0]].layer == 0]
    assert [graph.nodes[t].name for _, t in own] == ["L1.p0.f0"]
    assert found.of("direct").holding.value == 1
    assert found.of("direct").rank_correlation.value == pytest.approx(1)


def test_permuted_and_random_dictionaries_explain_less_with_as_many_active_features(model):
    graph = attribute(model, [0, 3, 1, 0], transcoders(model, shortcut=False), ALL)
    controls = control_graphs(graph, ALL)
    assert set(controls) == {"permuted", "random"}
    for control in controls.values():
        assert control.completeness_score < graph.completeness_score - 0.05
    assert len(controls["permuted"].active) == len(graph.active)


def test_what_cannot_be_changed_is_refused(model):
    graph = attribute(model, [0], transcoders(model, shortcut=False), ALL)
    with pytest.raises(MethodError, match="must be features of the graph, below 2, got"):
        intervene(graph, [2], 0.0, "direct")
    with pytest.raises(MethodError, match="'sideways': must be one of"):
        intervene(graph, [0], 0.0, "sideways")
    with pytest.raises(CriterionError, match="at least 3 drawn edges"):
        check_edges(attribute(model, [1], transcoders(model, shortcut=False), ALL))


def test_too_little_memory_is_told_with_the_number_of_features_that_fit(model):
    given = transcoders(model, shortcut=False)
    with pytest.raises(MemoryBudgetError, match=r"4 features of 3 tokens .* 2 features fit"):
        attribute(model, [3, 1, 0], given, GraphSettings(first=0, memory=17**2 * 32))
    fits = GraphSettings(first=0, memory=17**2 * 32, most_features=2)
    assert len(attribute(model, [3, 1, 0], given, fits).chosen) == 2
