"""Entity binding: three people have three things, and one of them is asked for.

The corrupted prompt asks for another of the three.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import NAMES, OBJECTS

FRAMES = {
    "has": "Here {n0} has the {o0}, {n1} has the {o1}, and {n2} has the {o2}. So {asked} has the",
    "took": (
        "Today {n0} took the {o0}, {n1} took the {o1}, and {n2} took the {o2}. What did {asked} "
        "take? The"
    ),
    "gift": "For {n0} there is a {o0}, for {n1} a {o1}, and for {n2} a {o2}. Then {asked} gets a",
}
OTHER_FRAMES = {
    "belongs": (
        "The {o0} belongs to {n0}, the {o1} belongs to {n1}, and the {o2} belongs to {n2}. Thus "
        "{asked} owns the"
    ),
    "carried": "Outside {n0} carried a {o0}, {n1} a {o1}, {n2} a {o2}. Later {asked} lost that",
}


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "entity-binding-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield descriptions; those in which one person has one thing are a cluster."""
        while True:
            frame = rng.choice(tuple(self.frames))
            people, things = rng.sample(NAMES, 3), rng.sample(OBJECTS, 3)
            at, other = rng.sample(range(3), 2)
            words = {f"n{i}": person for i, person in enumerate(people)}
            words |= {f"o{i}": thing for i, thing in enumerate(things)}
            clean, spans = fill(self.frames[frame], asked=people[at], **words)
            corrupted, _ = fill(self.frames[frame], asked=people[other], **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f" {things[at]}"],
                wrong_answers=[f" {things[other]}"],
                roles={
                    **{f"person-{i + 1}": spans[f"n{i}"] for i in range(3)},
                    **{f"thing-{i + 1}": spans[f"o{i}"] for i in range(3)},
                    "asked": spans["asked"],
                },
                template=f"{frame}-{at + 1}",
                cluster=f"{people[at]} with {things[at]}",
            )


class EntityBinding(OtherWordings):
    """Bound entities: 'Here Mary has the ball, Tom has the key ... So Tom has the' -> key."""

    name = "entity-binding"
    frames = FRAMES
    held_out = OtherWordings
