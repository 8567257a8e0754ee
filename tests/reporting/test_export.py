"""Circuits in formats of other programs: what is kept, what is said to be left out, what fails."""

import builtins
import json
import re
import sys
from dataclasses import replace
from types import ModuleType
from xml.etree import ElementTree

import networkx
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from circuitkit import names
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.exchange import cytoscape_text, graphml_text
from circuitkit.circuits.file import save_circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.cli.app import app
from circuitkit.errors import CircuitFileError, DependencyError, GraphError, MethodError
from circuitkit.interpretation.attention_view import attention_view
from circuitkit.reporting.export import FORMATS, export_circuit, import_circuit
from circuitkit.reporting.neuronpedia import attribution_graph
from circuitkit.study.records import save_record

from .conftest import SCORES


def call(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.fixture
def with_outside(circuit):
    """The circuit with a score at an edge that it does not have."""
    values = circuit.scores.values.clone()
    values[0, -1] = 0.125  # input->logits
    return replace(circuit, scores=EdgeScores(circuit.graph, values))


def test_every_format_has_a_name_and_every_name_a_format():
    assert set(names.EXPORT_FORMATS) == {*FORMATS, "circuitsvis"}


@pytest.mark.parametrize("format", ["graphml", "cytoscape", "json"])
def test_a_circuit_comes_back_with_its_edges_scores_and_origin(circuit, format, tmp_path):
    path = tmp_path / f"c{FORMATS[format].suffix}"
    assert export_circuit(circuit, path, format) == []
    back = import_circuit(path)
    assert back.edges == circuit.edges
    assert back.graph == circuit.graph
    torch.testing.assert_close(back.scores.values, circuit.scores.values, rtol=0, atol=0)
    assert back.provenance == circuit.provenance


@pytest.mark.parametrize("format", ["graphml", "cytoscape"])
def test_a_score_outside_the_circuit_is_left_out_and_a_sentence_says_so(
    with_outside, format, tmp_path
):
    path = tmp_path / f"c{FORMATS[format].suffix}"
    [note] = export_circuit(with_outside, path, format)
    assert "scores of 1 edges outside the circuit" in note
    assert import_circuit(path).scores.values[0, -1] == 0


def test_scores_survive_to_the_last_digit(circuit, tmp_path):
    odd = EdgeScores(circuit.graph, circuit.scores.values / 3e-17)
    export_circuit(replace(circuit, scores=odd), tmp_path / "c.graphml", "graphml")
    assert torch.equal(import_circuit(tmp_path / "c.graphml").scores.values, odd.values)


def test_graphml_is_read_by_networkx_and_every_edge_has_an_id_of_its_own(circuit):
    text = graphml_text(circuit)
    graph = networkx.parse_graphml(text, force_multigraph=True)
    found = {data["name"]: data["score"] for *_, data in graph.edges(data=True)}
    assert found == SCORES
    assert graph.nodes["a1.h0"] == {"kind": "head", "layer": 1}
    ids = [e.get("id") for e in ElementTree.fromstring(text).iter() if e.tag.endswith("}edge")]
    assert len(ids) == len(set(ids)) == len(SCORES)


def test_cytoscape_json_has_unique_ids_and_edges_between_nodes_that_exist(circuit):
    data = json.loads(cytoscape_text(circuit))
    nodes = {each["data"]["id"]: each["data"] for each in data["elements"]["nodes"]}
    edges = [each["data"] for each in data["elements"]["edges"]]
    assert set(nodes) == set(circuit.components)
    assert {edge["name"]: edge["score"] for edge in edges} == SCORES
    assert {end for e in edges for end in (e["source"], e["target"])} <= set(nodes)
    assert len({*nodes, *(edge["id"] for edge in edges)}) == len(nodes) + len(edges)


NODE = {"node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp"}


def test_an_attribution_graph_has_what_neuronpedia_requires(circuit):
    """The required keys and kinds of Neuronpedia's graph schema 1.0.0, and of circuit-tracer."""
    graph = attribution_graph(circuit)
    assert set(graph) == {"metadata", "qParams", "nodes", "links"}
    assert {"slug", "scan", "prompt_tokens", "prompt", "transcoder_list"} <= set(graph["metadata"])
    assert {"pinnedIds", "supernodes", "linkType", "clickedId", "sg_pos"} == set(graph["qParams"])
    for node in graph["nodes"]:
        assert set(node) >= NODE
        assert isinstance(node["feature"], int)
        assert isinstance(node["layer"], str)
        assert graph["metadata"]["prompt_tokens"][node["ctx_idx"]] == "all positions"
        assert node["ctx_idx"] > 0  # circuit-tracer's viewer cannot lay out the first column alone
        assert node["node_id"].split("_") == [node["layer"], str(node["feature"]), "1"]
    for key in ("node_id", "jsNodeId"):
        assert len({node[key] for node in graph["nodes"]}) == len(circuit.components)


def test_an_attribution_graph_links_components_and_keeps_q_k_and_v_apart(circuit):
    graph = attribution_graph(circuit)
    name = {node["node_id"]: node["clerp"] for node in graph["nodes"]}
    found = {(name[each["source"]], name[each["target"]]): each for each in graph["links"]}
    both = found["a0.h2", "a1.h0"]
    assert both["reads"] == {"q": 4.0, "k": -2.0}
    assert both["weight"] == 2.0
    assert found["a1.h0", 'Output "logits" (p=?)']["weight"] == 3.0
    assert len(found) == len(SCORES) - 1
    [logits] = [node for node in graph["nodes"] if node["is_target_logit"]]
    assert re.fullmatch(r'Output "logits" \(p=.*\)', logits["clerp"])  # as circuit-tracer reads it
    layers = {node["clerp"]: node["layer"] for node in graph["nodes"]}
    assert layers == {"input": "E", "a0.h2": "0", "m0": "0", "a1.h0": "1", logits["clerp"]: "3"}


def test_what_a_picture_or_an_attribution_graph_cannot_hold_is_said(with_outside, tmp_path):
    notes = " ".join(export_circuit(with_outside, tmp_path / "n.json", "neuronpedia"))
    for words in ("summed over positions", "not features", "6 edges are drawn as 5 links"):
        assert words in notes
    assert "1 edges outside" in notes
    assert "origin is left out" in notes
    assert "pen widths" in " ".join(export_circuit(with_outside, tmp_path / "c.dot", "dot"))


def test_a_circuit_without_parallel_edges_is_not_said_to_sum_them(circuit, tmp_path):
    one = Circuit.of_edges(circuit.graph, ["input->logits"])
    notes = " ".join(export_circuit(one, tmp_path / "n.json", "neuronpedia"))
    assert "links" not in notes
    assert "outside" not in notes
    assert "origin" not in notes


def test_an_unknown_format_and_an_infinite_score_are_refused(circuit, tmp_path):
    with pytest.raises(MethodError, match="must be one of graphml, .* got 'gexf'"):
        export_circuit(circuit, tmp_path / "c", "gexf")
    values = circuit.scores.values.clone()
    values[0, 0] = torch.inf
    endless = replace(circuit, scores=EdgeScores(circuit.graph, values))
    with pytest.raises(GraphError, match="must be finite numbers, got inf at input->a0.h0<q>"):
        export_circuit(endless, tmp_path / "c", "cytoscape")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:300], "must be GraphML"),
        (lambda text: text.replace("a1.h0->logits", "a1.h0->nowhere"), None),
        (lambda text: text.replace("a1.h0-&gt;logits", "a1.h9-&gt;logits"), "unknown name"),
        (lambda text: text.replace(">2</data>", ">-2</data>"), "cfg.n_"),
        (lambda text: text.replace(">3</data>", ">30000000</data>", 1), "at most 10,000,000"),
        (lambda text: text.replace("<?xml version='1.0' encoding='utf-8'?>", BOMB), "without end"),
        (lambda text: text.replace(">4.0<", ">nan<"), "finite number"),
        (lambda text: text.replace('{"schema"', "{schema"), "must be the origin as JSON"),
        (lambda text: text.replace('{"schema": 2', '{"schema": 9'), "schema must be one of"),
    ],
)
def test_damaged_graphml_is_refused(circuit, change, says, tmp_path):
    path = tmp_path / "c.graphml"
    text = change(graphml_text(circuit))
    path.write_text(text)
    if says is None:  # nothing was changed: `>` is written as an entity
        assert import_circuit(path).edges == circuit.edges
        return
    with pytest.raises(CircuitFileError, match=says):
        import_circuit(path)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"data": {}}', '{"data": [], "elements": 3}'])
def test_damaged_cytoscape_json_is_refused(text, tmp_path):
    path = tmp_path / "c.cyjs"
    path.write_text(text)
    with pytest.raises(CircuitFileError, match=r"c\.cyjs"):
        import_circuit(path)


def test_the_command_exports_a_file_or_a_run_directory_and_reads_back(
    record, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    save_record(record, tmp_path / "run")
    code, output = call("export", "run")
    assert (code, output.strip()) == (0, "circuit.graphml")
    code, output = call(
        "export", "circuit.graphml", "--format", "json", "--json", "-o", "back.json"
    )
    assert json.loads(output) == {"path": "back.json", "left_out": []}
    assert import_circuit("back.json").edges == record.circuit.edges
    code, output = call("export", "run", "--format", "neuronpedia")
    assert code == 0
    assert "neuronpedia: All is shown in one column" in output
    assert json.loads((tmp_path / "circuit.neuronpedia.json").read_text())["nodes"]


def test_the_command_never_replaces_the_circuit_it_reads(circuit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_circuit(circuit, "circuit.json")
    before = (tmp_path / "circuit.json").read_bytes()
    code, output = call("export", "circuit.json", "--format", "json")
    assert code == 2
    assert "must be another file" in output
    assert (tmp_path / "circuit.json").read_bytes() == before


def test_attention_of_an_interpretation_is_exported_in_the_shape_of_circuitsvis(
    interpreted, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    save_record(interpreted, "run")
    code, output = call("export", "run", "--format", "circuitsvis")
    assert code == 0, output
    views = json.loads((tmp_path / "attention.json").read_text())
    prompts = [each for each in interpreted.interpretation.prompts if each.patterns]
    assert len(views) == len(prompts) > 0
    for view, prompt in zip(views, prompts, strict=True):
        assert set(view) == {"attention", "tokens", "attention_head_names"}
        assert view["tokens"] == list(prompt.tokens)
        n = len(prompt.tokens)
        assert np.shape(view["attention"]) == (len(prompt.patterns), n, n)


def test_attention_of_a_run_without_interpretation_is_refused(record, tmp_path):
    save_record(record, tmp_path / "run")
    code, output = call("export", tmp_path / "run", "--format", "circuitsvis")
    assert code == 2
    assert "got no interpretation" in " ".join(output.split())
    assert "circuitkit interpret" in output


def test_a_view_is_head_by_destination_by_source(interpreted):
    prompt = next(each for each in interpreted.interpretation.prompts if each.patterns)
    [*_, head] = prompt.patterns
    view = attention_view(prompt, [head])
    assert view.heads == (head,)
    np.testing.assert_array_equal(view.patterns[0], prompt.patterns[head])
    assert attention_view(prompt).heads == tuple(prompt.patterns)
    with pytest.raises(GraphError, match="must be among those of the circuit"):
        attention_view(prompt, ["a9.h9"])


def test_a_template_is_shown_by_its_positions(interpreted):
    [template, *_] = interpreted.interpretation.templates
    assert attention_view(template).tokens == template.labels


def test_a_view_is_shown_by_circuitsvis_where_that_is_installed(interpreted, monkeypatch):
    given = {}
    attention = ModuleType("circuitsvis.attention")
    attention.attention_heads = lambda **words: given.update(words) or "drawn"
    monkeypatch.setitem(sys.modules, "circuitsvis", ModuleType("circuitsvis"))
    monkeypatch.setitem(sys.modules, "circuitsvis.attention", attention)
    view = attention_view(interpreted.interpretation.prompts[0])
    assert view.show() == "drawn"
    assert set(given) == {"attention", "tokens", "attention_head_names"}
    assert given["attention"] is view.patterns


def test_without_circuitsvis_the_sentence_says_what_to_install(interpreted, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name.startswith("circuitsvis"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DependencyError, match=r"circuitkit-mi\[circuitsvis\]"):
        attention_view(interpreted.interpretation.prompts[0]).show()
