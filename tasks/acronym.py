"""Acronyms: the letters of a name are the initials of its words, one after the other.

The corrupted prompt has a third word of another initial. Letters stand apart, so that each is one
token.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import words_of

FRAMES = {
    "spelled": "The {first} {second} {third} is spelled as three letters: {f} {s}",
    "sign": "On the door of the {first} {second} {third} is a sign that says {f} {s}",
    "for-short": "We call the {first} {second} {third}, for short, the {f} {s}",
}
OTHER_FRAMES = {
    "initials": "The initials of the {first} {second} {third} are {f} {s}",
    "stamp": "A letter from the {first} {second} {third} has the stamp {f} {s}",
}
WORDS = words_of("""
    Central National Royal Special Public Global Digital Local Federal Medical Social Human Animal
    Water Energy Space Ocean Forest Youth Women Labor Food Health Media Music Film Book Art Trade
    Bank Office Board Council Union Group Team Club Fund School College Institute Library Museum
    Society Service Agency Bureau Network Project System Program Division Committee Commission
    Association League Party Foundation Research Data Defense Education Information Technology Law
    Justice Market Park Police Power Quality Radio Road River Safety Science Security Sports Student
    Tax Travel Transport Village War Weather Wildlife World Zone King Queen Valley Victory Vision
    Voice Volunteer Yard Family Farm Insurance Industry Income Journal Junior Knowledge Universal
    United Urban Exchange Emergency Environment
    """)


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "acronym-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield names of three words; those with one third word ask the same, and are a cluster."""
        while True:
            frame = rng.choice(tuple(self.frames))
            first, second, third, other = rng.sample(WORDS, 4)
            if third[0] == other[0]:
                continue
            words = {"first": first, "second": second, "f": first[0], "s": second[0]}
            clean, spans = fill(self.frames[frame], third=third, **words)
            corrupted, _ = fill(self.frames[frame], third=other, **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f" {third[0]}"],
                wrong_answers=[f" {other[0]}"],
                roles={
                    **{slot: spans[slot] for slot in ("first", "second", "third")},
                    "first-letter": spans["f"],
                    "second-letter": spans["s"],
                },
                template=frame,
                cluster=f"initial of {third}",
            )


class Acronym(OtherWordings):
    """Initials: 'The Royal Water Board is spelled as three letters: R W' -> B."""

    name = "acronym"
    frames = FRAMES
    held_out = OtherWordings
