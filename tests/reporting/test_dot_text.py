"""DOT text, read back by Graphviz's own parser."""

import pytest

from circuitkit.reporting.dot_text import Digraph, Html

from .dot_reader import read_dot

HOSTILE = ['quote " here', "back\\slash \\N", "a -> b; c", "node", "Graph", "-1.5.2", "日本"]


def digraph():
    return Digraph("test", graph={}, node={}, edge={})


@pytest.mark.parametrize("text", HOSTILE)
def test_any_name_and_any_tooltip_come_back_as_they_are(text):
    picture = digraph()
    picture.node(f"n {text}", "x", tooltip=text)
    nodes, _ = read_dot(picture.source)
    assert nodes[f"n {text}".replace("\\", "\\\\")]["tooltip"] == text.replace("\\", "\\\\")


@pytest.mark.parametrize("name", ["node", "Graph", "strict", "1a", "a-b", "a.b"])
def test_a_name_that_dot_would_read_otherwise_is_quoted(name):
    picture = digraph()
    picture.node(name, "x")
    picture.edge(name, f"{name}2")
    nodes, edges = read_dot(picture.source)
    assert set(nodes) == {name, f"{name}2"}
    assert [edge["ends"] for edge in edges] == [(name, f"{name}2")]


def test_an_entity_in_plain_text_is_shown_and_not_read():
    picture = digraph()
    picture.node("a", "1 &lt; 2 & 3")
    nodes, _ = read_dot(picture.source)
    assert nodes["a"]["label"] == "1 &amp;lt; 2 &amp; 3"


def test_markup_is_markup_only_where_it_is_marked():
    picture = digraph()
    picture.node("a", Html("<<B>x</B>>"))
    picture.node("b", "<<B>x</B>>")
    assert "a [label=<<B>x</B>>]" in picture.source
    assert 'b [label="<<B>x</B>>"]' in picture.source


def test_letters_that_no_picture_can_show_are_dropped():
    picture = digraph()
    picture.node("a", "x", tooltip="one\x00two\x1b")
    nodes, _ = read_dot(picture.source)
    assert nodes["a"]["tooltip"] == "onetwo"


def test_an_edge_starts_and_ends_at_its_ports():
    picture = digraph()
    picture.edge("a0.h1:out:s", "m0:n", label="two words")
    _, [edge] = read_dot(picture.source)
    assert edge["ends"] == ("a0.h1", "m0")
    assert (edge["tailport"], edge["headport"]) == ("out:s", "n")
    assert edge["label"] == "two words"


def test_only_what_is_added_inside_a_row_shares_its_rank():
    picture = digraph()
    with picture.row("first row"):
        picture.node("a", "x")
    picture.node("b", "x")
    inside = picture.source.split("{")[2].split("}")[0]
    assert "rank=same" in inside
    assert "a [" in inside
    assert "b [" not in inside
