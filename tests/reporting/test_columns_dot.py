"""The picture of a circuit at columns, read back by Graphviz's parser."""

import re

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.reporting.columns_dot import dot_of
from circuitkit.reporting.dot import circuit_dot
from circuitkit.reporting.render import render_dot

TOY = ComponentGraph(n_layers=2, n_heads=3, d_model=8)
GRAPH = ColumnGraph.over(TOY, ("S1", "S1+1", "END"), "roles", ("END",))
PATH = ["input->a0.h1<v>@S1", "a0.h1->a1.h2<k>@S1+1", "a1.h2->m1@END", "m1->logits@END"]


def centres(svg):
    """Return where each node is drawn, by its title."""
    found = re.findall(r'<g id="node\d+"[^>]*>\s*<title>([^<]*)</title>(.*?)</g>', svg, re.DOTALL)
    places = {}
    for title, body in found:
        points = re.findall(r"(-?[\d.]+),(-?[\d.]+)|[ c]x=\"(-?[\d.]+)\"", body)
        xs = [float(a or c) for a, _, c in points if a or c]
        places[title.replace("&#45;", "-")] = sum(xs) / len(xs) if xs else 0.0
    return places


def test_each_column_has_its_name_and_stands_in_its_place():
    dot = dot_of(Circuit.of_edges(GRAPH, PATH), "path")
    svg = render_dot(dot, "svg").decode()
    at = centres(svg)
    assert at["a0.h1@S1"] < at["a0.h1@S1+1"] < at["a1.h2@END"]
    for title in ("S1", "S1+1", "END"):
        assert f">{title}</text>" in svg
    assert "a0.h1 attends from S1+1 to S1" in dot
    assert "a1.h2 attends from END to S1+1" in dot
    assert dot.count("attends from") == 2
    assert all(f"{edge} +0" in dot for edge in PATH)


def test_a_column_that_no_edge_touches_is_not_drawn_and_whole_edges_are_drawn_as_ever():
    dot = dot_of(Circuit.of_edges(GRAPH, PATH[2:]))
    assert "title @END" in dot
    assert "title @S1" not in dot
    whole = Circuit.of_edges(TOY, ["input->m1", "m1->logits"])
    assert dot_of(whole) == circuit_dot(whole)
