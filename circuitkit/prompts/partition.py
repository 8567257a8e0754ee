"""Columns that hold every real position of every pair once: where the edges of a circuit may live.

    roles      every role that all pairs have is a column. Between two roles, the first token is one
               (`S1+1`: the one behind S1), and all others to the next role are one (`S1+2..`)
    positions  every position by its number, where prompts are equally long

Spans by role carry over to prompts of other lengths, as the spans of PEAP do (Haklay et al. 2025,
arXiv:2502.04577). In front of the first role stands `start`.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch

from circuitkit.errors import MethodError, PromptError
from circuitkit.names import EDGE_COLUMNS
from circuitkit.prompts.columns import Columns, by_position, own_places
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.text import shown

START = "start"


def partition(pairs: PromptPairs, by: str, names: Sequence[str] = ()) -> Columns:
    """Return the columns of some pairs: those that are found there, or those of these names.

    Raises:
        MethodError: `by` is neither `roles` nor `positions`.
        PromptError: the pairs cannot be cut so, or have other columns than those of the names.
    """
    if by not in EDGE_COLUMNS:
        raise MethodError(
            f"columns {shown(by)}: must be one of {', '.join(EDGE_COLUMNS)}. It says at what the "
            "edges of a circuit live. Choose one."
        )
    found = _by_role(pairs, names) if by == "roles" else _by_number(pairs)
    if not names:
        return found
    other = [name for name in found.names if name not in names]
    if by == "positions" and len(found.names) != len(names):
        raise PromptError(
            f"columns: prompts must have {len(names)} tokens, as those that found the circuit, got "
            f"{len(found.names)}. Its edges live at numbered positions. Use pairs like those, or "
            "a circuit by roles."
        )
    if other:
        raise PromptError(
            f"columns: every token must be in one of {', '.join(names)}, as where the circuit was "
            f"found, got tokens at {', '.join(other)}. No edge reads there. Use pairs like those "
            "that found it."
        )
    masks = torch.zeros(len(names), *pairs.mask.shape, dtype=torch.bool)
    masks[[list(names).index(name) for name in found.names]] = found.masks
    return Columns(tuple(names), masks)


def _by_number(pairs: PromptPairs) -> Columns:
    sizes = sorted(set(pairs.mask.sum(1).tolist()))
    if len(sizes) > 1:
        raise PromptError(
            f"columns by positions: prompts must be equally long, got from {sizes[0]} to "
            f"{sizes[-1]} tokens. A number would mean other words in each. Use columns by roles, "
            "or prompts of one length."
        )
    return by_position(pairs)


def _by_role(pairs: PromptPairs, names: Sequence[str]) -> Columns:
    roles = _known_roles(pairs, names) if names else _shared_roles(pairs)
    held: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in range(len(pairs)):
        for place, name in _named_places(pairs, row, roles).items():
            held[name].append((row, place))

    def usual_place(name: str) -> float:
        return sum(place for _, place in held[name]) / len(held[name])

    ordered = sorted(held, key=usual_place)
    masks = torch.zeros(len(ordered), *pairs.mask.shape, dtype=torch.bool)
    for number, name in enumerate(ordered):
        masks[number][tuple(torch.tensor(held[name]).T)] = True
    return Columns(tuple(ordered), masks)


def _shared_roles(pairs: PromptPairs) -> set[str]:
    """Return the roles that every pair has."""
    return set.intersection(*(set(roles) for roles in pairs.roles))


def _known_roles(pairs: PromptPairs, names: Sequence[str]) -> set[str]:
    """Return which names are those of roles, and not only of what stands behind one."""
    had = {name for roles in pairs.roles for name in roles}
    gaps = {gap for name in (START, *names) for gap in _behind(name)}
    return {name for name in names if name in had or name not in gaps}


def _behind(role: str) -> tuple[str, str]:
    """Return how the first token behind a role is called, and all others to the next role.

    They count on where the role's own name counts already, as `S1+1` does.
    """
    base, plus, number = role.rpartition("+")
    if plus and number.isascii() and number.isdigit() and len(number) < 5:
        return f"{base}+{int(number) + 1}", f"{base}+{int(number) + 2}.."
    return f"{role}+1", f"{role}+2.."


def _named_places(pairs: PromptPairs, row: int, roles: set[str]) -> dict[int, str]:
    """Return the column of every real place of a pair, in order.

    Raises:
        PromptError: it lacks a role.
    """
    missing = sorted(roles - set(pairs.roles[row]))
    if missing:
        raise PromptError(
            f"columns by roles: every pair must have the roles {', '.join(sorted(roles))}, got "
            f"none of {', '.join(missing)} in {shown(str(pairs.pairs[row].clean))}. The edges of "
            "the circuit live there. Use pairs like those that found it."
        )
    spans = {name: places for name, places in own_places(pairs, row).items() if name in roles}
    owner: dict[int, str] = {}
    for name, places in sorted(spans.items(), key=lambda item: (-len(item[1]), item[0])):
        owner |= dict.fromkeys(places, name)  # the shorter of two that overlap has the place
    named: dict[int, str] = {}
    last, since = START, 0
    for place in pairs.mask[row].nonzero()[:, 0].tolist():
        last, since = (owner[place], 0) if place in owner else (last, since + 1)
        named[place] = (last, *_behind(last))[min(since, 2)]
    return named
