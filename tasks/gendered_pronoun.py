"""Gendered pronouns: a name tells whether 'he' or 'she' follows.

The corrupted prompt is the same of a person whose name goes with the other pronoun.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import words_of

FRAMES = {
    "is-not": "As everyone knows, {name} is such a {kind} {person}, isn't",
    "because": "The other {person} thanked {name} in the {kind} letter because",
    "said-that": "After the {kind} day, the {person} called {name} said that",
}
OTHER_FRAMES = {
    "when": "The {person} did not answer {name}, who had a {kind} question, when",
    "before": "Yesterday {name} met the {kind} {person} just before",
}
PRONOUNS = {
    " he": words_of("""
        John Tom James Dan Martin Paul Mark Peter David Jack Adam Simon Eric Kevin Brian Robert
        Michael William Richard Joseph Charles Daniel Matthew Andrew Joshua George Edward Ryan
        Jacob Nicholas Jonathan Stephen Justin Patrick Benjamin Samuel Oliver Henry Arthur Albert
        """),
    " she": words_of("""
        Mary Amy Alice Anna Emma Laura Sarah Kate Rachel Jane Lisa Susan Karen Nancy Linda Jennifer
        Elizabeth Jessica Emily Rebecca Julia Helen Victoria Maria Diana Hannah Claire Sophie Lucy
        Stephanie Michelle Angela
        """),
}
PERSONS = words_of("""
    teacher doctor lawyer farmer writer singer driver friend leader artist player student cook
    manager dancer painter pilot officer scientist neighbor actor coach judge
    """)
KINDS = words_of("good great kind nice wonderful brilliant terrible lovely clever funny")


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "gendered-pronoun-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield sentences; those about one name test the same fact, and are a cluster."""
        while True:
            frame = rng.choice(tuple(self.frames))
            pronoun, other = rng.sample(tuple(PRONOUNS), 2)
            name, other_name = rng.choice(PRONOUNS[pronoun]), rng.choice(PRONOUNS[other])
            words = {"kind": rng.choice(KINDS), "person": rng.choice(PERSONS)}
            clean, spans = fill(self.frames[frame], name=name, **words)
            corrupted, _ = fill(self.frames[frame], name=other_name, **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[pronoun],
                wrong_answers=[other],
                roles={"name": spans["name"], "person": spans["person"]},
                template=frame,
                cluster=f"pronoun of {name}",
            )


class GenderedPronoun(OtherWordings):
    """Pronouns of names: 'As everyone knows, Mary is such a kind teacher, isn't' -> she."""

    name = "gendered-pronoun"
    frames = FRAMES
    held_out = OtherWordings
