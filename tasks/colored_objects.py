"""Colored objects: three things of three colors are named, and one of them is asked for.

The corrupted prompt asks for another of the three.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import COLORS, OBJECTS

FRAMES = {
    "table": (
        "On the table there is a {c0} {o0}, a {c1} {o1}, and a {c2} {o2}. "
        "The color of the {asked} is"
    ),
    "bag": "My bag holds a {c0} {o0}, a {c1} {o1}, and a {c2} {o2}. What I can say: the {asked} is",
    "desk": (
        "Q: On the desk I see a {c0} {o0}, a {c1} {o1}, and a {c2} {o2}. What color is the "
        "{asked}? A:"
    ),
}
OTHER_FRAMES = {
    "bought": "She has a {c0} {o0}, a {c1} {o1} and a {c2} {o2}. At home she saw the {asked}, all",
    "is": "The {o0} is {c0}, the {o1} is {c1}, the {o2} is {c2}. Look again at the {asked}: it is",
}


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "colored-objects-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield descriptions; those of one thing in one color are a cluster."""
        while True:
            frame = rng.choice(tuple(self.frames))
            things, colors = rng.sample(OBJECTS, 3), rng.sample(COLORS, 3)
            at, other = rng.sample(range(3), 2)
            words = {f"o{i}": thing for i, thing in enumerate(things)}
            words |= {f"c{i}": color for i, color in enumerate(colors)}
            clean, spans = fill(self.frames[frame], asked=things[at], **words)
            corrupted, _ = fill(self.frames[frame], asked=things[other], **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f" {colors[at]}"],
                wrong_answers=[f" {colors[other]}"],
                roles={
                    **{f"color-{i + 1}": spans[f"c{i}"] for i in range(3)},
                    **{f"object-{i + 1}": spans[f"o{i}"] for i in range(3)},
                    "asked": spans["asked"],
                },
                template=f"{frame}-{at + 1}",
                cluster=f"{colors[at]} {things[at]}",
            )


class ColoredObjects(OtherWordings):
    """Things: 'On the table there is a red pen, a blue cup ... The color of the cup is' -> blue."""

    name = "colored-objects"
    frames = FRAMES
    held_out = OtherWordings
