"""The picture of what circuits of different models share: the graph of their groups, as DOT text.

A box is a group, with the number of its components in each model; an arrow is all edges from one
group to another into one kind of input, labelled with their effects in the models, in shares of
the gap. Solid: in all models; dashed: in some. Colour says which input is fed, as in dot.py.
"""

from circuitkit.circuits.graph import INPUT, LOGITS
from circuitkit.interpretation.comparison import Comparison, SharedEdge, SharedGroup
from circuitkit.reporting.dot import (
    EDGE_STYLE,
    FILLS,
    FONT,
    GRAPH_STYLE,
    INK,
    NODE_STYLE,
    box_label,
    colour_of,
    heading,
    pen_width,
    shown,
)
from circuitkit.reporting.dot_text import Digraph, Html


def comparison_dot(comparison: Comparison) -> str:
    """Return the groups that any model has and the edges that carry something, as DOT text."""
    style = {**GRAPH_STYLE, "ranksep": "0.6", "nodesep": "0.4"}
    labelled = {**EDGE_STYLE, "fontname": FONT, "fontsize": "9", "fontcolor": INK}
    picture = Digraph("shared", graph=style, node=NODE_STYLE, edge=labelled)
    picture.set("label", _heading(comparison))
    n_models = len(comparison.models)
    largest = max((_mean(edge) for edge in comparison.edges), default=0.0)
    ends = {end for edge in comparison.edges for end in (edge.sender, edge.receiver)}
    groups = [group for group in comparison.groups if group.name in ends]
    nodes = {group.name: f"g{at}" for at, group in enumerate(groups)} | {
        INPUT: INPUT,
        LOGITS: LOGITS,
    }
    for group in groups:
        _add_group(picture, nodes[group.name], group)
    for end in (INPUT, LOGITS):
        picture.node(end, end, shape="ellipse", style="filled", fillcolor=FILLS[end])
    for edge in comparison.edges:
        in_all = edge.n_models == n_models
        picture.edge(
            nodes[edge.sender],
            nodes[edge.receiver],
            label=f" {edge.read}: {' / '.join(f'{share:.2f}' for share in edge.shares)} ",
            color=colour_of(edge.read),
            penwidth=f"{pen_width(_mean(edge), largest):.2f}",
            style="solid" if in_all else "dashed",
            tooltip=f"{edge.sender} to {edge.receiver}",
        )
    return picture.source


def _add_group(picture: Digraph, node: str, group: SharedGroup) -> None:
    counts = " / ".join(str(len(components)) for components in group.components)
    in_all = all(group.components)
    picture.node(
        node,
        box_label(group.name, [counts]),
        shape="box",
        style="rounded,filled" if in_all else "rounded,filled,dashed",
        fillcolor=FILLS["mlp" if group.name.endswith("MLPs") else "head"],
        tooltip="; ".join(", ".join(each) or "none" for each in group.components),
    )


def _mean(edge: SharedEdge) -> float:
    return sum(map(abs, edge.shares)) / len(edge.shares)


def _heading(comparison: Comparison) -> Html:
    letters = comparison.letters
    models = (
        f"{letter}: {shown(task)} in {shown(model)}"
        for letter, task, model in zip(letters, comparison.tasks, comparison.models, strict=True)
    )
    overlaps = ", ".join(
        f"{letters[pair.a]} and {letters[pair.b]} {pair.groups.value:.2f} "
        f"(by chance {pair.groups.null:.2f}, p = {pair.groups.p:.2g})"
        for pair in comparison.pairs
    )
    return heading(
        f"What {len(comparison.models)} circuits share, by what their components do",
        *models,
        f"overlap of the graphs of groups, 0 to 1: {overlaps}",
        "in a box: components in each model; on an arrow: effect in each, as a share of its gap",
        "solid: in all models; dashed: in some",
    )
