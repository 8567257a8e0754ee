"""The parts of a circuit, one row each, so that what is idle alone agrees with what is needed.

alone     what is lost without the component in the whole model, where others stand in
jointly   what a role says of it where nothing stands in; of one without, what minimality says of
          the circuit's edges, as single edges are not kept
"""

from dataclasses import dataclass

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.findings import DOES, Card
from circuitkit.interpretation.roles.claims import claimed
from circuitkit.interpretation.roles.functions import IDLE, JOINT
from circuitkit.reporting.story.sentence import Story
from circuitkit.reporting.values import NONE, TableText, interval, signed_rounded
from circuitkit.study.records import RunRecord
from circuitkit.validation.knock_outs import inner_components
from circuitkit.validation.verdict import SUPPORTED

MOST_ROWS = 10
HEADERS = ("part", "group", "where", "what it does", "lost without it", "needed")


@dataclass(frozen=True)
class PartsTable:
    """The parts that do most, and the others; both largest first."""

    first: TableText
    others: TableText


def parts_table(record: RunRecord, story: Story) -> PartsTable:
    """Return one row for each head and MLP of the circuit."""
    found = record.interpretation
    cards = {} if found is None else {card.component: card for card in found.cards}
    edges = _edges_needed(record)
    places = {name: part.at for part in story.parts for name in part.components}
    inner = sorted(
        inner_components(record.circuit), key=lambda name: -_worth(cards.get(name), name, story)
    )
    rows = [
        (name, *_said(cards.get(name), record, name, edges, places.get(name, ""))) for name in inner
    ]
    return PartsTable(_table(rows[:MOST_ROWS]), _table(rows[MOST_ROWS:]))


def _table(rows: list[tuple[str, ...]]) -> TableText:
    return TableText(HEADERS, tuple(rows), frozenset({"lost without it"}), frozenset({"part"}))


def _worth(card: Card | None, name: str, story: Story) -> float:
    if card is not None:
        return abs(card.losses[0].effect.value) if card.losses else 0.0
    return max((abs(part.share) for part in story.parts if name in part.components), default=0.0)


def _said(
    card: Card | None, record: RunRecord, name: str, edges: str, place: str
) -> tuple[str, ...]:
    if card is None:
        ends = [Circuit.ends(edge) for edge in record.circuit.edges]
        n_in = sum(receiver == name for _, receiver in ends)
        n_out = sum(sender == name for sender, _ in ends)
        return NONE, place or NONE, f"reads {n_in} edges, feeds {n_out}", NONE, edges
    alone = card.losses[0].effect if card.losses else None
    lost = f"{signed_rounded(alone)} {interval(alone)}" if alone else NONE
    return card.group or NONE, place or NONE, card.summary, lost, _needed(card, edges)


def _needed(card: Card, edges: str) -> str:
    """Return in which way a component is needed: alone, jointly, or through its edges."""
    names = {role.name: role for role in claimed(card.roles, DOES)}
    if JOINT in names:
        return f"jointly: {names[JOINT].score.value:.0%} of the gap where nothing stands in"
    alone = card.losses[0].effect if card.losses else None
    if IDLE in names or alone is None or alone.low <= 0 <= alone.high:
        return f"not alone; {edges}"
    return "alone" if alone.value > 0 else "works against the answer"


def _edges_needed(record: RunRecord) -> str:
    """Return what minimality says of the circuit's edges."""
    checks = {check.criterion: check for check in record.validation.verdict.checks}
    check = checks.get("minimality")
    if check is None or check.value is None:
        return "its edges were not tried"
    if check.outcome == SUPPORTED and check.value.value == 1:
        return "jointly: every edge is needed in the circuit"
    return f"{check.value.value:.0%} of all edges are shown to be needed in the circuit"
