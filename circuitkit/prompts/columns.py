"""Groups of token positions that are patched, or scored, together: whole, by position, by role."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from circuitkit.errors import MethodError, PromptError
from circuitkit.prompts.pairs import END, PromptPairs

REST = "rest"


@dataclass(frozen=True)
class Columns:
    """Named groups of positions, one patch each; a group may be empty for a pair."""

    names: tuple[str, ...]
    masks: Bool[Tensor, "column pair pos"]

    def part(self, start: int, n: int) -> "Columns":
        """Return the columns of `n` pairs from number `start` on."""
        return Columns(self.names, self.masks[:, start : start + n])


def all_positions(pairs: PromptPairs) -> Columns:
    """Return one column that holds every real token."""
    return Columns(("all",), pairs.mask.unsqueeze(0))


def by_position(pairs: PromptPairs) -> Columns:
    """Return one column per token position, counted from the first real token."""
    n_columns = int(pairs.clean_batch.position_ids.max()) + 1
    place = pairs.clean_batch.position_ids
    masks = [(place == column) & pairs.mask for column in range(n_columns)]
    return Columns(tuple(str(column) for column in range(n_columns)), torch.stack(masks))


def by_role(pairs: PromptPairs) -> Columns:
    """Return one column per role, in the order of their usual places, then one for the rest.

    Roles that fewer than half of the pairs have are left to the rest, which is called `rest`, or
    `other rest` where a role has that name. A role that messages have by themselves (`user`) is
    without the roles inside it.
    """
    counts = Counter(name for roles in pairs.roles for name in roles)
    common = [name for name, count in counts.items() if 2 * count >= len(pairs)]

    def usual_place(name: str) -> float:
        ends = [pairs.clean.shape[1] - roles[name][0] for roles in pairs.roles if name in roles]
        return -sum(ends) / len(ends)

    names = sorted(common, key=usual_place)
    masks = torch.zeros(len(names) + 1, *pairs.mask.shape, dtype=torch.bool)
    for row in range(len(pairs)):
        for name, places in own_places(pairs, row).items():
            if name in names:
                masks[names.index(name), row, places] = True
    masks[-1] = pairs.mask & ~masks[:-1].any(0)
    rest = REST
    while rest in names:
        rest = f"other {rest}"
    return Columns((*names, rest), masks)


def own_places(pairs: PromptPairs, row: int) -> dict[str, list[int]]:
    """Return the places of each role of a pair; of one that has no name of its own, what is left.

    Messages have roles by themselves, such as `user`: the words that the pair names inside it, and
    the last token, have their own.
    """
    roles, named = pairs.roles[row], {*pairs.pairs[row].roles, END}
    places = {}
    for name, (start, end) in roles.items():
        inside = [
            (s, e)
            for s, e in roles.values()
            if name not in named and start <= s and e <= end and e - s < end - start
        ]
        taken = {place for span in inside for place in range(*span)}
        places[name] = [place for place in range(start, end) if place not in taken]
    return places


COLUMNS: dict[str, Callable[[PromptPairs], Columns]] = {
    "role": by_role,
    "position": by_position,
    "all": all_positions,
}


def columns_named(name: str) -> Callable[[PromptPairs], Columns]:
    """Return how positions are grouped into columns.

    Raises:
        MethodError: there is no grouping of that name.
    """
    if name not in COLUMNS:
        raise MethodError(
            f"columns {name!r}: must be one of {', '.join(COLUMNS)}. It says which positions are "
            "patched together. Choose one."
        )
    return COLUMNS[name]


def at_role(pairs: PromptPairs, role: str) -> Columns:
    """Return one column that holds the tokens of a role.

    Raises:
        PromptError: no pair has it.
    """
    known = sorted({name for roles in pairs.roles for name in roles})
    if role not in known:
        raise PromptError(
            f"positions: must be a role of the prompts, one of {', '.join(known)}, got {role!r}. "
            "There is no such span. Choose one."
        )
    masks = torch.zeros(1, *pairs.mask.shape, dtype=torch.bool)
    for row, roles in enumerate(pairs.roles):
        if role in roles:
            masks[0, row, slice(*roles[role])] = True
    return Columns((role,), masks)


def at_position(pairs: PromptPairs, position: int) -> Columns:
    """Return one column that holds one position, counted from each prompt's first real token.

    Raises:
        PromptError: every prompt is shorter.
    """
    columns = by_position(pairs)
    if not 0 <= position < len(columns.names):
        raise PromptError(
            f"positions: must be from 0 to {len(columns.names) - 1} in these prompts, got "
            f"{position}. No token is there. Choose another."
        )
    return Columns((str(position),), columns.masks[position : position + 1])


def columns_at(pairs: PromptPairs, where: str) -> Columns:
    """Return one column: `all` positions, a role by name, or a position by number.

    Raises:
        PromptError: there is no such role or position.
    """
    if where == "all":
        return all_positions(pairs)
    return at_position(pairs, int(where)) if where.isdigit() else at_role(pairs, where)
