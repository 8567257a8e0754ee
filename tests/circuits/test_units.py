"""Circuits of units: files, exports, selection and random circuits, without any model."""

import json

import pytest
import torch

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.circuits.exchange import circuit_from_exchange, cytoscape_text, graphml_text
from circuitkit.circuits.file import circuit_from_json, circuit_to_json
from circuitkit.circuits.file_checks import n_edges_of
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.circuits.random_circuits import random_connected, random_of_profile
from circuitkit.circuits.selection import prune_dead_ends, select_greedy
from circuitkit.circuits.units import Units, units_to_json
from circuitkit.errors import CircuitFileError

NEURONS = Units(0, "neuron", (7, 2), read_alone=True)
FEATURES = Units(2, "feature", (5, 0, 9), dictionary="b3-1")
GRAPH = ComponentGraph(3, 2, 8, units=(NEURONS, FEATURES))
GRAPHS = [
    GRAPH,
    ComponentGraph(3, 2, 8, parallel_attn_mlp=True, units=(FEATURES,)),
    ComponentGraph(4, 2, 8, mixers=(1,), units=(NEURONS, Units(1, "neuron", (), True))),
]


def scored(graph, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(graph.n_edges, generator=generator, dtype=torch.float64)
    return EdgeScores.of_edges(graph, values)


def circuit(graph=GRAPH, n=25):
    return select_greedy(scored(graph), n)


def test_kinds_of_units_are_fields_and_their_names_say_the_same():
    for graph in GRAPHS:
        for name in graph.components:
            assert graph.kind_of(name) == kind_of(name)
    assert GRAPH.kind_of("m0.n7") == "neuron"
    assert [GRAPH.kind_of(f"m2.{x}") for x in ("f5", "error", "rest")] == [
        "feature", "error", "rest",
    ]  # fmt: skip
    assert GRAPH.kind_of("m2") == "mlp"
    assert "m2" not in GRAPH.senders
    assert "m2" in GRAPH.receivers


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_edges_are_counted_without_building_the_graph(graph):
    cfg = circuit_to_json(Circuit.empty(graph))["cfg"]
    assert n_edges_of(cfg) == graph.n_edges == len(graph.edge_index) == int(graph.edge_mask.sum())


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_a_circuit_of_units_comes_back_from_its_file_and_from_exports(graph, tmp_path):
    made = circuit(graph)
    back = circuit_from_json(json.loads(json.dumps(circuit_to_json(made))))
    assert back.graph == graph
    assert back.edges == made.edges
    torch.testing.assert_close(back.scores.by_edge(), made.scores.by_edge())
    for text, name in ((graphml_text(made), "c.graphml"), (cytoscape_text(made), "c.cyjs")):
        (tmp_path / name).write_text(text)
        assert circuit_from_exchange(tmp_path / name).edges == made.edges
    again = Circuit.from_networkx(made.to_networkx())
    assert again.graph == graph
    assert again.edges == made.edges


def test_a_graph_of_whole_mlps_is_written_as_before():
    assert "units" not in circuit_to_json(Circuit.empty(GRAPH.whole))["cfg"]
    assert GRAPH.whole == ComponentGraph(3, 2, 8)


def test_units_that_read_together_hang_on_what_their_mlp_reads():
    edges = ["input->m2", "m2.f5->logits", "input->a0.h0<v>"]
    kept = prune_dead_ends(Circuit.of_edges(GRAPH, edges))
    assert set(kept.edges) == {"input->m2", "m2.f5->logits"}
    assert kept.to_networkx().has_edge("m2", "m2.f5")
    without = Circuit.of_edges(GRAPH, ["m2.f5->logits", "input->logits"])
    assert prune_dead_ends(without).edges == ("input->logits",)


def test_greedy_selection_goes_on_through_the_mlp_of_a_unit():
    values = torch.zeros(GRAPH.n_edges, dtype=torch.float64)
    for rank, name in enumerate(["m2.f0->logits", "m0.n2->m2", "input->m0.n2"]):
        values[GRAPH.edge_number(name)] = 10 - rank
    values[GRAPH.edge_number("input->m0.n7")] = 9.5  # not into anything that is held
    chosen = select_greedy(EdgeScores.of_edges(GRAPH, values), 3)
    assert set(chosen.edges) == {"m2.f0->logits", "m0.n2->m2", "input->m0.n2"}


def test_random_circuits_of_units_are_as_large_and_hang_together():
    made = prune_dead_ends(circuit(n=30))
    for seed in range(3):
        assert random_of_profile(made, seed).n_edges == made.n_edges
        drawn = random_connected(made, seed)
        assert drawn.n_edges == made.n_edges
    small = prune_dead_ends(Circuit.of_edges(GRAPH, ["input->m2", "m2.f5->logits"]))
    found = random_connected(small, 0)
    assert prune_dead_ends(found).edges == found.edges


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"layer": 3}, "layer must be .*below 3"),
        ({"kind": "neurone"}, "kind must be one of"),
        ({"numbers": [1, 1]}, "different"),
        ({"numbers": [0.5]}, "numbers must be"),
        ({"read_alone": 1}, "read_alone must be"),
        ({"dictionary": "x"}, "must have a dictionary"),
        ({"colour": "red"}, "keys must be among"),
    ],
)
def test_files_with_units_that_cannot_be_are_refused(change, match):
    data = json.loads(json.dumps(circuit_to_json(Circuit.empty(GRAPH))))
    data["cfg"]["units"] = [{**units_to_json([NEURONS])[0], **change}]
    data["edges"] = {str(n): {"in_graph": False, "score": 0.0} for n in range(500)}
    with pytest.raises(CircuitFileError, match=match):
        circuit_from_json(data)


def test_leaving_out_an_mlp_leaves_out_all_its_units():
    full = Circuit.full(GRAPH)
    units = full.without(FEATURES.names)
    assert full.without(["m2"]).edges == units.edges
    assert not any(edge.startswith("m2.") for edge in units.edges)
    assert units.n_edges == full.n_edges - len(FEATURES.names)  # each feeds the logits alone
