"""Interchanges: which value of which prompt goes into which other one, and what should come of it.

    base    the prompt that is changed
    source  the prompt whose value is put in, where the variable is
    expected = the hypothesis' answer on the base, with the variable set to its value on the source

Two kinds are drawn: those after which the answer should be another one, and those after which it
should stay, if there are enough. Within a kind no prompt is base twice, nor source twice.
Among sources that would change the answer, one is preferred whose own answer is not the expected
one: copying the source's answer is then no way to be right.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.abstraction.hypothesis import Value
from circuitkit.abstraction.reading import Readings
from circuitkit.errors import TooFewError
from circuitkit.work.text import shown

LEAST = 16  # interchanges of a kind under which nothing is said
MOST = 100  # of a kind
CHANGES, STAYS = True, False


@dataclass(frozen=True)
class Interchange:
    """One exchange, and the tokens that are the answer before it and should be behind it.

    `by_chance` is what should be the answer if the value were that of another prompt, drawn at
    random among those of which the hypothesis says something here.
    """

    base: int
    source: int
    before: int
    expected: int
    sources_own: int
    by_chance: int

    @property
    def changes(self) -> bool:
        """Whether the answer should be another one."""
        return self.expected != self.before

    @property
    def is_copy(self) -> bool:
        """Whether to give the source's own answer would be right as well."""
        return self.changes and self.expected == self.sources_own


@dataclass(frozen=True)
class Interchanges:
    """Interchanges of a variable, in the prompts that were read."""

    variable: str
    readings: Readings
    items: tuple[Interchange, ...]

    def __len__(self) -> int:
        return len(self.items)

    def of_kind(self, *, changes: bool) -> NDArray[np.bool_]:
        """Return which of them should change the answer, or should not."""
        return np.array([item.changes == changes for item in self.items], dtype=bool)

    @property
    def clusters(self) -> NDArray[np.int64]:
        """The number of the cluster of each base: interchanges of one are not independent."""
        return self.readings.pairs.clusters[[item.base for item in self.items]]

    @property
    def candidates(self) -> Int[Tensor, " token"]:
        """The tokens of which the likeliest is the model's answer."""
        expected = torch.tensor([item.expected for item in self.items], dtype=torch.long)
        both: Tensor = torch.cat([self.readings.candidates, expected]).unique()
        return both

    @property
    def n_copies(self) -> int:
        """How many of those that should change the answer would pass by copying the source's."""
        return sum(item.is_copy for item in self.items)


def draw_interchanges(
    readings: Readings,
    variable: str,
    roles: Sequence[str],
    *,
    seed: int = 0,
    most: int = MOST,
) -> Interchanges:
    """Return interchanges of a variable between prompts whose spans at `roles` are as long.

    Raises:
        TooFewError: fewer than LEAST would change the answer.
    """
    drawer = _Drawer(readings, variable, roles, random.Random(f"interchanges {variable} {seed}"))
    changing = drawer.drawn(changes=True, most=most)
    if len(changing) < LEAST:
        name = readings.algorithm.hypothesis.name
        raise TooFewError(
            f"hypothesis {shown(name)}, variable {variable!r}: at least {LEAST} exchanges between "
            f"prompts must change its answer, got {len(changing)} among {len(readings)} prompts. "
            "Chance could not be told from truth. Draw more prompts with --n, or use a variable "
            "that differs between them and decides the answer."
        )
    staying = drawer.drawn(changes=False, most=most)
    return Interchanges(variable, readings, (*changing, *(staying[LEAST - 1 :] and staying)))


class _Drawer:
    """What may go where: for each base, each value that some source has, and what it would do."""

    def __init__(
        self, readings: Readings, variable: str, roles: Sequence[str], rng: random.Random
    ) -> None:
        self.readings, self.variable, self.rng = readings, variable, rng
        self.having: dict[Value, list[int]] = {}
        for row, values in enumerate(readings.values):
            if values[variable] is not None:
                self.having.setdefault(values[variable], []).append(row)
        self.lengths = [
            tuple(b - a for a, b in (spans.get(role, (0, 0)) for role in roles))
            for spans in readings.spans
        ]
        self.outcomes = [self._outcomes(row) for row in range(len(readings))]

    def _outcomes(self, base: int) -> dict[Value, int]:
        """Return the answer that each value would give; those of which something is said."""
        if 0 in self.lengths[base] or self.readings.values[base][self.variable] is None:
            return {}
        found = {v: self.readings.intervened(base, self.variable, v) for v in self.having}
        return {value: token for value, token in found.items() if token is not None}

    def drawn(self, *, changes: bool, most: int) -> list[Interchange]:
        """Return interchanges of one kind, those whose base has the fewest sources first."""
        answers = self.readings.answers
        sources = {
            base: [
                (row, token)
                for value, token in outcomes.items()
                if (token != answers[base]) == changes
                for row in self.having[value]
                if row != base and self.lengths[row] == self.lengths[base]
            ]
            for base, outcomes in enumerate(self.outcomes)
        }
        bases = [base for base, found in sources.items() if found]
        self.rng.shuffle(bases)
        used: set[int] = set()
        drawn = []
        for base in sorted(bases, key=lambda base: len(sources[base])):
            left = [each for each in sources[base] if each[0] not in used]
            telling = [each for each in left if answers[each[0]] != each[1]]
            if left:
                source, expected = self.rng.choice(telling if changes and telling else left)
                used.add(source)
                drawn.append(self._interchange(base, source, expected))
        self.rng.shuffle(drawn)
        return drawn[:most]

    def _interchange(self, base: int, source: int, expected: int) -> Interchange:
        answers = self.readings.answers
        values = [v for v in self.outcomes[base] for _ in self.having[v]]
        by_chance = self.outcomes[base][self.rng.choice(values)]
        return Interchange(base, source, answers[base], expected, answers[source], by_chance)


def answered_rightly(readings: Readings, given: Sequence[int]) -> Readings:
    """Return the prompts on which the model's answer, as given, is the hypothesis'.

    Raises:
        TooFewError: they are too few.
    """
    both = zip(given, readings.answers, strict=True)
    right = [row for row, (own, answer) in enumerate(both) if own == answer]
    if len(right) < LEAST:
        raise TooFewError(
            f"hypothesis {shown(readings.algorithm.hypothesis.name)}: the model must answer at "
            f"least {LEAST} prompts rightly, got {len(right)} of {len(readings)}. What it does not "
            "do, no algorithm explains. Draw more prompts with --n, or use another model."
        )
    return replace(readings.select(right))
