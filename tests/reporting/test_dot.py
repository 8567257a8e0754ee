"""The picture of a circuit: what the DOT text says, read back by Graphviz's parser."""

import xml.etree.ElementTree as ElementTree

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.errors import OutputError
from circuitkit.reporting.dot import (
    MAX_DRAWN,
    READ_COLOURS,
    circuit_dot,
    pen_width,
    picture_dot,
)
from circuitkit.reporting.render import render_dot

from .conftest import SCORES
from .dot_reader import read_dot


def drawn_edges(dot):
    """Return edge name -> attributes and both ends, of every edge that is not invisible."""
    _, edges = read_dot(dot)
    drawn = [edge for edge in edges if edge["style"] != "invis"]
    named = {edge["tooltip"].split()[0]: edge for edge in drawn}
    assert len(named) == len(drawn)
    return named


def centre(svg, component):
    """Return where the name of a component stands in the drawing."""
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if text.text == component:
            return float(text.get("x")), float(text.get("y"))
    raise AssertionError(component)


def test_every_edge_of_the_circuit_is_drawn_exactly_once_and_no_other(circuit):
    assert set(drawn_edges(circuit_dot(circuit))) == set(SCORES)


def test_edges_join_the_components_that_their_names_say(circuit):
    for name, edge in drawn_edges(circuit_dot(circuit)).items():
        assert edge["ends"] == Circuit.ends(name)


def test_edges_enter_a_head_at_the_slot_of_what_they_feed(circuit):
    edges = drawn_edges(circuit_dot(circuit))
    assert edges["a0.h2->a1.h0<q>"]["headport"] == "q:n"
    assert edges["a0.h2->a1.h0<k>"]["headport"] == "k:n"
    assert edges["m0->a1.h0<v>"]["headport"] == "v:n"


def test_colour_says_what_an_edge_feeds(circuit):
    colours = {name: e["color"] for name, e in drawn_edges(circuit_dot(circuit)).items()}
    assert colours == {
        "input->a0.h2<v>": READ_COLOURS["v"],
        "a0.h2->a1.h0<q>": READ_COLOURS["q"],
        "a0.h2->a1.h0<k>": READ_COLOURS["k"],
        "a0.h2->m0": READ_COLOURS["mlp"],
        "m0->a1.h0<v>": READ_COLOURS["v"],
        "a1.h0->logits": READ_COLOURS["logits"],
    }
    assert len(set(READ_COLOURS.values())) == 5


def test_pen_width_orders_edges_by_absolute_score(circuit):
    edges = drawn_edges(circuit_dot(circuit))
    by_width = sorted(edges, key=lambda name: float(edges[name]["penwidth"]))
    assert by_width == sorted(SCORES, key=lambda name: abs(SCORES[name]))


def test_the_widest_line_does_not_depend_on_the_unit_of_the_scores():
    assert pen_width(-4.0, 4.0) == pen_width(1e-9, 1e-9)
    assert 0 < pen_width(0.0, 0.0) == pen_width(0.0, 3.0) < pen_width(1.0, 3.0)


def test_only_negative_scores_are_dashed(circuit):
    edges = drawn_edges(circuit_dot(circuit))
    dashed = [name for name, edge in edges.items() if edge["style"] == "dashed"]
    assert dashed == ["a0.h2->a1.h0<k>"]


def test_tooltips_give_the_score_with_its_sign(circuit):
    edges = drawn_edges(circuit_dot(circuit))
    assert edges["a0.h2->a1.h0<k>"]["tooltip"].split()[1] == "-2"
    assert edges["a1.h0->logits"]["tooltip"].split()[1] == "+3"


def test_rows_go_from_the_input_through_heads_and_mlp_of_each_layer_to_the_logits(circuit):
    svg = render_dot(circuit_dot(circuit), "svg")
    order = ["input", "a0.h2", "m0", "a1.h0", "logits"]
    heights = [centre(svg, component)[1] for component in order]
    assert heights == sorted(heights)
    assert len(set(heights)) == 5


def test_heads_of_a_layer_share_a_row_though_nothing_joins_them():
    graph = ComponentGraph(n_layers=2, n_heads=3, d_model=8)
    edges = ["input->a1.h0<q>", "input->a0.h1<v>", "a0.h1->a1.h2<k>", "input->a0.h0<q>"]
    svg = render_dot(circuit_dot(Circuit.of_edges(graph, edges)), "svg")
    height = {name: centre(svg, name)[1] for name in ("a0.h0", "a0.h1", "a1.h0", "a1.h2")}
    assert height["a0.h0"] == height["a0.h1"] < height["a1.h0"] == height["a1.h2"]


def test_heads_and_mlps_differ_in_shape(circuit):
    nodes, _ = read_dot(circuit_dot(circuit))
    shapes = {name: nodes[name]["shape"] for name in ("a0.h2", "m0", "logits")}
    assert len(set(shapes.values())) == 3


def test_the_same_circuit_gives_the_same_text(circuit):
    again = circuit.with_edges(circuit.graph.mask_of(list(reversed(SCORES))))
    assert circuit_dot(circuit, "x") == circuit_dot(again, "x")


def test_of_a_very_large_circuit_the_strongest_edges_are_drawn_and_the_title_says_so():
    graph = ComponentGraph(n_layers=3, n_heads=5, d_model=8)
    values = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    at = graph.edge_index
    values[at[:, 0], at[:, 1]] = torch.arange(graph.n_edges, dtype=torch.float64)
    full = Circuit(graph, graph.edge_mask, EdgeScores(graph, -values))
    dot = picture_dot(full, "large")
    assert set(drawn_edges(dot)) == set(graph.edge_names[-MAX_DRAWN:])
    assert f"large (the {MAX_DRAWN} with" in dot
    assert len(drawn_edges(circuit_dot(full))) == graph.n_edges > MAX_DRAWN


def test_a_circuit_that_fits_is_drawn_whole(circuit):
    assert picture_dot(circuit, "x") == circuit_dot(circuit, "x")


def test_an_empty_circuit_shows_input_and_logits_without_edges():
    empty = Circuit.empty(ComponentGraph(n_layers=2, n_heads=3, d_model=8))
    dot = circuit_dot(empty)
    assert drawn_edges(dot) == {}
    assert centre(render_dot(dot, "svg"), "input")[1] < centre(render_dot(dot, "svg"), "logits")[1]


def test_the_legend_names_every_colour(circuit):
    texts = [t.strip() for t in ElementTree.fromstring(svg_of(circuit)).itertext()]
    for words in ("edge into:", "q", "k", "v", "MLP", "logits"):
        assert words in texts


def svg_of(circuit, title=""):
    return render_dot(circuit_dot(circuit, title), "svg")


@pytest.mark.parametrize(
    "title", ["<b>&amp;</b>", 'quote " \\', "line\nbreak\x00", "日本 ünï", "-->"]
)
def test_any_title_can_be_drawn_and_is_shown_as_text(circuit, title):
    texts = [text.strip() for text in ElementTree.fromstring(svg_of(circuit, title)).itertext()]
    assert "".join(letter for letter in title if letter.isprintable()) in texts


@pytest.mark.parametrize(("format", "magic"), [("png", b"\x89PNG\r\n"), ("pdf", b"%PDF-")])
def test_pictures_are_files_of_their_format(circuit, format, magic):
    picture = render_dot(circuit_dot(circuit), format)
    assert picture.startswith(magic)
    assert len(picture) > 2000


def test_the_picture_brings_its_own_light_background(circuit):
    first = next(
        ElementTree.fromstring(svg_of(circuit)).iter("{http://www.w3.org/2000/svg}polygon")
    )
    assert first.get("fill") == "#fcfcfa"


def test_text_that_is_no_graph_is_refused():
    with pytest.raises(OutputError, match=r"picture \(svg\)"):
        render_dot("digraph {", "svg")
