"""What a report says of each component and edge: cards, and the tables of all of them.

Without an interpretation a card holds what the run itself knows: the edges and their scores.
Nothing here is escaped; the writers do that.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from circuitkit.circuit import Circuit, kind_of, layer_of
from circuitkit.graph import read_of
from circuitkit.interpretation.record import Card, Link
from circuitkit.reporting.content import NONE, Table, interval, number, signed, visible
from circuitkit.reporting.record import RunRecord
from circuitkit.validation.bootstrap import Estimate

KINDS = {"input": "the input", "head": "head", "mlp": "MLP", "logits": "the logits"}


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
    roles: Table | None
    tried: Table | None
    reads: Table | None
    feeds: Table | None
    tokens: Table | None
    losses: Table | None
    elsewhere: tuple[str, ...]
    has_attention: bool


def card_texts(record: RunRecord, drawn: Circuit) -> tuple[CardText, ...]:
    """Return a card for every component that is drawn, in graph order."""
    touched = {*drawn.components, *record.circuit.components}
    names = [name for name in record.graph.components if name in touched]
    return tuple(_card_text(record, drawn, name) for name in names)


def components_table(record: RunRecord) -> Table:
    """Return one row for every component of the circuit."""
    circuit, said = record.circuit, _cards(record)
    rows: list[tuple[str, ...]] = []
    for name in circuit.components:
        card = said.get(name)
        ends = [circuit.ends(edge) for edge in circuit.edges]
        row = [
            name,
            place_of(circuit, name),
            str(sum(end[1] == name for end in ends)),
            str(sum(end[0] == name for end in ends)),
        ]
        if said:
            row += _said_of(card)
        rows.append(tuple(row))
    headers: tuple[str, ...] = ("component", "kind", "edges in", "edges out")
    if said:
        lost = f"lost without it ({record.info.unit})"
        headers = (*headers, "group", "roles", "direct", lost)
        numeric = {"edges in", "edges out", "direct", lost}
        return Table(headers, tuple(rows), frozenset(numeric), frozenset({"component"}))
    return Table(headers, tuple(rows), frozenset(headers[2:]), frozenset({"component"}))


def all_edges_table(record: RunRecord) -> Table:
    """Return one row for every edge of the circuit, the largest |score| first; ties in edge order.

    The exact effect is there if the edges were measured for an interpretation.
    """
    circuit, unit = record.circuit, record.info.unit
    effects = {link.edge: link.effect for link in _links(_cards(record).values())}
    rows = []
    for edge, score in _ranked(circuit, circuit.edges):
        sender, receiver = circuit.ends(edge)
        row = (edge, sender, receiver, read_of(edge.partition("->")[2]), signed(score))
        rows.append((*row, *_effect(effects.get(edge))) if effects else row)
    score_header, effect_header = f"score ({unit})", f"exact effect ({unit})"
    headers: tuple[str, ...] = ("edge", "sender", "receiver", "read", score_header)
    if effects:
        headers = (*headers, effect_header, "95 % interval")
    numeric = frozenset({score_header, effect_header, "95 % interval"})
    return Table(headers, tuple(rows), numeric, frozenset({"edge", "sender", "receiver"}))


def place_of(circuit: Circuit, name: str) -> str:
    """Return what a component is and where: `head, layer 3`."""
    kind = kind_of(name)
    if kind in ("input", "logits"):
        return KINDS[kind]
    return f"{KINDS[kind]}, layer {layer_of(name, circuit.graph)}"


def role_words(card: Card) -> str:
    """Return the roles that are claimed, in one line."""
    return ", ".join(role.name for role in card.roles if role.claimed) or NONE


def _card_text(record: RunRecord, drawn: Circuit, name: str) -> CardText:
    circuit = record.circuit
    card = _cards(record).get(name)
    links = {link.edge: link for link in _links([card] if card else [])}
    reads = [edge for edge in circuit.edges if circuit.ends(edge)[1] == name]
    feeds = [edge for edge in circuit.edges if circuit.ends(edge)[0] == name]
    kept = {*reads, *feeds}
    return CardText(
        name=name,
        place=place_of(circuit, name),
        group=card.group if card else "",
        summary=card.summary if card else "",
        in_circuit=name in circuit.components,
        facts=_facts(card, record.info.unit) if card else (),
        roles=_roles_table(card, claimed=True) if card else None,
        tried=_roles_table(card, claimed=False) if card else None,
        reads=_links_table(record, reads, links),
        feeds=_links_table(record, feeds, links),
        tokens=_tokens_table(card) if card else None,
        losses=_losses_table(card, record.info.unit) if card and card.losses else None,
        elsewhere=tuple(e for e in drawn.edges if name in circuit.ends(e) and e not in kept),
        has_attention=kind_of(name) == "head",
    )


def _cards(record: RunRecord) -> dict[str, Card]:
    found = record.interpretation
    return {card.component: card for card in found.cards} if found else {}


def _links(cards: Iterable[Card]) -> Iterable[Link]:
    return (link for card in cards for link in (*card.reads, *card.feeds))


def _ranked(circuit: Circuit, edges: Iterable[str]) -> list[tuple[str, float]]:
    scores: list[float] = circuit.scores.by_edge().tolist()
    scored = [(edge, scores[circuit.graph.edge_number(edge)]) for edge in edges]
    return sorted(scored, key=lambda pair: -abs(pair[1]))


def _effect(effect: Estimate | None) -> tuple[str, str]:
    return (signed(effect.value), interval(effect)) if effect else (NONE, NONE)


def _said_of(card: Card | None) -> list[str]:
    if card is None:
        return [NONE] * 4
    alone = card.losses[0].effect if card.losses else None
    return [
        card.group or NONE,
        role_words(card),
        signed(card.direct.value) if card.direct else NONE,
        signed(alone.value) if alone else NONE,
    ]


def _facts(card: Card, unit: str) -> tuple[tuple[str, str], ...]:
    facts = []
    if card.direct is not None:
        value = f"{signed(card.direct.value)} {interval(card.direct)} logits"
        facts.append(("adds to the answers, directly", value))
    if card.losses:
        alone = card.losses[0].effect
        facts.append(("lost without it", f"{signed(alone.value)} {interval(alone)} {unit}"))
    if card.backups:
        facts.append(("backed up by", ", ".join(card.backups)))
    return tuple(facts)


def _roles_table(card: Card, *, claimed: bool) -> Table | None:
    rows = tuple(
        (
            role.name,
            f"{number(role.score.value)} {interval(role.score)} {role.unit}",
            number(role.null),
            number(role.p),
            role.evidence,
        )
        for role in card.roles
        if role.claimed == claimed
    )
    headers = ("role", "score", "by chance", "p", "evidence")
    return Table(headers, rows, frozenset({"by chance", "p"})) if rows else None


def _links_table(record: RunRecord, edges: list[str], links: dict[str, Link]) -> Table | None:
    if not edges:
        return None
    rows = []
    for edge, score in _ranked(record.circuit, edges):
        link = links.get(edge)
        row: tuple[str, ...] = (edge, signed(score))
        if links:
            row = (*row, *_effect(link.effect if link else None), link.says if link else "")
        rows.append(row)
    headers: tuple[str, ...] = ("edge", "score")
    if links:
        headers = (*headers, "effect", "95 % interval", "says")
    numeric = frozenset({"score", "effect", "95 % interval"})
    return Table(headers, tuple(rows), numeric, frozenset({"edge"}))


def _tokens_table(card: Card) -> Table | None:
    raised = [("raises", visible(each.token), signed(each.logits)) for each in card.promotes]
    lowered = [("lowers", visible(each.token), signed(each.logits)) for each in card.demotes]
    if not raised and not lowered:
        return None
    headers = ("", "token", "logits")
    return Table(headers, (*raised, *lowered), frozenset({"logits"}), frozenset({"token"}))


def _losses_table(card: Card, unit: str) -> Table:
    effect = f"lost ({unit})"
    rows = tuple(
        (", ".join(loss.without), number(loss.effect.value), interval(loss.effect))
        for loss in card.losses
    )
    return Table(("without", effect, "95 % interval"), rows, frozenset({effect, "95 % interval"}))
