"""The picture of two circuits: what the DOT text says, read back by Graphviz's parser."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.errors import GraphError
from circuitkit.reporting.diff_dot import BOTH, ONLY_A, ONLY_B, diff_dot
from circuitkit.reporting.dot import MAX_DRAWN, READ_COLOURS, circuit_dot
from circuitkit.reporting.render import render_dot

from .dot_reader import read_dot
from .test_dot import drawn_edges

GRAPH = ComponentGraph(n_layers=2, n_heads=3, d_model=8)


def scored(edges):
    values = torch.zeros(GRAPH.edge_mask.shape, dtype=torch.float64)
    for name, score in edges.items():
        sender, receiver = GRAPH.edge_index[GRAPH.edge_number(name)].tolist()
        values[sender, receiver] = score
    return Circuit(GRAPH, GRAPH.mask_of(list(edges)), EdgeScores(GRAPH, values))


# B scores in another unit: a thousand times smaller
A = scored({"input->a0.h2<v>": 2.0, "a0.h2->m0": 4.0, "m0->logits": -1.0, "a0.h2->logits": 1.0})
B = scored({"input->m0": 0.004, "m0->a1.h0<q>": 0.001, "a1.h0->logits": 0.002, "m0->logits": 0.003})


def drawn(a=A, b=B):
    return drawn_edges(diff_dot(a, b, "first", "second"))


def named(edges):
    """Return the edges by their names, which tooltips end with a colon."""
    return {name.rstrip(":"): edge for name, edge in edges.items()}


def test_every_edge_of_either_circuit_is_drawn_once():
    assert set(named(drawn())) == {*A.edges, *B.edges}


def test_colour_and_line_say_which_circuit_has_an_edge():
    looks = {name: (e["color"], e["style"]) for name, e in named(drawn()).items()}
    for name in (*A.edges, *B.edges):
        look = (
            BOTH if name in A.edges and name in B.edges else ONLY_A if name in A.edges else ONLY_B
        )
        assert looks[name] == (look.colour, look.style), name
    assert looks["m0->logits"] == (BOTH.colour, "solid")


def test_no_two_looks_share_a_colour_or_a_line():
    looks = (BOTH, ONLY_A, ONLY_B)
    assert len({look.colour for look in looks}) == len({look.style for look in looks}) == 3
    assert {ONLY_A.colour, ONLY_B.colour} < {*READ_COLOURS.values()}  # Okabe and Ito's palette


def test_exchanging_the_circuits_exchanges_the_looks():
    there, back = named(drawn()), named(drawn(B, A))
    assert there["input->m0"]["color"] == back["a0.h2->m0"]["color"] == ONLY_B.colour


def outlines(a=A, b=B):
    """Return the colour, the style and the tooltip of each component's outline."""
    nodes, _ = read_dot(diff_dot(a, b, "first", "second"))
    found = {}
    for name in a.graph.components:
        if name not in nodes:
            continue
        attributes = nodes[name]
        label = attributes["label"]
        if "TABLE" in label:
            colour, style = (re.search(f'{key}="(.*?)"', label)[1] for key in (" COLOR", " STYLE"))
        else:
            colour, style = attributes["color"], attributes["style"].rpartition(",")[2]
        found[name] = (colour, style, attributes["tooltip"])
    return found


def test_outlines_say_which_circuit_has_a_component():
    assert outlines() == {
        "input": (BOTH.colour, "solid", "input: in both"),
        "a0.h2": (ONLY_A.colour, ONLY_A.style, "a0.h2: only in A"),
        "m0": (BOTH.colour, "solid", "m0: in both"),
        "a1.h0": (ONLY_B.colour, ONLY_B.style, "a1.h0: only in B"),
        "logits": (BOTH.colour, "solid", "logits: in both"),
    }


def test_of_two_empty_circuits_only_the_ends_are_drawn():
    empty = Circuit.empty(GRAPH)
    assert {name: tip for name, (_, _, tip) in outlines(empty, empty).items()} == {
        "input": "input: in neither",
        "logits": "logits: in neither",
    }
    assert drawn(empty, empty) == {}


def test_tooltips_give_both_scores_each_from_its_own_file():
    tips = {name: edge["tooltip"] for name, edge in named(drawn()).items()}
    assert tips["m0->logits"] == "m0->logits: in both; score in A -1, B +0.003"
    assert tips["a0.h2->m0"] == "a0.h2->m0: only in A; score in A +4, B +0"
    assert tips["input->m0"] == "input->m0: only in B; score in A +0, B +0.004"


def test_width_is_a_share_of_the_own_circuits_largest_score():
    widths = {name: float(edge["penwidth"]) for name, edge in named(drawn()).items()}
    largest_a = widths["a0.h2->m0"] - ONLY_A.extra_width
    assert largest_a == widths["input->m0"] - ONLY_B.extra_width > widths["m0->logits"]
    alone = {name: float(e["penwidth"]) for name, e in drawn_edges(circuit_dot(B)).items()}
    assert widths["m0->logits"] == alone["m0->logits"]  # the larger of its shares, 1/4 and 3/4


def test_the_legend_names_both_circuits_and_the_counts():
    svg = render_dot(diff_dot(A, B, "eap <1>", "exact & co"), "svg")
    text = " ".join("".join(ElementTree.fromstring(svg).itertext()).split())
    for words in (
        "Edges: 1 in both circuits, 3 only in A, 3 only in B (Jaccard overlap 0.14)",
        "only in A: eap <1>",
        "only in B: exact & co",
    ):
        assert words in text


def test_of_very_many_edges_the_strongest_are_drawn_and_the_title_says_so():
    graph = ComponentGraph(n_layers=3, n_heads=5, d_model=8)
    values = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    at = graph.edge_index
    values[at[:, 0], at[:, 1]] = -torch.arange(graph.n_edges, dtype=torch.float64)
    full = Circuit(graph, graph.edge_mask, EdgeScores(graph, values))
    dot = diff_dot(full, Circuit.empty(graph), "full", "empty")
    assert set(named(drawn_edges(dot))) == set(graph.edge_names[-MAX_DRAWN:])
    assert f"; the {MAX_DRAWN} with the largest" in dot


def test_different_architectures_are_refused():
    other = Circuit.empty(ComponentGraph(n_layers=3, n_heads=3, d_model=8))
    with pytest.raises(GraphError, match="one architecture"):
        diff_dot(A, other, "a", "b")


def test_the_same_circuits_give_the_same_text():
    assert diff_dot(A, B, "a", "b") == diff_dot(A.with_edges(A.edge_mask), B, "a", "b")
