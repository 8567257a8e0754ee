"""A diagram as DOT text, as of the circuit's groups: a picture that fits on a slide.

A box shows its name and what it holds, an arrow what is said of it and its effect; its width is the
size of the effect, a dashed line a negative one. Arrows of less than the diagram's `least`, and
boxes with no other arrow, are left to the tables.
"""

import textwrap

from circuitkit.interpretation.findings import Interpretation
from circuitkit.interpretation.groups import diagram
from circuitkit.interpretation.section import Arrow, Box, Diagram
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
from circuitkit.reporting.values import rounded

SLIDE = "10,5.6"  # inches: larger pictures shrink
MAX_LINE = 26  # letters of a line in a box


def groups_dot(found: Interpretation) -> str:
    """Return the groups and the edges between them as DOT text, the input on top."""
    return diagram_dot(diagram(found))


def diagram_dot(drawn: Diagram) -> str:
    """Return a diagram as DOT text.

    The nodes are named g0, g1, ... in the order of `box_names`, as a name may hold anything; the
    id of an edge is `e` and its number.
    """
    style = {**GRAPH_STYLE, "pad": "0.1", "ranksep": "0.55", "nodesep": "0.4", "size": SLIDE}
    labelled = {**EDGE_STYLE, "fontname": FONT, "fontsize": "10", "fontcolor": INK}
    picture = Digraph("groups", graph=style, node=NODE_STYLE, edge=labelled)
    boxes = {box.name: box for box in drawn.boxes}
    names = box_names(drawn)
    arrows = {
        at: arrow for at, arrow in enumerate(drawn.arrows) if abs(arrow.effect.value) >= drawn.least
    }
    touched = {end for arrow in arrows.values() for end in (arrow.sender, arrow.receiver)}
    for at, name in enumerate(names):
        if name in touched or not arrows:
            _add_box(picture, f"g{at}", boxes.get(name, Box(name)))
    largest = max((abs(arrow.effect.value) for arrow in arrows.values()), default=0.0)
    for at, arrow in arrows.items():
        ends = f"g{names.index(arrow.sender)}", f"g{names.index(arrow.receiver)}"
        _add_arrow(picture, ends, arrow, pen_width(arrow.effect.value, largest), f"e{at}")
    return picture.source


def box_names(drawn: Diagram) -> tuple[str, ...]:
    """Return the boxes, then the other ends of arrows: of groups the input, the logits."""
    ends = [end for arrow in drawn.arrows for end in (arrow.sender, arrow.receiver)]
    return tuple(dict.fromkeys([*(box.name for box in drawn.boxes), *ends]))


def _add_box(picture: Digraph, node: str, box: Box) -> None:
    lines = textwrap.wrap(", ".join(box.holds), MAX_LINE)
    picture.node(
        node,
        box_label(box.name, lines),
        shape="box" if lines else "ellipse",
        style="rounded,filled" if lines else "filled",
        fillcolor=FILLS["head" if lines else "input"],
        tooltip=box.says or box.name,
    )


def _add_arrow(
    picture: Digraph, ends: tuple[str, str], arrow: Arrow, width: float, name: str
) -> None:
    says = [arrow.says] if arrow.says else []
    picture.edge(
        *ends,
        label=f" {', '.join([*says, rounded(arrow.effect)])} ",
        id=name,
        penwidth=f"{width:.2f}",
        style="dashed" if arrow.effect.value < 0 else "solid",
        color="#555555",
        tooltip=": ".join([f"{arrow.sender} to {arrow.receiver}", *says]),
    )
