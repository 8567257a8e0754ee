"""Pairs of unequal length: which tokens of the corrupted prompt stand for which of the clean one.

Both prompts name the same spans (`roles`, `corrupted_roles`); outside of them they have equally
many tokens, which are matched one by one, in order. So are spans of equal length. In a span of
unequal length every clean token gets the same, by the rule `align` of the pair:

    last   what the corrupted prompt has at the last token of the span
    mean   its mean over the tokens of the span

That holds for whatever is taken from the corrupted run: what a sender writes, and any activation
that is patched. Each prompt is run as it is, so both runs are exact, and so is the circuit without
edges (the logits read the corrupted run's last token). What the rule chooses is what stands in for
a span in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circuitkit.errors import AlignmentError, PromptError
from circuitkit.prompts.pairs import END, Span
from circuitkit.prompts.pieces import LAST, MEAN, Piece, is_unequal
from circuitkit.work.text import shown

ALIGN_RULES = ("", LAST, MEAN)


@dataclass(frozen=True)
class Side:
    """The tokens of one prompt, as text where there is a tokenizer, and its roles."""

    tokens: Sequence[str]
    roles: Mapping[str, Span]


def checked_rule(rule: str, where: str = "") -> str:
    """Return the rule by which spans of unequal length are aligned, empty for none.

    `where` stands in front of what is said of another.

    Raises:
        PromptError: there is no such rule.
    """
    if rule not in ALIGN_RULES:
        raise PromptError(
            f"{where}align must be one of {', '.join(ALIGN_RULES[1:])}, or empty, got "
            f"{shown(rule)}. It says what stands for a span of another length. Choose one."
        )
    return rule


def pieces_of(clean: Side, corrupted: Side) -> tuple[Piece, ...]:
    """Return the prompts in pieces that stand for each other, one after the other.

    Raises:
        AlignmentError: they have unequal lengths outside of the spans, or spans cross.
    """
    spans = _unequal(clean.roles, corrupted.roles)
    ends = ("the end", (len(clean.tokens),) * 2, (len(corrupted.tokens),) * 2)
    pieces: list[Piece] = []
    behind, at = "the start", (0, 0)
    for where, ours, theirs in [*spans, ends]:
        gap = (at[0], ours[0]), (at[1], theirs[0])
        lengths = [end - start for start, end in gap]
        if min(lengths) < 0 or lengths[0] != lengths[1]:
            raise _no_match(clean, corrupted, gap, (behind, where))
        pieces += [piece for piece in (gap, (ours, theirs)) if piece[0][0] < piece[0][1]]
        behind, at = where, (ours[1], theirs[1])
    return tuple(pieces)


def require_one_token(
    place: int, pieces: Sequence[Piece], rule: str, roles: Mapping[str, Span]
) -> None:
    """Refuse an answer that is read where no one token of the corrupted prompt stands for it.

    Raises:
        AlignmentError: it is read in a span of unequal length, and the rule has no token for it.
    """
    for piece in filter(is_unequal, pieces):
        start, end = piece[0]
        if start <= place < end and (rule == MEAN or place != end - 1):
            inside = sorted(name for name, span in roles.items() if span == (start, end))
            raise AlignmentError(
                f"prompt pair: with align {rule!r} the answer must be read outside of the spans of "
                f"unequal length, got the token {place} in {shown(inside)}. The corrupted prompt "
                "has no one token there. Name another role in `answer_after`."
            )


def _unequal(roles: Mapping[str, Span], others: Mapping[str, Span]) -> list[tuple[str, Span, Span]]:
    """Return the spans of unequal length, in order; of nested ones the innermost."""
    both = {name: (roles[name], others[name]) for name in roles if name in others and name != END}
    found = {
        name: (ours, theirs) for name, (ours, theirs) in both.items() if is_unequal((ours, theirs))
    }

    def has_inside(span: Span) -> bool:
        return any(_is_inside(ours, span) for ours, _ in found.values())

    spans = {(ours, theirs): name for name, (ours, theirs) in found.items() if not has_inside(ours)}
    return [(f"the span {name!r}", *both) for both, name in sorted(spans.items())]


def _is_inside(inner: Span, outer: Span) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1] and inner != outer


def _no_match(clean: Side, corrupted: Side, gap: Piece, between: tuple[str, str]) -> AlignmentError:
    ours, theirs = (
        list(side.tokens[slice(*span)]) if span[0] < span[1] else []
        for side, span in zip((clean, corrupted), gap, strict=True)
    )
    named = sorted(clean.roles.keys() & corrupted.roles.keys() - {END})
    return AlignmentError(
        f"prompt pair: outside of the spans that both name, clean and corrupted must have equally "
        f"many tokens, and the spans in the same order, got between {between[0]} and "
        f"{between[1]}:\n  clean     {shown(ours)}\n  corrupted {shown(theirs)}\n"
        f"Tokens are matched one by one there. Both name {shown(named)}: name what differs in "
        "`roles` and in `corrupted_roles`."
    )
