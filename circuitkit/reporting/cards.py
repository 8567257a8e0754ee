"""What a report says of each component and edge: cards, and the tables of all of them.

Without an interpretation a card holds what the run itself knows: the edges and their scores.
Nothing here is escaped; the writers do that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from circuitkit.circuits.circuit import Circuit, kind_of, layer_of
from circuitkit.circuits.graph import read_of
from circuitkit.interpretation.findings import Card, Link
from circuitkit.reporting.values import (
    NONE,
    TableText,
    interval,
    number,
    rounded,
    signed,
    signed_rounded,
    visible,
)
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.records import RunRecord

KINDS = {
    "input": "the input",
    "head": "head",
    "mixer": "mixer",
    "mlp": "MLP",
    "neuron": "neuron",
    "feature": "feature",
    "error": "what the features leave out",
    "rest": "the rest of an MLP",
    "logits": "the logits",
}


@dataclass(frozen=True)
class CardText:
    """One component as shown. Tables are None, and text empty, where nothing is known.

    `elsewhere` names edges of the component that are drawn but are not in the circuit.
    """

    name: str
    place: str
    group: str
    summary: str
    in_circuit: bool
    facts: tuple[tuple[str, str], ...]
    roles: TableText | None
    tried: TableText | None
    reads: TableText | None
    feeds: TableText | None
    tokens: TableText | None
    losses: TableText | None
    weights: TableText | None
    composes: TableText | None
    elsewhere: tuple[str, ...]


@dataclass(frozen=True)
class _Known:
    """What is known of the edges of a circuit, `edges` with the largest |score| first."""

    circuit: Circuit
    unit: str
    components: tuple[str, ...]
    edges: tuple[str, ...]
    scores: Mapping[str, float]
    cards: Mapping[str, Card]


def card_texts(record: RunRecord, drawn: Circuit) -> tuple[CardText, ...]:
    """Return a card for every component that is drawn, in graph order."""
    known = _known(record)
    touched = {*drawn.components, *known.components}
    names = [name for name in record.graph.components if name in touched]
    others = [edge for edge in drawn.edges if edge not in known.scores]
    return tuple(_card_text(known, others, name) for name in names)


def components_table(record: RunRecord) -> TableText:
    """Return one row for every component of the circuit."""
    known = _known(record)
    ends = [Circuit.ends(edge) for edge in known.edges]
    rows: list[tuple[str, ...]] = []
    for name in known.components:
        n_in = sum(receiver == name for _, receiver in ends)
        n_out = sum(sender == name for sender, _ in ends)
        row = (name, place_of(known.circuit, name), str(n_in), str(n_out))
        rows.append((*row, *_said_of(known.cards.get(name))) if known.cards else row)
    headers: tuple[str, ...] = ("component", "kind", "edges in", "edges out")
    lost = f"lost without it ({record.info.unit})"
    if known.cards:
        headers = (*headers, "group", "roles", "direct", lost)
    numeric = frozenset({"edges in", "edges out", "direct", lost})
    return TableText(headers, tuple(rows), numeric, frozenset({"component"}))


def all_edges_table(record: RunRecord) -> TableText:
    """Return one row for every edge of the circuit, the largest |score| first; ties in edge order.

    The exact effect is there if the edges were measured for an interpretation.
    """
    known, unit = _known(record), record.info.unit
    effects = {link.edge: link.effect for link in _links(known.cards.values())}
    rows = []
    for edge in known.edges:
        sender, receiver = Circuit.ends(edge)
        read = read_of(edge.partition("->")[2])
        row = (edge, sender, receiver, read, signed(known.scores[edge]))
        rows.append((*row, *_effect(effects.get(edge))) if effects else row)
    score_header, effect_header = f"score ({unit})", f"exact effect ({unit})"
    headers: tuple[str, ...] = ("edge", "sender", "receiver", "read", score_header)
    if effects:
        headers = (*headers, effect_header, "95 % interval")
    numeric = frozenset({score_header, effect_header, "95 % interval"})
    return TableText(headers, tuple(rows), numeric, frozenset({"edge", "sender", "receiver"}))


def place_of(circuit: Circuit, name: str) -> str:
    """Return what a component is and where: `head, layer 3`."""
    kind = kind_of(name)
    if kind in ("input", "logits"):
        return KINDS[kind]
    return f"{KINDS[kind]}, layer {layer_of(name, circuit.graph)}"


def role_words(card: Card) -> str:
    """Return the roles that are claimed, in one line."""
    return ", ".join(role.name for role in card.roles if role.claimed) or NONE


def _known(record: RunRecord) -> _Known:
    circuit, found = record.circuit, record.interpretation
    scores: list[float] = circuit.scores.by_edge().tolist()
    by_edge = {edge: scores[circuit.graph.edge_number(edge)] for edge in circuit.edges}
    ranked = sorted(by_edge, key=lambda edge: -abs(by_edge[edge]))
    cards = {card.component: card for card in found.cards} if found else {}
    return _Known(circuit, record.info.unit, circuit.components, tuple(ranked), by_edge, cards)


def _card_text(known: _Known, others: list[str], name: str) -> CardText:
    card = known.cards.get(name)
    links = {link.edge: link for link in _links([card] if card else [])}
    reads = [edge for edge in known.edges if Circuit.ends(edge)[1] == name]
    feeds = [edge for edge in known.edges if Circuit.ends(edge)[0] == name]
    return CardText(
        name=name,
        place=place_of(known.circuit, name),
        group=card.group if card else "",
        summary=card.summary if card else "",
        in_circuit=name in known.components,
        facts=_facts(card, known.unit) if card else (),
        roles=_roles_table(card, claimed=True) if card else None,
        tried=_roles_table(card, claimed=False) if card else None,
        reads=_links_table(known, reads, links),
        feeds=_links_table(known, feeds, links),
        tokens=_tokens_table(card) if card else None,
        losses=_losses_table(card, known.unit) if card and card.losses else None,
        weights=_weights_table(card) if card else None,
        composes=_composes_table(card) if card else None,
        elsewhere=tuple(edge for edge in others if name in Circuit.ends(edge)),
    )


def _links(cards: Iterable[Card]) -> Iterable[Link]:
    return (link for card in cards for link in (*card.reads, *card.feeds))


def _effect(effect: Estimate | None) -> tuple[str, str]:
    return (signed_rounded(effect), interval(effect)) if effect else (NONE, NONE)


def _said_of(card: Card | None) -> list[str]:
    if card is None:
        return [NONE] * 4
    alone = card.losses[0].effect if card.losses else None
    return [
        card.group or NONE,
        role_words(card),
        signed_rounded(card.direct) if card.direct else NONE,
        signed_rounded(alone) if alone else NONE,
    ]


def _facts(card: Card, unit: str) -> tuple[tuple[str, str], ...]:
    facts = []
    if card.direct is not None:
        value = f"{signed_rounded(card.direct)} {interval(card.direct)} logits"
        facts.append(("adds to the answers, directly", value))
    if card.losses:
        alone = card.losses[0].effect
        facts.append(("lost without it", f"{signed_rounded(alone)} {interval(alone)} {unit}"))
    if card.backups:
        facts.append(("backed up by", ", ".join(card.backups)))
    if card.weights is not None:
        scores = f"{number(card.weights.copying)} and {number(card.weights.matching)}, of -1 to 1"
        facts.append(("copying and matching scores, by weights", scores))
    return tuple(facts)


def _roles_table(card: Card, *, claimed: bool) -> TableText | None:
    rows = tuple(
        (
            role.name,
            f"{rounded(role.score)} {interval(role.score)} {role.unit}",
            number(role.null),
            number(role.p),
            role.evidence,
        )
        for role in card.roles
        if role.claimed == claimed
    )
    headers = ("role", "score", "by chance", "p", "evidence")
    return TableText(headers, rows, frozenset({"by chance", "p"})) if rows else None


def _links_table(known: _Known, edges: list[str], links: dict[str, Link]) -> TableText | None:
    if not edges:
        return None
    rows = []
    for edge in edges:
        link = links.get(edge)
        row: tuple[str, ...] = (edge, signed(known.scores[edge]))
        if links:
            row = (*row, *_effect(link.effect if link else None), link.says if link else "")
        rows.append(row)
    headers: tuple[str, ...] = ("edge", "score")
    if links:
        headers = (*headers, "effect", "95 % interval", "says")
    numeric = frozenset({"score", "effect", "95 % interval"})
    return TableText(headers, tuple(rows), numeric, frozenset({"edge"}))


def _tokens_table(card: Card) -> TableText | None:
    raised = [("raises", visible(each.token), signed(each.logits)) for each in card.promotes]
    lowered = [("lowers", visible(each.token), signed(each.logits)) for each in card.demotes]
    if not raised and not lowered:
        return None
    headers = ("", "token", "logits")
    return TableText(headers, (*raised, *lowered), frozenset({"logits"}), frozenset({"token"}))


def _weights_table(card: Card) -> TableText | None:
    """Return the largest token pairs of a head's weights."""
    if card.weights is None or not card.weights.writes:
        return None
    of_head = card.weights
    kinds = (("reads, raises", of_head.writes), ("is at, looks for", of_head.finds))
    rows = tuple(
        (kind, visible(pair.first), visible(pair.second), number(pair.value))
        for kind, pairs in kinds
        for pair in pairs
    )
    headers = ("by weights", "token", "other token", "entry")
    return TableText(headers, rows, frozenset({"entry"}), frozenset({"token", "other token"}))


def _composes_table(card: Card) -> TableText | None:
    if card.weights is None or not card.weights.composes:
        return None
    rows = tuple(
        (each.edge, number(each.score), number(each.random_mean), number(each.z))
        for each in card.weights.composes
    )
    headers = ("edge", "composition", "by chance", "z")
    return TableText(headers, rows, frozenset(headers[1:]), frozenset({"edge"}))


def _losses_table(card: Card, unit: str) -> TableText:
    effect = f"lost ({unit})"
    rows = tuple(
        (", ".join(loss.without), rounded(loss.effect), interval(loss.effect))
        for loss in card.losses
    )
    return TableText(
        ("without", effect, "95 % interval"), rows, frozenset({effect, "95 % interval"})
    )
