"""Components that behave alike, as groups, and the circuit as a small graph of groups.

A group is named after what its members are for and, where that tells more, where they look:
"induction movers", "previous-token heads", "feeding MLPs". The effect of an edge between groups is

    gain(M) - gain(M without all edges of the circuit from the one to the other)

in the metric's unit, M being the whole model: what is lost when they no longer talk to each other.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.circuits.graph import INPUT, LOGITS, MIXER
from circuitkit.interpretation.findings import (
    ATTENDS,
    DOES,
    Group,
    GroupEdge,
    Interpretation,
    Role,
)
from circuitkit.interpretation.roles.attention import DUPLICATE, INDUCTION, POSITIONAL, PREVIOUS
from circuitkit.interpretation.roles.causes import LEAST, sign_of
from circuitkit.interpretation.roles.claims import claimed
from circuitkit.interpretation.roles.functions import (
    BACKUP,
    IDLE,
    INHIBITION,
    JOINT,
    MOVER,
    OPPOSER,
    SUPPLIERS,
    SUPPRESSION,
    SUPPRESSOR,
    WRITER,
)
from circuitkit.interpretation.section import Arrow, Box, Column, Diagram, Section, Table
from circuitkit.statistics.bootstrap import mean_estimate
from circuitkit.validation.case import Case

UNCLEAR = "unclear"
TELLING = (PREVIOUS, DUPLICATE, INDUCTION, POSITIONAL)  # ways to look that name a group
INTO_LOGITS = (MOVER, SUPPRESSOR, WRITER, SUPPRESSION, OPPOSER)
OUTPUTS = {
    MOVER: "movers",
    SUPPRESSOR: "suppressors",
    WRITER: "writers",
    SUPPRESSION: "copy suppressors",
    OPPOSER: "opposers",
    INHIBITION: "inhibition heads",
    BACKUP: "backups",
    JOINT: "jointly needed heads",
}
OF_MLPS = {
    WRITER: "writing MLPs",
    OPPOSER: "opposing MLPs",
    BACKUP: "backup MLPs",
    JOINT: "jointly needed MLPs",
}
SAYS = {
    MOVER: "copies what it looks at into the logits",
    WRITER: "writes what the answer needs into the logits",
    SUPPRESSOR: "suppresses what it looks at, which helps the answer",
    SUPPRESSION: "suppresses what it looks at, against the answer",
    OPPOSER: "writes against the answer",
    INHIBITION: "turns later heads away from the wrong answers",
    BACKUP: "takes over when another component is gone",
    SUPPLIERS["q"]: "tells later heads what to look for",
    SUPPLIERS["k"]: "marks places for later heads to find",
    SUPPLIERS["v"]: "puts down what later heads fetch",
    SUPPLIERS["mlp"]: "feeds an MLP",
    SUPPLIERS["mixer"]: "feeds a layer without heads",
    JOINT: "matters where nothing else stands in for it",
    IDLE: "is not shown to matter",
}
LOOKS = {
    PREVIOUS: "the token before",
    DUPLICATE: "earlier places of the same token",
    INDUCTION: "what followed the same token before",
    POSITIONAL: "fixed positions, whatever stands there",
}


def leading_first(does: Sequence[Role]) -> list[Role]:
    """Return what a component does, what it is named after first, then by size.

    What it writes into the logits comes first unless something else is more than twice as large:
    that two models share an effect between the direct way and a late MLP differently should not
    make their heads look unlike.
    """
    if not does:
        return []
    least = max(abs(role.score.value) for role in does) / 2
    return sorted(
        does, key=lambda role: not (role.name in INTO_LOGITS and abs(role.score.value) >= least)
    )


def group_name(component: str, roles: Sequence[Role]) -> str:
    """Return the name of the group that a component with these roles belongs to."""
    does, looks = leading_first(claimed(roles, DOES)), claimed(roles, ATTENDS)
    if kind_of(component) != "head":
        name = f"{UNCLEAR} MLPs"
        if does:
            other = "idle MLPs" if does[0].name == IDLE else "feeding MLPs"
            name = OF_MLPS.get(does[0].name, other)
        return name.replace("MLPs", "mixers") if kind_of(component) == MIXER else name
    where = looks[0].name if looks and looks[0].name in TELLING else ""
    if not does:
        return f"{where} heads" if where else f"{UNCLEAR} heads"
    name = does[0].name
    if name == IDLE:
        return "idle heads"
    if name in INTO_LOGITS:
        return f"{where} {OUTPUTS[name]}".strip()
    if name in OUTPUTS:
        return OUTPUTS[name]
    return f"{where} heads" if where else f"{name}s"


def summary_of(roles: Sequence[Role]) -> str:
    """Return one sentence on what a component is for and where it looks."""
    does, looks = leading_first(claimed(roles, DOES)), claimed(roles, ATTENDS)
    parts = [SAYS[does[0].name]] if does else []
    if looks:
        place = LOOKS.get(looks[0].name, looks[0].name.removeprefix("at-").replace("-", " "))
        parts.append(f"looks at {place} ({looks[0].score.value:.0%} of its attention)")
    if not parts:
        return "Matters, but no role of it is clear."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def grouped(roles: Mapping[str, Sequence[Role]]) -> tuple[Group, ...]:
    """Return the groups, in the order of their first members, each with its summary."""
    members: dict[str, list[str]] = defaultdict(list)
    for component, its in roles.items():
        members[group_name(component, its)].append(component)
    return tuple(
        Group(name, tuple(names), summary_of(roles[names[0]])) for name, names in members.items()
    )


def group_edges(case: Case, groups: Sequence[Group]) -> tuple[GroupEdge, ...]:
    """Return the edges of the circuit between different groups, the input and the logits."""
    group_of = {name: group.name for group in groups for name in group.components}
    group_of |= {INPUT: INPUT, LOGITS: LOGITS}
    between: dict[tuple[str, str], list[str]] = defaultdict(list)
    for edge in case.circuit.edges:
        sender, receiver = (group_of[end] for end in Circuit.ends(edge))
        if sender != receiver:
            between[sender, receiver].append(edge)
    full = Circuit.full(case.model.graph)
    cut = [full.without_edges(edges) for edges in between.values()]
    if not cut:
        return ()
    whole, *without = case.values([full, *cut])
    effects = sign_of(case) * (whole - np.stack(without))
    return tuple(
        GroupEdge(sender, receiver, len(edges), mean_estimate(effect))
        for ((sender, receiver), edges), effect in zip(between.items(), effects, strict=True)
    )


def section(found: Interpretation) -> Section:
    """Return the groups of an interpretation as a section: the diagram, and both tables."""
    reading = (
        "Components that behave alike, and all edges from one group to another; the effect is that "
        "of noising them together. Dashed: it works against the behaviour. Edges of less than 2 % "
        "of the gap stand in the tables alone."
    )
    return Section(
        "groups",
        "Groups",
        reading,
        tables=tuple(table for table in _tables(found) if table.rows),
        pictures=(diagram(found),) if found.groups else (),
        leads=True,
    )


def diagram(found: Interpretation) -> Diagram:
    """Return the groups and the edges between them as a picture that fits on a slide."""
    arrows = tuple(
        Arrow(
            edge.sender,
            edge.receiver,
            edge.effect,
            f"{edge.n_edges} {'edge' if edge.n_edges == 1 else 'edges'}",
        )
        for edge in found.group_edges
    )
    boxes = tuple(Box(group.name, group.components, group.summary) for group in found.groups)
    least = LEAST * abs(found.gap.value)
    return Diagram("groups", "components that behave alike, and their edges", boxes, arrows, least)


def _tables(found: Interpretation) -> tuple[Table, Table]:
    members = tuple((each.name, ", ".join(each.components), each.summary) for each in found.groups)
    between = tuple(
        (each.sender, each.receiver, each.n_edges, each.effect) for each in found.group_edges
    )
    effect = Column(f"effect ({found.unit})", "signed")
    return (
        Table("", (Column("group"), Column("components"), Column("what they do")), members),
        Table(
            "Edges between groups",
            (Column("from"), Column("to"), Column("edges", "number"), effect),
            between,
        ),
    )
