"""Circuits whose edges live at columns: the identities, against brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import READS
from circuitkit.circuits.whole_edges import at_every_column, everywhere
from circuitkit.discovery.at_columns import score_at_columns
from circuitkit.discovery.eap import EAP
from circuitkit.discovery.eap_ig import EAPIG
from circuitkit.discovery.exact import ExactEdges
from circuitkit.discovery.methods import method_named
from circuitkit.discovery.relp import RelP
from circuitkit.errors import MethodError, PromptError
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.edge_columns import column_graph, columns_on
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference
from circuitkit.model import hook_points
from circuitkit.model.attention import per_head
from circuitkit.model.recording import record_run, sender_outputs
from circuitkit.model.runs import whole_run
from tests.families import make_family

EXACT = {"rtol": 1e-10, "atol": 1e-10}
SOME = ("gpt2", "gpt-j", "native-attention-only", "llama")


@pytest.fixture(scope="module", params=SOME)
def family(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def level_pairs(pairs):
    longest = int(pairs.lengths.max())
    return pairs.select([row for row, n in enumerate(pairs.lengths.tolist()) if n == longest])


def evaluate(model, pairs, circuits, ablation):
    return evaluate_circuits(model, pairs, circuits, ablation=ablation, metric=LogitDifference())


def ablations(pairs):
    return {"mean": MeanAblation(pairs), "zero": ZeroAblation(), "resample": ResampleAblation()}


def random_circuits(graph, n, seed=0, share=0.5):
    rng = np.random.default_rng(seed)
    full = graph.edge_mask.numpy()
    masks = [full & (rng.random(full.shape) < share) for _ in range(n)]
    return [Circuit.full(graph).with_edges(torch.tensor(mask)) for mask in masks]


@pytest.mark.parametrize("name", ["mean", "zero", "resample"])
def test_all_columns_of_the_edges_of_a_circuit_are_the_circuit(family, pairs, name):
    graph = column_graph(family.graph, pairs, "roles")
    whole = [
        *random_circuits(family.graph, 4),
        Circuit.full(family.graph),
        Circuit.empty(family.graph),
    ]
    cut = [at_every_column(circuit, graph) for circuit in whole]
    ablation = ablations(pairs)[name]
    values = evaluate(family, pairs, whole, ablation)
    torch.testing.assert_close(evaluate(family, pairs, cut, ablation), values, **EXACT)
    assert [everywhere(circuit).edges for circuit in cut] == [circuit.edges for circuit in whole]


def test_a_circuit_at_columns_is_not_that_of_its_edges_everywhere(family, pairs):
    graph = column_graph(family.graph, pairs, "roles")
    some = random_circuits(graph, 3)
    own = evaluate(family, pairs, some, ResampleAblation())
    whole = evaluate(family, pairs, [everywhere(circuit) for circuit in some], ResampleAblation())
    assert (own - whole).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["mean", "zero", "resample"])
def test_circuits_at_columns_together_are_each_alone_whatever_fits(family, pairs, name):
    graph = column_graph(family.graph, pairs, "roles")
    some = [*random_circuits(graph, 4), Circuit.full(family.graph)]
    some.append(some[0].with_edges(some[0].edge_mask & some[1].edge_mask))
    ablation = ablations(pairs)[name]
    together = evaluate(family, pairs, some, ablation)
    for circuit, values in zip(some, together, strict=True):
        [alone] = evaluate(family, pairs, [circuit], ablation)
        torch.testing.assert_close(values, alone, **EXACT)
    small = evaluate_circuits(
        family, pairs, some, ablation=ablation, metric=LogitDifference(), memory=3_000_000
    )
    torch.testing.assert_close(small, together, **EXACT)


def by_hand(model, pairs, edge, mask):
    """Return the metric when what a receiver reads is changed at some positions, by a hook."""
    graph = model.graph
    sender, receiver = graph.edge_index[graph.edge_number(edge)].tolist()
    runs = [whole_run(model, batch) for batch in (pairs.clean_batch, pairs.corrupted_batch)]
    clean, corrupted = (sender_outputs(model, record_run(model, run)[0]) for run in runs)
    shape = runs[0].entering.shape
    change = (corrupted - clean)[sender].reshape(shape) * mask.unsqueeze(-1)
    layer = graph.layer_of_receiver(receiver)
    entered = {}

    def keep(x):
        entered[layer] = x

    def project(x):
        read, head = divmod(receiver - graph.first_receiver(layer), graph.n_heads)
        attention = model.layers[layer].attention
        own = per_head(attention.project(entered[layer] + change)[read], graph.n_heads)
        heads = per_head(x, graph.n_heads).clone()
        heads[:, :, head] = own[:, :, head]
        return heads.reshape(x.shape) if x.shape != heads.shape else heads

    if layer == graph.n_layers:
        at = pairs.label_pos
        rows = torch.arange(len(pairs))
        hooks = {hook_points.FINAL_NORM_IN: lambda x: x + change[rows, at].reshape(x.shape)}
    elif receiver == graph.mlp_receiver(layer) and graph.has_mlps:
        hooks = {hook_points.mlp_in(layer): lambda x: x + change}
    else:
        read = READS[(receiver - graph.first_receiver(layer)) // graph.n_heads]
        hooks = {hook_points.resid_pre(layer): keep, hook_points.projection(layer, read): project}
    with torch.no_grad():
        logits = model.run_from(runs[0].entering, runs[0].context, hooks, last_at_label=False)
    return LogitDifference().values(logits, pairs.labels)


def test_the_exact_effect_at_a_column_is_that_of_patching_the_read_there(toy, pairs):
    graph = column_graph(toy.graph, pairs, "roles")
    columns = columns_on(graph, pairs)
    scores = score_at_columns(
        ExactEdges(), toy, pairs, LogitDifference(), Work(ResampleAblation()), graph
    )
    full = Circuit.full(graph)
    names = graph.edge_names[::17]
    runs = evaluate(
        toy, pairs, [full, *(full.without_edges([n]) for n in names)], ResampleAblation()
    )
    seen = 0
    for name, run in zip(names, runs[1:], strict=True):
        edge, _, column = name.partition("@")
        mask = columns.masks[columns.names.index(column)]
        expected = by_hand(toy, pairs, edge, mask)
        torch.testing.assert_close(run, expected.double(), **EXACT)
        score = float(scores.by_edge()[graph.edge_number(name)])
        assert score == pytest.approx(float((runs[0] - expected).mean()), abs=1e-10)
        seen += abs(score) > 1e-4
    assert seen > 5


@pytest.mark.parametrize("method", [EAP(), EAPIG(), RelP()], ids=lambda method: method.name)
@pytest.mark.parametrize("by", ["roles", "positions"])
def test_scores_at_columns_add_up_to_those_of_the_edges(toy, level_pairs, method, by):
    graph = column_graph(toy.graph, level_pairs, by)
    given = (toy, level_pairs, LogitDifference(), Work(ResampleAblation()))
    at_columns = score_at_columns(method, *given, graph)
    whole = method.score_edges(*given)
    torch.testing.assert_close(at_columns.values.sum(0), whole.values, **EXACT)
    assert (at_columns.values != 0).any(-1).any(-1).sum() > 1


def test_a_method_that_scores_whole_edges_says_so(toy, pairs):
    graph = column_graph(toy.graph, pairs, "roles")
    with pytest.raises(MethodError, match="'acdc': must be able to score by position"):
        score_at_columns(
            method_named("acdc"), toy, pairs, LogitDifference(), Work(ResampleAblation()), graph
        )


def test_numbers_of_positions_need_prompts_of_one_length(toy, pairs):
    assert len(set(pairs.lengths.tolist())) > 1
    with pytest.raises(PromptError, match="columns by positions: prompts must be equally long"):
        column_graph(toy.graph, pairs, "positions")


def test_other_columns_are_refused(toy, level_pairs):
    by_roles = column_graph(toy.graph, level_pairs, "roles")
    fewer = replace(by_roles, columns=by_roles.columns[1:])
    with pytest.raises(PromptError, match="columns: every token must be in one of"):
        columns_on(fewer, level_pairs)
    more = replace(by_roles, columns=("Z", *by_roles.columns))
    with pytest.raises(PromptError, match="columns by roles: every pair must have the roles"):
        columns_on(more, level_pairs)
    elsewhere = replace(by_roles, read_at=by_roles.columns[:1])
    with pytest.raises(PromptError, match="columns: answers must be read at"):
        columns_on(elsewhere, level_pairs)
    numbered = column_graph(toy.graph, level_pairs, "positions")
    longer = replace(numbered, columns=(*numbered.columns, "99"))
    with pytest.raises(PromptError, match="columns: prompts must have"):
        columns_on(longer, level_pairs)
    with pytest.raises(MethodError, match="columns 'words': must be one of roles, positions"):
        column_graph(toy.graph, level_pairs, "words")
