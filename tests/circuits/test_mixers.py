"""Graphs in which some layers have a mixer in place of heads."""

import json
from dataclasses import asdict
from itertools import combinations, product

import pytest
import torch

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.circuits.exchange import circuit_from_exchange, cytoscape_text, graphml_text
from circuitkit.circuits.file import circuit_from_json, circuit_to_json
from circuitkit.circuits.file_checks import n_edges_of
from circuitkit.circuits.graph import ComponentGraph, EdgeScores, component_of, read_of
from circuitkit.errors import CircuitFileError, GraphError
from circuitkit.reporting.dot import circuit_dot
from circuitkit.reporting.neuronpedia import neuronpedia_text

GRAPH = ComponentGraph(3, 2, 8, mixers=(0, 2))


def every_graph():
    for n_layers, n_heads, parallel, mlps in product((1, 3), (1, 3), (False, True), (False, True)):
        for n in range(n_layers + 1):
            for mixers in combinations(range(n_layers), n):
                yield ComponentGraph(n_layers, n_heads, 8, parallel, mlps, mixers)


@pytest.fixture
def circuit():
    """Every third edge, with scores that tell all edges apart."""
    mask = GRAPH.mask_of(GRAPH.edge_names[::3])
    scores = EdgeScores.of_edges(GRAPH, torch.arange(GRAPH.n_edges) / 7)
    scores = EdgeScores(GRAPH, torch.where(mask, scores.values, 0.0))
    return Circuit(GRAPH, mask, scores)


def test_a_mixer_is_one_sender_and_one_receiver_where_the_heads_would_be():
    assert GRAPH.senders == ("input", "r0", "m0", "a1.h0", "a1.h1", "m1", "r2", "m2")
    assert GRAPH.receivers[:2] == ("r0", "m0")
    assert GRAPH.receivers[-3:] == ("r2", "m2", "logits")
    assert [*GRAPH.head_places] == ["a1.h0", "a1.h1"]
    assert (kind_of("r2"), read_of("r2"), component_of("r2")) == ("mixer", "mixer", "r2")
    assert "m1->r2" in GRAPH.edge_names
    assert "r2->m2" in GRAPH.edge_names
    assert "m2->r2" not in GRAPH.edge_names
    assert "without heads in layers 0, 2" in str(GRAPH)
    with pytest.raises(GraphError, match=r"Heads are a1.h0 to a1.h1\."):
        GRAPH.place_of_head("r0")


def test_numbers_of_edges_and_layers_are_those_of_the_names():
    for graph in every_graph():
        assert len(set(graph.edge_names)) == graph.n_edges
        assert n_edges_of(asdict(graph)) == graph.n_edges, graph
        for number, name in enumerate(graph.receivers[:-1]):
            assert graph.layer_of_receiver(number) == int(name[1:].partition(".")[0])
        for layer in range(graph.n_layers if graph.has_mlps else 0):
            assert graph.senders[graph.mlp_sender(layer)] == f"m{layer}"
            assert graph.receivers[graph.mlp_receiver(layer)] == f"m{layer}"


def test_a_file_says_which_layers_have_mixers_and_says_nothing_where_none_has(circuit):
    data = json.loads(json.dumps(circuit_to_json(circuit)))
    assert data["cfg"]["mixers"] == [0, 2]
    again = circuit_from_json(data)
    assert again.graph == GRAPH
    assert torch.equal(again.edge_mask, circuit.edge_mask)
    assert torch.equal(again.scores.values, circuit.scores.values)
    ordinary = Circuit.full(ComponentGraph(3, 2, 8))
    assert "mixers" not in circuit_to_json(ordinary)["cfg"]
    assert "mixers" not in ordinary.to_networkx().graph


@pytest.mark.parametrize("mixers", [[3], [-1], [1, 0], [0, 0], [True], "0", 0, [0.0]])
def test_a_file_with_odd_mixers_is_refused(circuit, mixers):
    data = json.loads(json.dumps(circuit_to_json(circuit)))
    data["cfg"]["mixers"] = mixers
    with pytest.raises(CircuitFileError, match=r"cfg\.mixers must be a rising list of some layers"):
        circuit_from_json(data)


@pytest.mark.parametrize(
    ("text_of", "name"), [(graphml_text, "c.graphml"), (cytoscape_text, "c.cyjs")]
)
def test_other_programs_files_bring_mixers_back(circuit, text_of, name, tmp_path):
    path = tmp_path / name
    path.write_text(text_of(circuit))
    again = circuit_from_exchange(path)
    assert again.graph == GRAPH
    assert again.edges == circuit.edges
    path.write_text(path.read_text().replace("0,2", "0;2"))
    with pytest.raises(CircuitFileError, match="'mixers' must list layers, as 0,2, got '0;2'"):
        circuit_from_exchange(path)


def test_networkx_brings_mixers_back(circuit):
    again = Circuit.from_networkx(circuit.to_networkx())
    assert again.graph == GRAPH
    assert again.edges == circuit.edges


def test_pictures_show_mixers(circuit):
    whole = Circuit.full(GRAPH)
    assert "r2 [" in circuit_dot(whole)
    nodes = {node["clerp"]: node for node in json.loads(neuronpedia_text(whole))["nodes"]}
    assert nodes["r2"]["feature_type"] == "mixer"
    assert nodes["r2"]["node_id"] != nodes["m2"]["node_id"]
