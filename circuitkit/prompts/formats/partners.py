"""Corrupted prompts for rows that have none: the prompt of another row, with another answer.

The partner is of the same group and as many words long: the next such row, from the first again
after the last.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from circuitkit.prompts.pairs import Span


@dataclass(frozen=True)
class Asked:
    """A prompt with its answer, before it has a partner. `row` is its number in the file."""

    row: int
    prompt: str
    answer: str | int
    group: Hashable
    cluster: str | None = None
    roles: tuple[tuple[str, Span], ...] = ()
    template: str = ""


def with_partners(asked: Sequence[Asked]) -> Iterator[tuple[Asked, Asked]]:
    """Yield each with its partner, in order; one without a partner is left out."""
    groups: dict[Hashable, list[Asked]] = defaultdict(list)
    for one in asked:
        groups[_key(one)].append(one)
    places: dict[Hashable, int] = defaultdict(int)
    for one in asked:
        group = groups[_key(one)]
        places[_key(one)] += 1
        start = places[_key(one)]
        around = (group[(start + step) % len(group)] for step in range(len(group)))
        partner = next((each for each in around if each.answer != one.answer), None)
        if partner is not None:
            yield one, partner


def _key(one: Asked) -> Hashable:
    return one.group, len(one.prompt.split())
