"""Two-digit addition: the sum of two numbers, after one sum as an example.

The corrupted prompt has another second number. Sums stay below 100.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task

FRAMES = {
    "signs": "Sums: {x} + {y} = {z}, {a} + {b} =",
    "sum-of": "The sum of {x} and {y} is {z}. The sum of {a} and {b} is",
}
OTHER_FRAMES = {
    "plus": "We know that {x} plus {y} equals {z}, so {a} plus {b} equals",
    "coins": "With {x} coins and {y} coins you have {z}. With {a} coins and {b} coins you have",
}
LEAST, MOST = 10, 99


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "two-digit-addition-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield sums; those of the same two numbers are a cluster."""
        while True:
            frame = rng.choice(tuple(self.frames))
            (x, y), (a, b) = _summands(rng), _summands(rng)
            other = rng.randint(LEAST, MOST - a)
            if other == b:
                continue
            words = {"x": str(x), "y": str(y), "z": str(x + y), "a": str(a)}
            clean, spans = fill(self.frames[frame], b=str(b), **words)
            corrupted, _ = fill(self.frames[frame], b=str(other), **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f" {a + b}"],
                wrong_answers=[f" {a + other}"],
                roles={"example": spans["z"], "first": spans["a"], "second": spans["b"]},
                template=frame,
                cluster=f"{a} + {b}",
            )


class TwoDigitAddition(OtherWordings):
    """Sums: 'Sums: 12 + 30 = 42, 25 + 16 =' -> 41."""

    name = "two-digit-addition"
    frames = FRAMES
    held_out = OtherWordings


def _summands(rng: random.Random) -> tuple[int, int]:
    first = rng.randint(LEAST, MOST - LEAST - 1)
    return first, rng.randint(LEAST, MOST - first)
