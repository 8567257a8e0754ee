import json
import os

import networkx
import pytest
import torch

from circuitkit.circuits.circuit import Circuit, Provenance, kind_of, layer_of
from circuitkit.circuits.file import circuit_from_json, circuit_to_json, load_circuit, save_circuit
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.circuits.recipe import Recipe
from circuitkit.circuits.selection import select_top
from circuitkit.errors import CircuitFileError, GraphError, OutputError
from tests.conftest import SHARED

TOY = ComponentGraph(n_layers=2, n_heads=3, d_model=8)


@pytest.fixture
def circuit():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(TOY.edge_mask.shape, generator=generator, dtype=torch.float64)
    found = select_top(EdgeScores(TOY, values * TOY.edge_mask), 11)
    origin = Provenance(task="ioi", model="pico", recipe=Recipe("eap", {"n": 5}, seed=3))
    return Circuit(TOY, found.edge_mask, found.scores, origin)


def test_networkx_round_trip_keeps_edges_and_their_scores(circuit):
    back = Circuit.from_networkx(circuit.to_networkx())
    assert back.edges == circuit.edges
    kept = circuit.edge_mask
    assert torch.equal(back.scores.values[kept], circuit.scores.values[kept])


def test_networkx_graph_tells_q_k_and_v_edges_apart():
    edges = ["a0.h1->a1.h2<q>", "a0.h1->a1.h2<v>", "a1.h2->logits", "input->m0"]
    graph = Circuit.of_edges(TOY, edges).to_networkx()
    assert isinstance(graph, networkx.MultiDiGraph)
    assert set(graph["a0.h1"]["a1.h2"]) == {"q", "v"}
    assert {data["name"] for _, _, data in graph.edges(data=True)} == set(edges)
    assert graph.nodes["a1.h2"] == {"kind": "head", "layer": 1}
    assert set(graph) == {"input", "a0.h1", "m0", "a1.h2", "logits"}


def test_a_graph_without_sizes_is_refused():
    with pytest.raises(GraphError, match="graph attributes must hold"):
        Circuit.from_networkx(networkx.MultiDiGraph())


def test_a_mask_outside_the_graph_is_refused():
    with pytest.raises(GraphError, match="must lie inside the graph"):
        Circuit(TOY, ~TOY.edge_mask, Circuit.empty(TOY).scores)


def test_file_round_trip_keeps_everything(circuit, tmp_path):
    path = tmp_path / "circuit.json"
    save_circuit(circuit, path)
    back = load_circuit(path)
    assert back.edges == circuit.edges
    assert torch.equal(back.scores.values, circuit.scores.values)
    assert back.provenance == circuit.provenance
    save_circuit(back, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_file_has_the_keys_that_mib_reads(circuit):
    data = circuit_to_json(circuit)
    assert set(data) == {"cfg", "nodes", "edges", "circuitkit"}
    assert data["cfg"] == {
        "n_layers": 2, "n_heads": 3, "d_model": 8, "parallel_attn_mlp": False,
    }  # fmt: skip
    assert list(data["edges"]) == list(TOY.edge_names)
    assert set(data["nodes"]) == set(TOY.components)
    kept = [name for name, edge in data["edges"].items() if edge["in_graph"]]
    assert kept == list(circuit.edges)
    assert data["circuitkit"]["schema"] == 2


@pytest.mark.skipif(not SHARED.exists(), reason="the published file is not part of the project")
def test_the_published_mib_circuit_loads_and_reloads_to_the_same_thing(tmp_path):
    source = SHARED / "published" / "mib_ioi-eap-ig.json"
    raw = json.loads(source.read_text())
    circuit = load_circuit(source)
    assert circuit.graph.n_edges == len(raw["edges"]) == 32_491
    assert set(circuit.edges) == {n for n, e in raw["edges"].items() if e["in_graph"]}
    scores = circuit.scores.by_edge().tolist()
    assert scores[circuit.graph.edge_number("input->m0")] == raw["edges"]["input->m0"]["score"]
    save_circuit(circuit, tmp_path / "ours.json")
    again = load_circuit(tmp_path / "ours.json")
    assert again.edges == circuit.edges
    assert torch.equal(again.scores.values, circuit.scores.values)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CircuitFileError, match="none.json.*no such file.*circuitkit discover"):
        load_circuit(tmp_path / "none.json")


def test_a_truncated_file_is_refused(circuit, tmp_path):
    path = tmp_path / "circuit.json"
    save_circuit(circuit, path)
    path.write_text(path.read_text()[:-200])
    with pytest.raises(CircuitFileError, match="must be complete JSON"):
        load_circuit(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("edges"), "keys cfg, nodes and edges"),
        (lambda d: d["circuitkit"].update(schema=3), r"schema must be one of \(1, 2\), got 3"),
        (lambda d: d["cfg"].update(n_layers=1), "must describe edges of its own cfg"),
        (lambda d: d["cfg"].pop("n_heads"), "n_heads"),
        (lambda d: d["edges"].update({"a9.h9->logits": {"in_graph": True}}), "a9.h9->logits"),
        (lambda d: d["edges"]["input->m0"].pop("in_graph"), "in_graph"),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(circuit, change, message):
    data = json.loads(json.dumps(circuit_to_json(circuit)))
    change(data)
    with pytest.raises(CircuitFileError, match=message):
        circuit_from_json(data)


def test_a_list_is_not_a_circuit():
    with pytest.raises(CircuitFileError, match="got list"):
        circuit_from_json([1, 2])


def test_writing_fails_whole_where_the_place_is_a_file(circuit, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("kept")
    with pytest.raises(OutputError, match="must be writable"):
        save_circuit(circuit, blocker / "circuit.json")
    assert blocker.read_text() == "kept"


def test_an_interrupted_write_leaves_the_old_file(circuit, tmp_path, monkeypatch):
    path = tmp_path / "circuit.json"
    path.write_text("old")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        save_circuit(circuit, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["circuit.json"]


def test_kinds_and_layers_of_components():
    names = ("input", "a1.h2", "m1", "logits")
    assert [kind_of(name) for name in names] == ["input", "head", "mlp", "logits"]
    assert [layer_of(name, TOY) for name in names] == [-1, 1, 1, 2]


def test_the_complement_holds_every_other_edge(circuit):
    rest = circuit.complement
    assert set(rest.edges) == set(TOY.edge_names) - set(circuit.edges)
    assert rest.complement.edges == circuit.edges
    assert Circuit.full(TOY).complement.n_edges == 0
    assert rest.scores is circuit.scores


def test_between_components_are_all_edges_both_of_whose_ends_are_kept():
    small = Circuit.of_edges(TOY, ["input->a0.h1<q>", "a0.h1->m1", "m1->logits"])
    names = {"input", "a0.h1", "m1", "logits"}
    expected = {edge for edge in TOY.edge_names if names.issuperset(Circuit.ends(edge))}
    nodes = small.between_components
    assert set(nodes.edges) == expected
    assert set(small.edges) < expected
    assert "input->a0.h1<v>" in expected
    assert nodes.components == small.components
    assert Circuit.empty(TOY).between_components.n_edges == 0


def test_without_a_component_nothing_reads_what_it_writes_but_it_still_reads(circuit):
    edges = ["input->a0.h1<q>", "a0.h1->m1", "input->m1", "a0.h1->logits", "m1->logits"]
    left = Circuit.of_edges(TOY, edges).without(["a0.h1"])
    assert left.edges == ("input->a0.h1<q>", "input->m1", "m1->logits")
    assert circuit.without([]).edges == circuit.edges
    assert circuit.without(TOY.senders).n_edges == 0


@pytest.mark.parametrize("name", ["logits", "a7.h0"])
def test_what_writes_nothing_cannot_be_taken_out(circuit, name):
    with pytest.raises(GraphError, match=f"must be senders of this graph .* got \\['{name}'\\]"):
        circuit.without([name, "m0"])
