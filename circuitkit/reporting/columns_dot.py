"""Pictures of circuits whose edges live at columns: one column of the picture for each.

A component is drawn once in every column where it reads or writes, layers downwards as in dot.py.
An edge stays in its column. Where a head reads keys or values at one column and is written at
another, a dotted grey line says that attention carries it there.
"""

from collections import defaultdict

from circuitkit.circuits.circuit import Circuit, kind_of, layer_of
from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.graph import INPUT, LOGITS, MIXER, READS, read_of
from circuitkit.circuits.units import KINDS as UNIT_KINDS
from circuitkit.reporting.dot import (
    EDGE_STYLE,
    FAINT,
    GRAPH_STYLE,
    NODE_STYLE,
    READ_COLOURS,
    add_component,
    circuit_dot,
    colour_of,
    pen_width,
    picture_heading,
    ports_of,
    strongest_edges,
)
from circuitkit.reporting.dot_text import Digraph

LOOKS = ("k", "v", MIXER)
Place = tuple[str, str]  # component, column
Row = tuple[int, bool]  # layer, and whether it is that of the MLP


def dot_of(circuit: Circuit, title: str = "") -> str:
    """Return a circuit as DOT text, column by column if its edges live at columns."""
    graph = circuit.graph
    if isinstance(graph, ColumnGraph):
        return columns_dot(circuit, graph, title)
    return circuit_dot(circuit, title)


def dot_to_look_at(circuit: Circuit, title: str) -> str:
    """Return DOT text fit to be looked at: of a very large circuit, the strongest edges."""
    return dot_of(*strongest_edges(circuit, title))


def columns_dot(circuit: Circuit, graph: ColumnGraph, title: str = "") -> str:
    """Return the circuit as DOT text, columns from left to right in the order of their places."""
    picture = Digraph("circuit", graph=GRAPH_STYLE, node=NODE_STYLE, edge=EDGE_STYLE)
    picture.set("label", picture_heading(title))
    reads = _reads_by_place(circuit)
    used = [column for column in graph.columns if any(at == column for _, at in reads)]
    rows: dict[Row, list[Place]] = defaultdict(list)
    for column in used:
        for name in graph.components:
            if (name, column) in reads:
                is_mlp = kind_of(name) in ("mlp", *UNIT_KINDS)
                rows[layer_of(name, graph), is_mlp].append((name, column))
    _add_titles(picture, used)
    for row in sorted(rows):
        with picture.row(f"row {row[0]} {'mlp' if row[1] else 'heads'}"):
            picture.node(_row_name(row), _row_label(row, graph.n_layers), **_PLAIN)
            for place in rows[row]:
                _add_place(picture, place, reads[place])
    names = ["titles", *(_row_name(row) for row in sorted(rows))]
    for above, below in zip(names, names[1:], strict=False):
        picture.edge(above, below, style="invis", weight="1000")
    for name, column in sorted(reads):
        picture.edge(f"title @{column}", f"{name}@{column}", style="invis", weight="8")
    _add_edges(picture, circuit)
    _add_looks(picture, reads)
    return picture.source


_PLAIN = {"shape": "plaintext", "fontcolor": FAINT, "fontsize": "11", "tooltip": " "}


def _reads_by_place(circuit: Circuit) -> dict[Place, set[str]]:
    """Return where each component stands, and what it reads there; "" where it only writes."""
    reads: dict[Place, set[str]] = defaultdict(set)
    for edge in circuit.edges:
        sender, component = Circuit.ends(edge)
        receiver = edge.partition("->")[2]
        column = receiver.partition("@")[2]
        reads[sender, column].add("")
        reads[component, column].add(read_of(receiver))
    return reads


def _add_titles(picture: Digraph, columns: list[str]) -> None:
    """Add the names of the columns, which keep them in order."""
    with picture.row("titles of columns"):
        picture.node("titles", "", **_PLAIN)
        for column in columns:
            style = {**_PLAIN, "fontcolor": "#222222", "fontsize": "13", "group": column}
            picture.node(f"title @{column}", column, **style)
    names = ["titles", *(f"title @{column}" for column in columns)]
    for left, right in zip(names, names[1:], strict=False):
        picture.edge(left, right, style="invis", weight="100")


def _add_place(picture: Digraph, place: Place, reads: set[str]) -> None:
    name, column = place
    colours = {read: READ_COLOURS[read] for read in READS if read in reads}
    node = f"{name}@{column}"
    add_component(picture, name, colours, tooltip=node, node=node, group=column)


def _add_edges(picture: Digraph, circuit: Circuit) -> None:
    scores: list[float] = circuit.scores.by_edge().tolist()
    kept = [(edge, scores[circuit.graph.edge_number(edge)]) for edge in circuit.edges]
    largest = max((abs(score) for _, score in kept), default=0.0)
    for edge, score in kept:
        whole, at, column = edge.partition("@")
        (tail, tail_port), (head, head_port) = (end.split(":", 1) for end in ports_of(whole))
        picture.edge(
            f"{tail}{at}{column}:{tail_port}",
            f"{head}{at}{column}:{head_port}",
            key=edge,
            color=colour_of(read_of(whole.partition("->")[2])),
            penwidth=f"{pen_width(score, largest):.2f}",
            style="dashed" if score < 0 else "solid",
            tooltip=f"{edge} {score:+.3g}",
        )


def _add_looks(picture: Digraph, reads: dict[Place, set[str]]) -> None:
    """Add what attention carries from where a head looks to where it is written."""
    for name, column in sorted(reads):
        if not reads[name, column].intersection(LOOKS):
            continue
        for other, to in sorted(reads):
            if other == name and to != column and "" in reads[other, to]:
                picture.edge(
                    f"{name}@{column}",
                    f"{name}@{to}",
                    color=FAINT,
                    constraint="false",
                    style="dotted",
                    tooltip=f"{name} attends from {to} to {column}",
                )


def _row_name(row: Row) -> str:
    return f"name of row {row[0]} {'mlp' if row[1] else 'heads'}"


def _row_label(row: Row, n_layers: int) -> str:
    layer, is_mlp = row
    if layer in (-1, n_layers):
        return INPUT if layer < 0 else LOGITS
    return f"layer {layer} MLP" if is_mlp else f"layer {layer} heads"
