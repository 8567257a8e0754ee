"""The circuit as a few boxes: by groups of what components do, or by layers where none are known.

A large circuit starts as this. Arrows between layers sum the scores of their edges.
"""

from collections import defaultdict

from circuitkit.circuits.circuit import Circuit, kind_of, layer_of
from circuitkit.circuits.graph import INPUT, LOGITS
from circuitkit.circuits.units import KINDS as UNIT_KINDS
from circuitkit.interpretation.groups import diagram
from circuitkit.interpretation.section import Arrow, Box, Diagram
from circuitkit.study.records import RunRecord
from circuitkit.validation.criterion import exact

STARTS_GROUPED = 60  # edges: more are a thicket


def grouped_diagram(record: RunRecord) -> Diagram:
    """Return the groups of an interpretation, else the layers, with what goes between them."""
    found = record.interpretation
    if found is not None and found.groups and found.group_edges:
        return diagram(found)
    names = {name: _row(record, name) for name in record.circuit.components}
    boxes: dict[str, list[str]] = defaultdict(list)
    for name in record.graph.components:
        if name in names and name not in (INPUT, LOGITS):
            boxes[names[name]].append(name)
    scores: list[float] = record.circuit.scores.by_edge().tolist()
    between: dict[tuple[str, str], list[float]] = defaultdict(list)
    for edge in record.circuit.edges:
        sender, receiver = Circuit.ends(edge)
        between[names[sender], names[receiver]].append(scores[record.graph.edge_number(edge)])
    arrows = tuple(
        Arrow(*ends, exact(sum(each)), f"{len(each)} {'edge' if len(each) == 1 else 'edges'}")
        for ends, each in between.items()
        if ends[0] != ends[1]
    )
    least = 0.02 * max((abs(arrow.effect.value) for arrow in arrows), default=0.0)
    holds = tuple(Box(name, tuple(members)) for name, members in boxes.items())
    return Diagram("layers", "heads and MLPs of each layer, and their edges", holds, arrows, least)


def _row(record: RunRecord, name: str) -> str:
    if name in (INPUT, LOGITS):
        return name
    kind = kind_of(name)
    kind = {"head": "heads", **dict.fromkeys(("mlp", *UNIT_KINDS), "MLP")}.get(kind, kind)
    return f"layer {layer_of(name, record.graph)} {kind}"
