"""Successor: what comes next, of days, months, number words and numbers.

The corrupted prompt counts from elsewhere in the same sequence. Somebody with a name counts, so
that there are many prompts of the few facts; those of one last word are a cluster.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import NAMES, words_of

FRAMES = {
    "counts": "Slowly, {name} counts on: {a}, {b}, {c},",
    "wrote": "In a list, {name} wrote {a}, then {b}, then {c}, then",
}
OTHER_FRAMES = {
    "after": "We ask {name} what follows. After {a} follows {b}, and after {c} follows",
    "song": "The song of {name} goes {a} and {b} and {c} and",
}
SEQUENCES = {
    "day": words_of("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "month": words_of("""
        January February March April May June July August September October November December
        """),
    "word": words_of("""
        one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
        sixteen seventeen eighteen nineteen twenty
        """),
    "number": tuple(map(str, range(1, 100))),
}
ROUND = ("day", "month")  # after the last comes the first
LENGTH = 4  # three are given, and one follows


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "successor-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield the four kinds of sequences, as many of each."""
        while True:
            frame, kind = rng.choice(tuple(self.frames)), rng.choice(tuple(SEQUENCES))
            counted, other = (_items(kind, start) for start in _starts(rng, kind))
            name = rng.choice(NAMES)
            clean, spans = fill(self.frames[frame], name=name, **_given(counted))
            corrupted, _ = fill(self.frames[frame], name=name, **_given(other))
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f" {counted[-1]}"],
                wrong_answers=[f" {other[-1]}"],
                roles={"name": spans["name"], "last": spans["c"], "before-last": spans["b"]},
                template=f"{frame}-{kind}",
                cluster=f"after {counted[-2]}",
            )


class Successor(OtherWordings):
    """Sequences: 'Slowly, Mary counts on: Monday, Tuesday, Wednesday,' -> Thursday."""

    name = "successor"
    frames = FRAMES
    held_out = OtherWordings


def _starts(rng: random.Random, kind: str) -> list[int]:
    n = len(SEQUENCES[kind]) - (0 if kind in ROUND else LENGTH - 1)
    return rng.sample(range(n), 2)


def _items(kind: str, start: int) -> list[str]:
    items = SEQUENCES[kind]
    return [items[(start + i) % len(items)] for i in range(LENGTH)]


def _given(items: list[str]) -> dict[str, str]:
    return dict(zip("abc", items, strict=False))
