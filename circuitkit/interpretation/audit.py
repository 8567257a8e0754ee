"""The audit: for each claimed role, the strongest evidence for it and the strongest against it.

    strength = share of the gap that an effect is, in the role's direction; or attention over chance

Nothing is measured here. Every piece is a number of the card, put on the side on which it speaks: a
head that is said to write for the answer and whose direct logits speak against it has that held
against it, as has one whose loss alone is not shown. Three pieces for, one against.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from circuitkit.interpretation.findings import ATTENDS, DOES, Card, Interpretation, Role
from circuitkit.interpretation.roles.functions import (
    BACKUP,
    IDLE,
    MOVER,
    OPPOSER,
    SUPPRESSION,
    SUPPRESSOR,
    WRITER,
)
from circuitkit.interpretation.section import Column, Section, Table
from circuitkit.validation.verdict import p_text

N_FOR = 3
NOTHING = "nothing that was measured"
AGAINST_ANSWER = (OPPOSER, SUPPRESSION)
INTO_LOGITS = (MOVER, SUPPRESSOR, WRITER, *AGAINST_ANSWER)


@dataclass(frozen=True)
class Piece:
    """One piece of evidence; `strength` is below zero where it speaks against the role."""

    says: str
    strength: float


@dataclass(frozen=True)
class Audited:
    """One claimed role with its evidence, strongest first."""

    component: str
    role: str
    speaks_for: tuple[str, ...]
    against: str


def audit(found: Interpretation) -> tuple[Audited, ...]:
    """Return what speaks for and against every claimed role of an interpretation but `idle`."""
    gap = abs(found.gap.value)
    return tuple(
        _audited(card, role, gap)
        for card in found.cards
        for role in card.roles
        if role.claimed and role.name != IDLE
    )


def section(found: Interpretation) -> Section:
    """Return the audit as a section of a report; empty where nothing is claimed."""
    rows = tuple(
        (each.component, each.role, "; ".join(each.speaks_for), each.against)
        for each in audit(found)
    )
    columns = (Column("component", "code"), Column("role"), Column("for"), Column("against"))
    return Section(
        "audit",
        "What speaks for and against each role",
        "Of every role that is claimed the three strongest pieces of evidence, and the strongest "
        "one against it, from the numbers of its card.",
        tables=(Table("", columns, rows),) if rows else (),
    )


def _audited(card: Card, role: Role, gap: float) -> Audited:
    pieces = sorted(_pieces(card, role, gap), key=lambda piece: -piece.strength)
    speaks_for = [piece.says for piece in pieces if piece.strength > 0]
    against = [piece for piece in pieces if piece.strength <= 0]
    return Audited(
        card.component,
        role.name,
        tuple(speaks_for[:N_FOR]),
        against[-1].says if against else NOTHING,
    )


def _pieces(card: Card, role: Role, gap: float) -> Iterator[Piece]:
    """Yield everything that the card holds on a role; its own test first, which was passed."""
    yield Piece(f"{role.evidence} ({p_text(role.p)})", 1 + abs(role.score.value))
    yield from _of_losses(card, role, gap)
    for link in card.feeds[:1]:
        effect = _towards(role, link.effect.value) / gap
        yield Piece(f"its strongest edge, {link.edge}: {link.effect}", effect)
    if role.name in INTO_LOGITS and card.direct is not None:
        direct = _towards(role, card.direct.value) / gap
        yield Piece(f"it adds {card.direct} logits to the answers over the wrong ones", direct)
    if role.name in (MOVER, SUPPRESSOR, SUPPRESSION) and card.weights is not None:
        copying = card.weights.copying if role.name == MOVER else -card.weights.copying
        yield Piece(f"its OV weights alone copy by {card.weights.copying:.2g}", copying)
    yield from _of_other_roles(card, role)


def _of_losses(card: Card, role: Role, gap: float) -> Iterator[Piece]:
    alone = card.losses[0].effect
    shown = alone.low > 0 or alone.high < 0
    strength = _towards(role, alone.value) / gap if shown else -abs(role.score.value)
    if role.name == BACKUP:  # which does little while the other works
        strength = abs(role.score.value) - abs(alone.value) / gap
    yield Piece(
        f"ablating it alone costs {alone}{'' if shown else ', which is not shown'}", strength
    )
    for loss in card.losses[1:]:
        says = f"ablating {', '.join(loss.without)} together costs {loss.effect}"
        yield Piece(says, _towards(role, loss.effect.value) / gap)


def _of_other_roles(card: Card, role: Role) -> Iterator[Piece]:
    """Yield where a head looks for what it does; and rivals of the same kind, against it."""
    for other in card.roles:
        if other is role or other.name == IDLE:
            continue
        over = abs(other.score.value) - abs(other.null)
        says = f"{other.name}: {other.score} {other.unit}, chance {other.null:.2g}"
        if other.kind == ATTENDS and role.kind == DOES and other.claimed:
            yield Piece(f"it looks at {says}", over)
        elif other.kind == role.kind and other.claimed:
            yield Piece(f"it is as well {says}", -max(over, 0.0))
        elif other.kind == role.kind:
            yield Piece(f"tried and not shown, {says} ({p_text(other.p)})", -max(over, 0.0) / 2)


def _towards(role: Role, effect: float) -> float:
    """Return an effect in the direction of the role: opposers work against the behaviour."""
    negative = role.name in AGAINST_ANSWER or (role.kind == DOES and role.score.value < 0)
    return -effect if negative else effect
