"""A task of one's own: `circuitkit run examples/greater_than.py:GreaterThan`.

After Hanna et al. 2023 (arXiv:2305.00586): a span of years must end after it began.
"""

import random
from collections.abc import Iterator

from circuitkit import ProbabilityDifference, PromptPair, Task, fill

NOUNS = ("war", "siege", "trip", "study", "strike", "voyage", "drought", "festival")


class GreaterThan(Task):
    """Year spans: 'The war lasted from 1741 to 17' -> a two-digit number above 41."""

    name = "greater-than"
    metric = ProbabilityDifference()
    drop_misaligned = True  # GPT-2 spells a few years as one token: drop and count those pairs

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield pairs; the corrupted prompt starts before the year 10, so most years will do."""
        frame = "The {noun} lasted from {start} to {century}"
        while True:
            century, year, early = rng.randint(11, 19), rng.randint(25, 98), rng.randint(1, 9)
            words = {"noun": rng.choice(NOUNS), "century": str(century)}
            clean, roles = fill(frame, start=f"{century}{year}", **words)
            corrupted, _ = fill(frame, start=f"{century}0{early}", **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                roles=roles,
                template="lasted",
                answers=[f"{later:02d}" for later in range(year + 1, 100)],
                wrong_answers=[f"{earlier:02d}" for earlier in range(2, year + 1)],
            )
