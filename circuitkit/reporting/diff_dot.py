"""The picture of two circuits of one architecture: what both have, and what only one has.

Laid out as the picture of one circuit (dot.py). Who has an edge or a component is said by colour
and by line: both, grey and solid; only A, blue and dashed; only B, vermilion and dotted. Pen width
is |score| relative to the largest of its own circuit, as two methods need not share a unit; of an
edge in both, the larger share.
"""

from dataclasses import dataclass

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.diff import CircuitDiff, diff_circuits
from circuitkit.circuits.graph import INPUT, LOGITS, READS
from circuitkit.reporting.dot import (
    EDGE_STYLE,
    GRAPH_STYLE,
    MAX_DRAWN,
    NODE_STYLE,
    Outline,
    add_component,
    add_rows,
    heading,
    pen_width,
    ports_of,
    shown,
)
from circuitkit.reporting.dot_text import Digraph, Html


@dataclass(frozen=True)
class Look:
    """How what belongs to both circuits, or to one alone, is drawn."""

    where: str
    colour: str
    style: str
    sample: str  # of the line, in letters that Graphviz can measure: ASCII
    extra_width: float = 0.0  # in points: dots and dashes are fainter than a line
    outline_width: int = 1


BOTH = Look("in both", "#6E6E6E", "solid", "_____")
ONLY_A = Look("only in A", "#0072B2", "dashed", "_ _ _", 0.6, 2)
ONLY_B = Look("only in B", "#D55E00", "dotted", ". . .", 1.2, 3)
USED_SLOT = "#8A8A8A"


def diff_dot(a: Circuit, b: Circuit, name_a: str, name_b: str) -> str:
    """Return both circuits in one picture as DOT text; `name_a` and `name_b` go into the legend.

    The input and the logits are drawn even where no edge touches them. Of very many edges the
    MAX_DRAWN strongest are drawn, and the title says so.

    Raises:
        GraphError: the circuits are of different architectures.
    """
    diff = diff_circuits(a, b)
    shares = _shares(a, b)
    edges = _strongest(a, _looks_of_edges(diff), shares)
    components = _looks_of_components(a, b)
    picture = Digraph("circuits", graph=GRAPH_STYLE, node=NODE_STYLE, edge=EDGE_STYLE)
    picture.set("label", _heading(diff, len(edges), name_a, name_b))
    used = {edge.partition("->")[2] for edge in edges}

    def add(name: str) -> None:
        look = components.get(name)
        outline = Outline() if look is None else _outline(look)
        tooltip = f"{name}: {look.where if look else 'in neither'}"
        reads = {read: USED_SLOT for read in READS if f"{name}<{read}>" in used}
        add_component(picture, name, reads, outline=outline, tooltip=tooltip)

    drawn = [name for name in a.graph.components if name in {INPUT, LOGITS, *components}]
    add_rows(picture, drawn, a.graph, add)
    scores_a, scores_b = a.scores.by_edge().tolist(), b.scores.by_edge().tolist()
    for edge, look in edges.items():
        at = a.graph.edge_number(edge)
        picture.edge(
            *ports_of(edge),
            key=edge,
            color=look.colour,
            style=look.style,
            penwidth=f"{pen_width(shares[edge], 1.0) + look.extra_width:.2f}",
            tooltip=f"{edge}: {look.where}; score in A {scores_a[at]:+.3g}, B {scores_b[at]:+.3g}",
        )
    return picture.source


def _looks_of_edges(diff: CircuitDiff) -> dict[str, Look]:
    """Return the look of every edge; those in both come first, so that they lie below."""
    parts = ((BOTH, diff.both), (ONLY_A, diff.only_a), (ONLY_B, diff.only_b))
    return {edge: look for look, edges in parts for edge in edges}


def _looks_of_components(a: Circuit, b: Circuit) -> dict[str, Look]:
    in_a, in_b = set(a.components), set(b.components)
    only_a, only_b = dict.fromkeys(in_a - in_b, ONLY_A), dict.fromkeys(in_b - in_a, ONLY_B)
    return dict.fromkeys(in_a & in_b, BOTH) | only_a | only_b


def _outline(look: Look) -> Outline:
    return Outline(look.colour, look.style, look.outline_width)


def _shares(a: Circuit, b: Circuit) -> dict[str, float]:
    """Return |score| of every edge as a share of the largest in its circuit."""
    shares: dict[str, float] = {}
    for circuit in (a, b):
        scores: list[float] = circuit.scores.by_edge().abs().tolist()
        own = {edge: scores[circuit.graph.edge_number(edge)] for edge in circuit.edges}
        largest = max(own.values(), default=0.0)
        for edge, score in own.items():
            share = score / largest if largest else 0.0
            shares[edge] = max(shares.get(edge, 0.0), share)
    return shares


def _strongest(a: Circuit, looks: dict[str, Look], shares: dict[str, float]) -> dict[str, Look]:
    ranked = sorted(looks, key=lambda edge: (-shares[edge], a.graph.edge_number(edge)))
    kept = set(ranked[:MAX_DRAWN])
    return {edge: look for edge, look in looks.items() if edge in kept}


def _heading(diff: CircuitDiff, n_drawn: int, name_a: str, name_b: str) -> Html:
    n_both, n_a, n_b = len(diff.both), len(diff.only_a), len(diff.only_b)
    title = (
        f"Edges: {n_both} in both circuits, {n_a} only in A, {n_b} only in B "
        f"(Jaccard overlap {diff.jaccard:.2f})"
    )
    if n_drawn < n_both + n_a + n_b:
        title += f"; the {n_drawn} with the largest |score| are drawn"
    return heading(
        title,
        _key(BOTH, "in both"),
        _key(ONLY_A, f"only in A: {name_a}"),
        _key(ONLY_B, f"only in B: {name_b}"),
        "outlines say the same; thickness: |score| as a share of its circuit's largest",
    )


def _key(look: Look, text: str) -> str:
    """Return a line of the legend: a sample of such lines, all equally wide, and what it means."""
    sample = f'<FONT FACE="Courier" COLOR="{look.colour}"><B>{look.sample}</B></FONT>'
    return f"{sample}  {shown(text)}"
