"""The circuit at the level of groups, as DOT text: a picture that fits on a slide.

A box is a group with its components, an arrow all edges from one group to another, labelled with
their number and the exact effect of noising them together; its width is the size of the effect, a
dashed line a negative one. Arrows of less than LEAST of the gap, and groups with no other arrow,
are left to the tables.
"""

import textwrap

from circuitkit.interpretation.findings import Group, GroupEdge, Interpretation
from circuitkit.interpretation.roles.causes import LEAST
from circuitkit.reporting.content import number
from circuitkit.reporting.dot import (
    EDGE_STYLE,
    FILLS,
    FONT,
    GRAPH_STYLE,
    INK,
    NODE_STYLE,
    box_label,
    pen_width,
)
from circuitkit.reporting.dot_text import Digraph

SLIDE = "10,5.6"  # inches: larger pictures shrink
MAX_LINE = 26  # letters of a line in a box


def groups_dot(interpretation: Interpretation) -> str:
    """Return the groups and the edges between them as DOT text, the input on top.

    The nodes are named g0, g1, ... in the order of `group_names`, as a name may hold anything; the
    id of an edge is `e` and its number.
    """
    style = {**GRAPH_STYLE, "pad": "0.1", "ranksep": "0.55", "nodesep": "0.4", "size": SLIDE}
    labelled = {**EDGE_STYLE, "fontname": FONT, "fontsize": "10", "fontcolor": INK}
    picture = Digraph("groups", graph=style, node=NODE_STYLE, edge=labelled)
    groups = {group.name: group for group in interpretation.groups}
    names = group_names(interpretation)
    least = LEAST * abs(interpretation.gap.value)
    drawn = {
        at: edge
        for at, edge in enumerate(interpretation.group_edges)
        if abs(edge.effect.value) >= least
    }
    touched = {end for edge in drawn.values() for end in (edge.sender, edge.receiver)}
    for at, name in enumerate(names):
        if name in touched or not drawn:
            _add_group(picture, f"g{at}", groups.get(name, Group(name, (), "")))
    largest = max((abs(edge.effect.value) for edge in drawn.values()), default=0.0)
    for number_of_edge, edge in drawn.items():
        ends = f"g{names.index(edge.sender)}", f"g{names.index(edge.receiver)}"
        width = pen_width(edge.effect.value, largest)
        _add_edge(picture, ends, edge, width, f"e{number_of_edge}")
    return picture.source


def group_names(interpretation: Interpretation) -> tuple[str, ...]:
    """Return the groups, then the other ends of edges between groups: the input, the logits."""
    groups = [group.name for group in interpretation.groups]
    ends = [end for edge in interpretation.group_edges for end in (edge.sender, edge.receiver)]
    return tuple(dict.fromkeys([*groups, *ends]))


def _add_group(picture: Digraph, node: str, group: Group) -> None:
    lines = textwrap.wrap(", ".join(group.components), MAX_LINE)
    picture.node(
        node,
        box_label(group.name, lines),
        shape="box" if lines else "ellipse",
        style="rounded,filled" if lines else "filled",
        fillcolor=FILLS["head" if lines else "input"],
        tooltip=group.summary or group.name,
    )


def _add_edge(
    picture: Digraph, ends: tuple[str, str], edge: GroupEdge, width: float, name: str
) -> None:
    count = f"{edge.n_edges} {'edge' if edge.n_edges == 1 else 'edges'}"
    picture.edge(
        *ends,
        label=f" {count}, {number(edge.effect.value)} ",
        id=name,
        penwidth=f"{width:.2f}",
        style="dashed" if edge.effect.value < 0 else "solid",
        color="#555555",
        tooltip=f"{edge.sender} to {edge.receiver}: {count}",
    )
