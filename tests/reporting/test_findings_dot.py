"""The picture of the groups."""

import re
from dataclasses import replace
from html import unescape

import pytest

from circuitkit.interpretation.findings import Group, GroupEdge
from circuitkit.interpretation.groups import diagram
from circuitkit.reporting.findings_dot import box_names, groups_dot
from circuitkit.reporting.render import render_dot

from .interpretations import near


@pytest.fixture
def found(interpreted):
    return interpreted.interpretation


def test_every_group_and_edge_is_drawn_with_its_effect(found):
    svg = unescape(render_dot(groups_dot(found), "svg").decode())
    for words in ("duplicate finders", "name movers", "2 edges, 1.25", "1 edge, -0.75"):
        assert words in svg
    assert sorted(re.findall(r'id="(e\d)"', svg)) == ["e0", "e1", "e2"]


def test_ends_that_are_no_group_are_named_after_the_groups(found):
    assert box_names(diagram(found)) == ("duplicate finders", "name movers", "input", "logits")


def test_an_effect_against_the_behaviour_is_dashed_and_a_large_one_wide(found):
    lines = [line for line in groups_dot(found).splitlines() if "->" in line]
    assert ["dashed" in line for line in lines] == [False, False, True]
    widths = [float(re.search(r"penwidth=([\d.]+)", line).group(1)) for line in lines]
    assert max(widths) == widths[1] == 5.0


def test_what_hardly_matters_is_left_to_the_tables(found):
    edges = list(found.group_edges)
    edges[0] = replace(edges[0], effect=near(0.0199 * found.gap.value))
    edges[2] = replace(edges[2], effect=near(-0.0201 * found.gap.value))
    dot = groups_dot(replace(found, group_edges=tuple(edges)))
    assert re.findall(r"id=(e\d)", dot) == ["e1", "e2"]
    assert [name in dot for name in ("input", "logits", "duplicate finders")] == [False, True, True]
    none = groups_dot(replace(found, group_edges=tuple(edges[:1])))
    assert "->" not in none
    assert "name movers" in none  # then all groups are drawn


def test_it_fits_on_a_slide(found):
    many = tuple(Group(f"group {n}", tuple(f"a{n}.h{h}" for h in range(12)), "") for n in range(14))
    edges = tuple(GroupEdge(f"group {n}", f"group {n + 1}", 1, near(1.0)) for n in range(13))
    svg = render_dot(groups_dot(replace(found, groups=many, group_edges=edges)), "svg").decode()
    width, height = map(float, re.search(r'width="(.*?)pt" height="(.*?)pt"', svg).groups())
    assert width <= 10 * 72 + 1
    assert height <= 5.6 * 72 + 1


@pytest.mark.parametrize("name", ['a:b "c"', "<b>&</b>", "\\N\\n", "", "\u2028", "]["])
def test_any_name_can_be_drawn(found, name):
    groups = (Group(name, ("a0.h0",), name),)
    edges = (GroupEdge(name, "logits", 1, near(1.0)),)
    svg = render_dot(groups_dot(replace(found, groups=groups, group_edges=edges)), "svg").decode()
    assert "a0.h0" in svg
    assert svg.count('class="edge"') == 1
