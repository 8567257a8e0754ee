"""Pictures of circuits as DOT text, which render.py lays out and draws.

The input is on top, the logits at the bottom; the heads of a layer share a row and its MLP has the
next. A head is a box with one slot for each of its inputs q, k and v, so parallel edges end apart;
an MLP is rounded. Colour says which input an edge feeds (Okabe and Ito's colour-blind-safe
palette), pen width its |score| relative to the largest, a dashed line a negative score.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape

import torch

from circuitkit.circuits.circuit import Circuit, kind_of, layer_of
from circuitkit.circuits.graph import INPUT, LOGITS, READS, ComponentGraph, read_of
from circuitkit.circuits.units import KINDS as UNIT_KINDS
from circuitkit.reporting.dot_text import Digraph, Html

READ_COLOURS = {
    "q": "#0072B2",
    "k": "#D55E00",
    "v": "#009E73",
    "mlp": "#CC79A7",
    "logits": "#4D4D4D",
}
PAPER, INK, FAINT = "#FCFCFA", "#222222", "#8A8A8A"
FILLS = {
    "input": "#EDEDED",
    "head": "#E3EEF7",
    "mixer": "#E3EEF7",
    "mlp": "#FBEAF3",
    "neuron": "#FFF4D6",
    "feature": "#E6F4E6",
    "error": "#F3E3DC",
    "rest": "#F4F0F8",
    "logits": "#EDEDED",
}
FONT = "DejaVu Sans"  # the widest of what readers may have: a label fits its box in any of them
MIN_WIDTH, MAX_WIDTH = 0.7, 5.0
MAX_DRAWN = 200

GRAPH_STYLE = {
    "rankdir": "TB",
    "bgcolor": PAPER,
    "fontname": FONT,
    "labelloc": "t",
    "labeljust": "l",
    "nodesep": "0.16",
    "ranksep": "0.75",
    "pad": "0.3",
    "tooltip": " ",
}
NODE_STYLE = {"fontname": FONT, "fontsize": "12", "fontcolor": INK, "color": "#555555"}
EDGE_STYLE = {"arrowsize": "0.6"}


def circuit_dot(circuit: Circuit, title: str = "") -> str:
    """Return the circuit as DOT text; the same circuit always gives the same text.

    The input and the logits are drawn even where no edge touches them.
    """
    picture = _blank(GRAPH_STYLE)
    picture.set("label", picture_heading(title))
    used = {edge.partition("->")[2] for edge in circuit.edges}
    reads_of = {
        name: {read: READ_COLOURS[read] for read in READS if f"{name}<{read}>" in used}
        for name in circuit.graph.components
    }
    _draw(picture, circuit, reads_of, {})
    return picture.source


def sizes_dot(circuit: Circuit, weights: Mapping[str, int]) -> str:
    """Return DOT text of a picture of which a part is shown at a time, without a heading.

    The heavier an edge, the shorter and straighter Graphviz draws it: the parts that are looked at
    most should be heavy. Slots have no colour, as their edges come and go. The id of an edge is
    its name.
    """
    picture = _blank({**GRAPH_STYLE, "ranksep": "0.5", "pad": "0.1"})
    _draw(picture, circuit, {}, weights)
    return picture.source


def _blank(graph_style: Mapping[str, str]) -> Digraph:
    return Digraph("circuit", graph=graph_style, node=NODE_STYLE, edge=EDGE_STYLE)


def _draw(
    picture: Digraph,
    circuit: Circuit,
    reads_of: Mapping[str, Mapping[str, str]],
    weights: Mapping[str, int],
) -> None:
    """Add the components, with the colours of the slots that are used, and the edges."""
    touched = {INPUT, LOGITS, *circuit.components}
    components = [name for name in circuit.graph.components if name in touched]

    def add(name: str) -> None:
        add_component(picture, name, reads_of.get(name, {}))

    add_rows(picture, components, circuit.graph, add)
    scores: list[float] = circuit.scores.by_edge().tolist()
    kept = [(edge, scores[circuit.graph.edge_number(edge)]) for edge in circuit.edges]
    largest = max((abs(score) for _, score in kept), default=0.0)
    for name in components:
        reader = circuit.graph.reader_of(name)
        if reader != name and reader in touched:
            picture.edge(f"{reader}:s", f"{name}:n", **_INSIDE)
    for edge, score in kept:
        laid_out = {"weight": str(weights[edge]), "id": edge} if edge in weights else {}
        _add_edge(picture, edge, score, largest, laid_out)


def picture_dot(circuit: Circuit, title: str) -> str:
    """Return DOT text fit to be looked at: of a very large circuit, the strongest edges."""
    return circuit_dot(*strongest_edges(circuit, title))


def strongest_edges(circuit: Circuit, title: str) -> tuple[Circuit, str]:
    """Return the MAX_DRAWN strongest edges of a very large circuit, and a title that says so.

    A picture of a thousand edges takes a minute and shows nothing.
    """
    if circuit.n_edges <= MAX_DRAWN:
        return circuit, title
    numbers = [circuit.graph.edge_number(edge) for edge in circuit.edges]
    strength = circuit.scores.by_edge()[numbers].abs()
    ranked: list[int] = torch.argsort(strength, descending=True, stable=True).tolist()
    strongest = [circuit.edges[at] for at in ranked[:MAX_DRAWN]]
    drawn = circuit.with_edges(circuit.graph.mask_of(strongest))
    return drawn, f"{title} (the {MAX_DRAWN} with the largest |score| are drawn)"


def colour_of(read: str) -> str:
    """Return the colour of edges that are read so: a mixer's, as an MLP's."""
    return READ_COLOURS.get(read, READ_COLOURS["mlp"])


def pen_width(score: float, largest: float) -> float:
    """Return the width of an edge's line, in points; `largest` is the circuit's largest |score|."""
    share = abs(score) / largest if largest else 0.0
    return MIN_WIDTH + (MAX_WIDTH - MIN_WIDTH) * share


ROWS = ("heads", "mlp", "units")  # of a layer


def _row_of(component: str, graph: ComponentGraph) -> tuple[int, int]:
    """Return a sort key: layer, then heads before the MLP, then units that hang on it."""
    kind = graph.kind_of(component)
    row = int(kind == "mlp" or kind in UNIT_KINDS) + (graph.reader_of(component) != component)
    return layer_of(component, graph), row


def add_rows(
    picture: Digraph,
    components: list[str],
    graph: ComponentGraph,
    add: Callable[[str], None],
) -> None:
    """Let `add` add every component, one rank a row; row names on the left keep the order."""
    rows = sorted({_row_of(name, graph) for name in components})
    for row in rows:
        with picture.row(f"row {row[0]} {ROWS[row[1]]}"):
            picture.node(_row_name(row), _row_label(row, graph), **_ROW_NAME)
            for name in components:
                if _row_of(name, graph) == row:
                    add(name)
    for above, below in zip(rows, rows[1:], strict=False):
        picture.edge(_row_name(above), _row_name(below), style="invis", weight="1000")


_INSIDE = {"style": "dotted", "color": FAINT, "arrowhead": "none", "tooltip": "computed there"}
_ROW_NAME = {"shape": "plaintext", "fontcolor": FAINT, "fontsize": "11", "tooltip": " "}


def _row_name(row: tuple[int, int]) -> str:
    return f"name of row {row[0]} {ROWS[row[1]]}"


def _row_label(row: tuple[int, int], graph: ComponentGraph) -> str:
    layer, kind = row
    if layer in (-1, graph.n_layers):
        return ""
    return f"layer {layer} {('heads', 'MLP', 'features')[kind]}"


@dataclass(frozen=True)
class Outline:
    """How the outline of a component is drawn."""

    colour: str = "#555555"
    style: str = "solid"
    width: int = 1


PLAIN = Outline()


def add_component(
    picture: Digraph,
    name: str,
    reads: Mapping[str, str],
    *,
    outline: Outline = PLAIN,
    tooltip: str = "",
    **placed: str,
) -> None:
    """Add a component; `reads` colours the slots of a head's inputs that are used.

    `placed` are attributes of its place; `node` its name in DOT, if it stands at several.
    """
    kind = kind_of(name)
    tooltip = tooltip or name
    node = placed.pop("node", name)
    if kind == "head":
        label = _head_label(name, reads, outline)
        picture.node(node, label, shape="plain", tooltip=tooltip, **placed)
        return
    boxes = {kind: ("box", "rounded,filled") for kind in ("mlp", *UNIT_KINDS)}
    boxes["mixer"] = ("box", "filled")
    shape, style = boxes.get(kind, ("ellipse", "filled"))
    picture.node(
        node,
        name,
        **placed,
        shape=shape,
        style=f"{style},{outline.style}",
        color=outline.colour,
        penwidth=str(outline.width),
        fillcolor=FILLS[kind],
        tooltip=tooltip,
    )


def _head_label(name: str, reads: Mapping[str, str], outline: Outline) -> Html:
    slots = "".join(_slot(read, reads.get(read, "")) for read in READS)
    return Html(
        f'<<TABLE BORDER="{outline.width}" STYLE="{outline.style}" CELLBORDER="0" '
        f'CELLSPACING="0" CELLPADDING="3" COLOR="{outline.colour}" '
        f'BGCOLOR="{FILLS["head"]}"><TR>{slots}</TR>'
        f'<TR><TD COLSPAN="3" PORT="out">{name}</TD></TR></TABLE>>'
    )


def _slot(read: str, colour: str) -> str:
    fill, ink = (colour, "white") if colour else ("#F6F6F6", "#BBBBBB")
    return (
        f'<TD PORT="{read}" WIDTH="18" CELLPADDING="1" BGCOLOR="{fill}">'
        f'<FONT POINT-SIZE="9" COLOR="{ink}">{read}</FONT></TD>'
    )


def ports_of(edge: str) -> tuple[str, str]:
    """Return where the line of an edge starts and ends: a head's read edges end at its slot."""
    sender, component = Circuit.ends(edge)
    read = read_of(edge.partition("->")[2])
    tail = f"{sender}:out:s" if kind_of(sender) == "head" else f"{sender}:s"
    return tail, f"{component}:{read}:n" if read in READS else f"{component}:n"


def _add_edge(
    picture: Digraph,
    edge: str,
    score: float,
    largest: float,
    laid_out: Mapping[str, str],
) -> None:
    read = read_of(edge.partition("->")[2])
    picture.edge(
        *ports_of(edge),
        key=edge,
        color=colour_of(read),
        penwidth=f"{pen_width(score, largest):.2f}",
        style="dashed" if score < 0 else "solid",
        tooltip=f"{edge} {score:+.3g}",
        **laid_out,
    )


def picture_heading(title: str) -> Html:
    """Return what stands above the picture of a circuit: its title, and what the lines say."""
    names = {"q": "q", "k": "k", "v": "v", "mlp": "MLP", "logits": "logits"}
    swatches = "".join(
        f'<TD WIDTH="16" HEIGHT="10" FIXEDSIZE="TRUE" BGCOLOR="{READ_COLOURS[read]}"></TD>'
        f'<TD ALIGN="LEFT">{name}   </TD>'
        for read, name in names.items()
    )
    key = f'<TABLE BORDER="0" CELLSPACING="2"><TR><TD>edge into:</TD>{swatches}</TR></TABLE>'
    return heading(
        title,
        key,
        "solid: supports the behaviour (score above 0)",
        "dashed: opposes it; thickness: size of the score",
    )


def heading(title: str, *lines: str) -> Html:
    """Return what stands above a picture: the title, then lines of HTML-like label text."""
    first = [f"<B>{shown(title)}</B>"] if shown(title) else []
    rows = "".join(f'<TR><TD ALIGN="LEFT">{line}</TD></TR>' for line in [*first, *lines])
    return Html(
        f'<<FONT POINT-SIZE="11" COLOR="{INK}"><TABLE BORDER="0" CELLSPACING="0" CELLPADDING="2">'
        f"{rows}</TABLE></FONT>>"
    )


def box_label(title: str, lines: Iterable[str]) -> Html:
    """Return the label of a box: a title, and smaller lines below it."""
    rows = "".join(
        f'<TR><TD><FONT POINT-SIZE="10">{shown(line)}</FONT></TD></TR>' for line in lines
    )
    return Html(
        '<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">'
        f"<TR><TD><B>{shown(title) or '?'}</B></TD></TR>{rows}</TABLE>>"
    )


def shown(text: str) -> str:
    """Return text as it may stand in an HTML-like label."""
    return escape("".join(letter for letter in text if letter.isprintable()))
