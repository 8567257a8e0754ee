"""Circuits of papers: the lists say what the papers say, and names work wherever a file does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from circuitkit.circuits.file import load_circuit, save_circuit
from circuitkit.circuits.graph import INPUT, LOGITS, ComponentGraph
from circuitkit.circuits.published.catalogue import PUBLISHED
from circuitkit.cli.app import app
from circuitkit.contracts.parsing import read_contracts
from circuitkit.errors import CircuitFileError, GraphError
from circuitkit.task import installed_names

GPT2_SMALL = ComponentGraph(n_layers=12, n_heads=12, d_model=768)  # 32,491 edges, as MIB counts
IOI_HEADS = """9.9 10.0 9.6 10.10 10.6 10.2 10.1 11.2 9.7 9.0 11.9 10.7 11.10 7.3 7.9 8.6 8.10
    5.5 5.8 5.9 6.9 0.1 0.10 3.0 2.2 4.11"""
GREATER_THAN_HEADS = "0.1 0.3 0.5 5.1 5.5 6.9 7.10 8.8 8.11 9.1"
DOCSTRING_EDGES = """
    input->a0.h5<v> a0.h5->a1.h4<v> input->a1.h4<v> input->a1.h2<q> input->a1.h2<k>
    a0.h5->a1.h2<q> a0.h5->a1.h2<k> input->a2.h0<q> a0.h5->a2.h0<q> input->a2.h0<k>
    a0.h5->a2.h0<k> a1.h4->a2.h0<v> a1.h4->a3.h0<q> a2.h0->a3.h0<k> a1.h2->a3.h0<k>
    input->a3.h0<v> a0.h5->a3.h0<v> a3.h0->logits a1.h4->a3.h6<q> a2.h0->a3.h6<k>
    a1.h2->a3.h6<k> input->a3.h6<v> a0.h5->a3.h6<v> a3.h6->logits
"""


def heads(text):
    return {f"a{layer}.h{head}" for layer, head in (word.split(".") for word in text.split())}


def mlps(*layers):
    return {f"m{layer}" for layer in layers}


def ends_of(name):
    return set(load_circuit(f"published:{name}").components) - {INPUT, LOGITS}


@pytest.mark.parametrize("name", ["ioi-wang", "ioi-wang-edges"])
def test_ioi_has_the_26_heads_of_seven_classes_and_every_mlp(name):
    assert ends_of(name) == heads(IOI_HEADS) | mlps(*range(12))
    sizes = {key: len(some) for key, some in PUBLISHED[name].classes.items() if key != "MLP"}
    assert sorted(sizes.values()) == [2, 2, 3, 3, 4, 4, 8]
    assert sum(sizes.values()) == 26


@pytest.mark.parametrize("name", ["greater-than-hanna", "greater-than-hanna-edges"])
def test_greater_than_has_ten_heads_and_the_mlps_of_both_ends(name):
    assert ends_of(name) == heads(GREATER_THAN_HEADS) | mlps(0, 1, 2, 3, 8, 9, 10, 11)


def test_docstring_has_its_24_edges_in_a_model_without_mlps():
    circuit = load_circuit("published:docstring-heimersheim")
    assert set(circuit.edges) == set(DOCSTRING_EDGES.split())
    assert circuit.graph == ComponentGraph(n_layers=4, n_heads=8, d_model=512, has_mlps=False)


@pytest.mark.parametrize("name", ["ioi-wang", "greater-than-hanna"])
def test_a_set_of_nodes_is_every_edge_between_them(name):
    circuit = load_circuit(f"published:{name}")
    assert circuit.graph == GPT2_SMALL
    assert circuit.graph.n_edges == 32_491
    assert circuit.edges == circuit.between_components.edges


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        (
            "ioi-wang-edges",
            "a9.h9->logits a2.h2->a5.h5<k> a3.h0->a8.h6<v> a7.h9->a10.h7<q> input->a9.h6<k> m0->m5 "
            "a0.h1->m0 m3->a9.h9<q> input->m0 a6.h9->a7.h3<k> input->a8.h6<q>",
            "a2.h2->a5.h5<q> a5.h5->logits a9.h9->a10.h0<q> input->a9.h6<q> a7.h9->a10.h7<k> "
            "a2.h2->a9.h9<v> a8.h0->logits input->a8.h6<k>",
        ),
        (
            "greater-than-hanna-edges",
            "input->a0.h1<v> input->m3 a0.h1->m0 m0->m3 a0.h3->a9.h1<k> m3->a5.h1<v> a8.h11->m8 "
            "a9.h1->m9 a9.h1->logits m8->m11 m9->logits",
            "a0.h3->m1 m3->m8 a9.h1->m8 input->a9.h1<v> m4->m8 input->logits m3->logits",
        ),
    ],
)
def test_edges_are_those_of_the_connected_classes_alone(name, inside, outside):
    kept = set(load_circuit(f"published:{name}").edges)
    assert set(inside.split()) <= kept
    assert kept.isdisjoint(outside.split())


def test_every_entry_has_a_citation_a_source_and_a_task_that_is_installed():
    for name, each in PUBLISHED.items():
        assert each.name == name
        assert each.url.startswith("https://")
        assert len(each.sources) >= 2
        assert any(year in each.citation for year in ("2022", "2023"))
        assert each.task in installed_names()
        assert each.circuit.provenance.model == each.model != ""
        assert set(each.circuit.components) == set(each.components)


def test_a_component_that_the_model_lacks_is_refused():
    wrong = replace(PUBLISHED["ioi-wang"], classes={"name mover": ("a12.h0",)})
    with pytest.raises(GraphError, match=r"components must be of its graph .* got 'a12.h0'"):
        _ = wrong.circuit


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(CircuitFileError, match="Did you mean published:ioi-wang"):
        load_circuit("published:ioi-wangs")
    with pytest.raises(CircuitFileError, match="`circuitkit circuits` lists them"):
        load_circuit(Path("published:xyz"))


def test_a_published_circuit_is_saved_and_read_back_as_any_other(tmp_path):
    circuit = load_circuit("published:greater-than-hanna")
    save_circuit(circuit, tmp_path / "circuit.json")
    again = load_circuit(tmp_path / "circuit.json")
    assert again.edges == circuit.edges
    assert again.provenance == circuit.provenance


def test_a_contract_may_name_one_as_circuit_and_as_baseline(tmp_path):
    file = tmp_path / "circuits.toml"
    file.write_text(
        '[[tool.circuitkit.contract]]\ncircuit = "published:ioi-wang"\nmax_edges = 2000\n'
        'drift = { baseline = "published:ioi-wang-edges", min_jaccard = 0.5 }\n'
    )
    (contract,) = read_contracts(file)
    assert contract.circuit == Path("published:ioi-wang")
    assert contract.drift.baseline == Path("published:ioi-wang-edges")


def call(*words):
    return CliRunner().invoke(app, words)


def test_diff_compares_two_of_them_without_a_model(tmp_path):
    names = [f"published:ioi-wang{end}" for end in ("", "-edges")]
    done = call("diff", *names, "--no-run", "--json", "-o", str(tmp_path / "x.svg"))
    assert done.exit_code == 0, done.output
    counted = [load_circuit(name).n_edges for name in names]
    facts = json.loads(done.stdout)
    assert len(facts["only_b"]) == 0
    assert len(facts["both"]) == counted[1]
    assert len(facts["only_a"]) == counted[0] - counted[1]


def test_validate_takes_the_name_and_refuses_a_model_of_another_size():
    done = call("validate", "published:ioi-wang", "--model", "pico", "--n", "4")
    assert done.exit_code == 2
    assert "12 layers, 12 heads, d_model 768" in " ".join(done.output.split())


def test_export_takes_the_name(tmp_path):
    file = tmp_path / "circuit.json"
    done = call("export", "published:docstring-heimersheim", "--format", "json", "-o", str(file))
    assert done.exit_code == 0, done.output
    assert load_circuit(file).n_edges == 24


def test_circuits_lists_every_name_with_its_citation():
    text = " ".join(call("circuits").output.split())
    for each in PUBLISHED.values():
        assert f"published:{each.name}" in text
        assert each.url in text
    rows = json.loads(call("circuits", "--json").stdout)
    assert [row["name"] for row in rows] == [f"published:{name}" for name in PUBLISHED]
    assert rows[-1]["n_edges"] == 24
