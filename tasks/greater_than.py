"""Greater-than: a span of years must end after it began.

After Hanna et al. 2023 (arXiv:2305.00586). The corrupted prompt begins in the year 01 of the
century, after which nearly every year will do.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import ProbabilityDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import SPAN_NOUNS

FRAMES = {
    "lasted": "The {noun} lasted from the year {start} to the year {century}",
    "began": "The {noun} began in the year {start} and ended in the year {century}",
    "went-on": "The {noun} of the year {start} went on until the year {century}",
}
OTHER_FRAMES = {
    "first-heard": "People first heard of the {noun} in {start} and last heard of it in {century}",
    "between": "The {noun} took place between {start} and {century}",
}
# GPT-2 spells these years as the century and two digits, but for two
CENTURIES, YEARS, EARLY = range(12, 18), range(10, 99), "01"
ONE_TOKEN = ("1280", "1440")


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "greater-than-other-wordings"
    metric = ProbabilityDifference()
    drop_misaligned = True  # other tokenizers spell years in their own way: drop and count pairs
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield spans of years; those of one last year have the same answers, and are a cluster."""
        while True:
            frame = rng.choice(tuple(self.frames))
            century, year = str(rng.choice(CENTURIES)), rng.choice(YEARS)
            if f"{century}{year}" in ONE_TOKEN:
                continue
            words = {"noun": rng.choice(SPAN_NOUNS), "century": century}
            clean, spans = fill(self.frames[frame], start=f"{century}{year}", **words)
            corrupted, _ = fill(self.frames[frame], start=f"{century}{EARLY}", **words)
            start, end = spans["start"]
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f"{later:02d}" for later in range(year + 1, 100)],
                wrong_answers=[f"{earlier:02d}" for earlier in range(2, year + 1)],
                roles={
                    "noun": spans["noun"],
                    "start-century": (start, start + 2),
                    "start-year": (start + 2, end),
                    "century": spans["century"],
                },
                template=frame,
                cluster=f"after {year}",
            )


class GreaterThan(OtherWordings):
    """Year spans: 'The war lasted from the year 1741 to the year 17' -> 42 to 99."""

    name = "greater-than"
    frames = FRAMES
    held_out = OtherWordings
