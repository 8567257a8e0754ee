"""Edges at columns: names, files, selection, and where they lead."""

import json
import random
from dataclasses import replace

import pytest
import torch

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.diff import diff_circuits
from circuitkit.circuits.exchange import circuit_from_exchange, cytoscape_text, graphml_text
from circuitkit.circuits.file import circuit_from_json, circuit_to_json, load_circuit, save_circuit
from circuitkit.circuits.graph import ComponentGraph, EdgeScores, component_of, read_of
from circuitkit.circuits.random_circuits import (
    random_connected,
    random_like,
    random_of_profile,
    random_path,
)
from circuitkit.circuits.recipe import Recipe
from circuitkit.circuits.selection import (
    prune_dead_ends,
    select_above,
    select_greedy,
    select_top,
)
from circuitkit.circuits.whole_edges import at_every_column, everywhere
from circuitkit.errors import CircuitFileError, GraphError
from circuitkit.validation.bench import mask_bytes

TOY = ComponentGraph(n_layers=2, n_heads=3, d_model=8)
GRAPH = ColumnGraph.over(TOY, ("S1", "S1+1", "END"), "roles", ("END",))
PATH = ["input->a0.h1<v>@S1", "a0.h1->a1.h2<k>@S1+1", "a1.h2->m1@END", "m1->logits@END"]


def random_scores(graph, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(graph.edge_mask.shape, generator=generator, dtype=torch.float64)
    return EdgeScores(graph, values * graph.edge_mask)


@pytest.fixture
def circuit():
    found = select_top(random_scores(GRAPH), 11)
    return replace(
        found, provenance=Provenance(model="pico", recipe=Recipe("eap", columns="roles"))
    )


def test_every_edge_is_at_every_column_but_the_logits_read_at_theirs_alone():
    n_logits = len(TOY.senders)
    assert GRAPH.n_edges == 3 * TOY.n_edges - 2 * n_logits == len(set(GRAPH.edge_names))
    assert "m1->logits@END" in GRAPH.edge_names
    assert "m1->logits@S1" not in GRAPH.edge_names
    assert GRAPH.everywhere == TOY
    assert GRAPH != TOY


def test_an_edge_at_a_column_has_the_ends_and_the_read_of_the_edge():
    assert Circuit.ends("a0.h1->a1.h2<k>@S1+1") == ("a0.h1", "a1.h2")
    assert (component_of("m1@<odd>"), read_of("m1@<odd>")) == ("m1", "mlp")
    assert (read_of("a1.h2<k>@END"), read_of("logits@END")) == ("k", "logits")


def test_edges_taken_and_left_are_those_named(circuit):
    assert Circuit.of_edges(GRAPH, PATH).edges == tuple(sorted(PATH, key=GRAPH.edge_number))
    assert Circuit.full(GRAPH).without_edges(PATH).n_edges == GRAPH.n_edges - 4
    assert set(circuit.complement.edges) == set(GRAPH.edge_names) - set(circuit.edges)
    silent = Circuit.full(GRAPH).without(["m1"])
    assert not [edge for edge in silent.edges if edge.startswith("m1->")]
    assert silent.n_edges == GRAPH.n_edges - 1  # m1 feeds the logits alone, at one column


@pytest.mark.parametrize("write", [lambda c, p: save_circuit(c, p / "c.json") or p / "c.json"])
def test_a_file_gives_back_columns_and_scores_and_is_whole_edges_to_others(
    circuit, tmp_path, write
):
    path = write(circuit, tmp_path)
    back = load_circuit(path)
    assert (back.graph, back.edges) == (circuit.graph, circuit.edges)
    assert torch.equal(back.scores.values, circuit.scores.values)
    assert back.provenance == circuit.provenance
    data = json.loads(path.read_text())
    del data["circuitkit"]["columns"]
    older = circuit_from_json(data)
    assert older.edges == everywhere(circuit).edges
    assert len(older.edges) < circuit.n_edges or circuit.n_edges == 11
    assert {e for e, said in data["edges"].items() if said["in_graph"]} == set(older.edges)


def test_a_circuit_without_columns_has_none_in_its_file():
    assert "columns" not in circuit_to_json(Circuit.of_edges(TOY, ["m1->logits"]))["circuitkit"]


@pytest.mark.parametrize(
    ("suffix", "text"), [(".graphml", graphml_text), (".cyjs", cytoscape_text)]
)
def test_other_graph_programs_give_back_the_columns(circuit, tmp_path, suffix, text):
    path = tmp_path / f"c{suffix}"
    path.write_text(text(circuit))
    back = circuit_from_exchange(path)
    assert (back.graph, back.edges) == (circuit.graph, circuit.edges)


def test_parallel_edges_of_networkx_are_told_apart_by_column():
    edges = ["a0.h1->a1.h2<q>@S1", "a0.h1->a1.h2<q>@END", "input->m0@S1"]
    graph = Circuit.of_edges(GRAPH, edges).to_networkx()
    assert set(graph["a0.h1"]["a1.h2"]) == {"q@S1", "q@END"}
    assert {data["column"] for *_, data in graph.edges(data=True)} == {"S1", "END"}
    back = Circuit.from_networkx(graph)
    assert (back.graph, set(back.edges)) == (GRAPH, set(edges))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("by"), "must hold by, names, read_at, kept, scores, got none of by"),
        (lambda c: c.update(other=1), "keys must be among by, names"),
        (lambda c: c.update(by="words"), "must be by one of roles, positions, got 'words'"),
        (lambda c: c.update(names=["A", "A", "END"]), "each must have a name of its own"),
        (lambda c: c.update(names=[]), "scores\\[.*must be a list of 0 finite numbers"),
        (lambda c: c.update(read_at=["S9"]), "the logits must read at some of"),
        (lambda c: c["kept"].popitem(), "must name the edges that are in_graph and no other"),
        (lambda c: c["kept"].update({"m1->m0": ["END"]}), "'m1->m0@END': must be an edge"),
        (lambda c: c["kept"].update({"input->m0": ["S9"]}), "'input->m0@S9': must be an edge"),
        (lambda c: c["kept"].update({"input->m0": "END"}), "must be a list of texts"),
        (lambda c: c["scores"].update({"input->m0": [1.0]}), "a list of 3 finite numbers"),
        (
            lambda c: c["scores"].update({"input->m0": [1.0, True, 2.0]}),
            "a list of 3 finite numbers",
        ),
        (lambda c: c.update(scores=[]), "scores must be an object"),
        (lambda c: c.update(names=[str(n) for n in range(10**6)]), "must be at most 10,000,000"),
    ],
)
def test_odd_columns_in_a_file_are_refused(circuit, change, said):
    data = json.loads(json.dumps(circuit_to_json(circuit)))
    change(data["circuitkit"]["columns"])
    with pytest.raises(CircuitFileError, match=said):
        circuit_from_json(data, "circuit file 'c.json'")


def test_selection_counts_edges_at_columns(circuit):
    scores = circuit.scores
    best = scores.by_edge().abs().argsort(descending=True)[:11].tolist()
    assert set(circuit.edges) == {GRAPH.edge_names[number] for number in best}
    assert select_above(scores, 1.0).n_edges == int((scores.by_edge().abs() >= 1.0).sum())
    greedy = select_greedy(scores, 20)
    assert greedy.n_edges == 20
    assert select_greedy(scores, 90).n_edges == 90  # a look leads to several columns, taken once
    for edge in greedy.edges:  # each leads on to the logits, through its own column but for looks
        assert "logits" in _reached(greedy, edge)


def _reached(circuit, edge):
    """Return the components that what an edge carries comes to, column by column, by hand."""
    at, seen, todo = edge, set(), [edge]
    while todo:
        at = todo.pop()
        _, _, read = at.partition("->")
        receiver, _, column = read.partition("@")
        component, _, letter = receiver.partition("<")
        seen.add(component)
        free = letter in ("k>", "v>")
        for other in circuit.edges:
            goes_on = other.startswith(f"{component}->") and (free or other.endswith(f"@{column}"))
            if goes_on and component != "logits":
                todo.append(other)
    return seen


def test_only_attention_leads_from_one_column_to_another():
    whole = Circuit.of_edges(GRAPH, PATH)
    assert prune_dead_ends(whole).edges == whole.edges
    through_a_query = [edge.replace("<k>@S1+1", "<q>@S1+1") for edge in PATH]
    assert prune_dead_ends(Circuit.of_edges(GRAPH, through_a_query)).n_edges == 0
    astray = [*PATH, "input->m0@S1", "m0->a1.h2<q>@S1", "input->m0@END", "m0->a1.h2<q>@END"]
    kept = prune_dead_ends(Circuit.of_edges(GRAPH, astray)).edges
    assert set(kept) == {*PATH, "input->m0@END", "m0->a1.h2<q>@END"}
    assert prune_dead_ends(Circuit.full(GRAPH)).n_edges > GRAPH.n_edges / 2


def test_random_circuits_are_of_edges_at_columns_too(circuit):
    for draw in (random_like, random_of_profile, random_connected):
        drawn = draw(circuit, 3)
        assert (drawn.graph, drawn.n_edges) == (GRAPH, circuit.n_edges)
        assert drawn.edges != circuit.edges
    connected = random_connected(Circuit.of_edges(GRAPH, GRAPH.edge_names[:40]), 1)
    assert prune_dead_ends(connected).n_edges > 20
    path = random_path(GRAPH, random.Random(2))
    assert prune_dead_ends(Circuit.of_edges(GRAPH, path)).n_edges == len(path)


def test_circuits_are_compared_column_by_column_and_with_no_whole_edges(circuit):
    other = Circuit.of_edges(GRAPH, PATH)
    both = diff_circuits(Circuit.of_edges(GRAPH, PATH[:2]), other)
    assert (both.both, len(both.only_b)) == (tuple(sorted(PATH[:2], key=GRAPH.edge_number)), 2)
    with pytest.raises(GraphError, match="diff: both circuits must be"):
        diff_circuits(other, everywhere(other))
    with pytest.raises(GraphError, match="circuit: must be of the graph"):
        at_every_column(other, GRAPH)


def test_what_was_run_at_other_columns_is_not_taken_for_the_same():
    other = replace(GRAPH, columns=("S2", "S1+1", "END"))
    assert mask_bytes(Circuit.full(GRAPH)) != mask_bytes(Circuit.full(other))


def test_columns_of_one_name_are_refused():
    with pytest.raises(GraphError, match="each must have a name of its own"):
        replace(GRAPH, columns=("A", "A"), read_at=("A",))
