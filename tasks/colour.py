"""Colour: what colour a thing usually has, after another thing's as an example.

The corrupted prompt gives the same example and asks for a thing of another colour.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task

FRAMES = {
    "usual": "The usual color of {known} is {known_color}. The usual color of {thing} is",
    "everyone": "Everyone knows the color of {known}: {known_color}. And the color of {thing}:",
    "painting": "To paint {known}, take {known_color}. To paint {thing}, take",
}
OTHER_FRAMES = {
    "most": "Most {known} is {known_color}, and most {thing} is",
    "as-for": "As for {known}, it is {known_color}. As for {thing}, it is",
}
THINGS = {
    "yellow": "banana lemon corn butter mustard cheese",
    "green": "grass lettuce spinach broccoli moss mint basil lime",
    "red": "blood tomato strawberry cherry brick lobster",
    "white": "snow milk rice salt cotton flour sugar paper cream ivory",
    "black": "coal ink tar charcoal asphalt",
    "brown": "chocolate coffee mud soil cinnamon leather bread",
    "blue": "sky ocean sea",
    "orange": "carrot pumpkin salmon",
    "gray": "ash concrete steel smoke",
}
COLORS = {thing: color for color, things in THINGS.items() for thing in things.split()}


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "colour-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield questions; those about one thing test the same fact, and are a cluster."""
        while True:
            frame = rng.choice(tuple(self.frames))
            known, thing, other = rng.sample(tuple(COLORS), 3)
            if len({COLORS[known], COLORS[thing], COLORS[other]}) < 3:
                continue
            words = {"known": known, "known_color": COLORS[known]}
            clean, spans = fill(self.frames[frame], thing=thing, **words)
            corrupted, _ = fill(self.frames[frame], thing=other, **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f" {COLORS[thing]}"],
                wrong_answers=[f" {COLORS[other]}"],
                roles={"example": spans["known_color"], "thing": spans["thing"]},
                template=frame,
                cluster=f"color of {thing}",
            )


class Colour(OtherWordings):
    """Colours: 'The usual color of coal is black. The usual color of grass is' -> green."""

    name = "colour"
    frames = FRAMES
    held_out = OtherWordings
