"""Attribution graphs against those recorded of the field's own tool, in float64."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from circuitkit.attribution.attribute import GraphSettings, attribute
from circuitkit.attribution.files import read_transcoders
from circuitkit.attribution.influence import edge_influence
from circuitkit.attribution.interventions import intervene
from circuitkit.attribution.targets import token_difference
from circuitkit.zoo import load_model

ORACLES = Path(__file__).parents[3] / "shared" / "oracles" / "dictionaries" / "circuit_tracer"
ALL = ["plt", "plt_skip", "plt_topk", "plt_zeroed", "clt", "clt_relu", "clt_zeroed"]
pytestmark = pytest.mark.skipif(not ORACLES.exists(), reason="oracles are not here")


@cache
def model_of(kind):
    return load_model(ORACLES / ("model_zeroed" if "zeroed" in kind else "model"))


def oracle(kind, name="graph"):
    return dict(np.load(ORACLES / kind / f"{name}.npz")), json.loads(
        (ORACLES / kind / f"{name}.json").read_text()
    )


@cache
def graph_of(kind, name="graph", with_constant=False):
    arrays, _ = oracle(kind, name)
    settings = GraphSettings(first=0 if name.endswith("kept") else 1, with_constant=with_constant)
    if name == "graph_limited_features":
        settings = GraphSettings(most_features=len(arrays["selected_features"]), turn=4)
    tokens = arrays["tokens"].tolist()
    options = {}
    if name == "graph_logit_difference":
        first, second = np.argsort(-arrays["logits"][-1])[:2].tolist()
        options["targets"] = lambda run: token_difference(run, first, second)
    return attribute(model_of(kind), tokens, read_transcoders(ORACLES / kind), settings, **options)


def equal(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-10)


CASES = [(kind, "graph") for kind in ALL]
CASES += [(kind, "graph_limited_features") for kind in ("plt", "clt")]
CASES += [(kind, "graph_logit_difference") for kind in ("plt", "clt")]
CASES += [(kind, "graph_position0_kept") for kind in ("plt_zeroed", "clt_zeroed")]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_edges_influence_pruning_and_scores_are_those_of_the_published_tool(kind, name):
    arrays, scores = oracle(kind, name)
    graph = graph_of(kind, name)
    np.testing.assert_array_equal(graph.active.index, arrays["active_features"])
    equal(graph.active.values, arrays["activation_values"])
    np.testing.assert_array_equal(graph.chosen, arrays["selected_features"])
    equal(graph.logits.vectors, arrays["logit_vectors"])
    equal(graph.logits.weights, arrays["logit_probabilities"])
    equal(graph.matrix(), arrays["adjacency"])
    equal(graph.influence, arrays["node_influence"])
    equal(edge_influence(graph.matrix(), graph.weights), arrays["edge_influence"])
    drawn = graph.pruned()
    np.testing.assert_array_equal(drawn.nodes, arrays["prune_node_mask"])
    np.testing.assert_array_equal(drawn.edges, arrays["prune_edge_mask"])
    equal(drawn.cumulative, arrays["prune_cumulative_scores"])
    equal(graph.replacement_score, scores["replacement_score"])
    equal(graph.completeness_score, scores["completeness_score"])
    if name != "graph_logit_difference":
        assert [node.name for node in graph.nodes] == scores["node_names"]


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, n in CASES if "limited" not in n])
def test_a_row_with_its_constant_sums_to_what_the_target_reads(kind, name):
    graph = graph_of(kind, name)
    run = graph.run
    layer, pos, feature = graph.active.index.T
    reads = torch.stack(
        [run.layers[i].pre[j, k] for i, j, k in zip(layer, pos, feature, strict=True)]
    )
    biases = torch.stack(
        [run.transcoders.layers[i].encoder_bias[k] for i, k in zip(layer, feature, strict=True)]
    )
    n = graph.sizes.features
    equal(graph.rows[:n].sum(1), reads - biases)
    equal(graph.rows[n:].sum(1), graph.logits.vectors @ run.model.final_norm(run.final))
    if name == "graph_position0_kept":
        equal(graph.constants, np.zeros(len(graph.constants)))
    else:
        assert float(graph.constants.abs().max()) > 0.1


def numbers_of(graph, features):
    index = graph.active.index[graph.chosen].tolist()
    return [index.index(each) for each in features.tolist()]


@pytest.mark.parametrize("kind", ["plt", "clt"])
@pytest.mark.parametrize(("state", "factor"), [("zero", 0.0), ("double", 2.0)])
@pytest.mark.parametrize("mode", ["direct", "iterative"])
def test_changing_a_feature_in_the_real_model_does_what_the_published_tool_measured(
    kind, state, factor, mode
):
    graph, arrays = graph_of(kind), dict(np.load(ORACLES / kind / "interventions.npz"))
    before, _ = oracle(kind)
    sources = numbers_of(graph, arrays["features"])
    found = intervene(graph, sources, factor, mode)
    layer, pos, feature = graph.active.index.T.numpy()
    for row in range(len(sources)):
        after = arrays[f"{state}/{mode}/preactivations/{row}"] - before["preactivations"]
        equal(found.features[row], after[layer, pos, feature])
        logits = (arrays[f"{state}/{mode}/logits/{row}"] - before["logits"])[-1]
        ids = before["logit_token_ids"]
        equal(found.logits[row], logits[ids] - logits.mean())


@pytest.mark.parametrize("kind", ["plt", "plt_skip", "clt"])
def test_with_all_held_a_feature_that_is_taken_away_moves_its_targets_by_its_column(kind):
    graph = graph_of(kind)
    n = graph.sizes.features
    found = intervene(graph, list(range(n)), 0.0, "direct").joined()
    equal(found, -graph.rows[:, :n].T)
