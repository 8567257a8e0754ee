"""Subject-verb agreement: the verb follows its subject, not the noun that stands nearer.

The attractor between them is as often of the other number as of the same. The corrupted prompt has
the subject in the other number, and all else alike.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import words_of

FRAMES = {
    "place": "The {subject} {preposition} the {attractor}",
    "place-adverb": "Last week, the {subject} {preposition} the {attractor} certainly",
    "of-the-town": "In this town, the {subject} {preposition} the old {attractor}",
}
OTHER_FRAMES = {
    "liked": "The {subject} that the {attractor} {verb}",
    "with-pictures": "Everyone says that the {subject} with the {attractor} today",
}
SUBJECTS = words_of("""
    teacher doctor farmer writer singer driver lawyer player worker student officer manager author
    artist pilot priest girl boy king queen soldier dog cat horse bird friend guest neighbor leader
    hunter actor dancer sailor nurse judge visitor tourist chef prince parent engineer scientist
    poet
    """)
ATTRACTORS = words_of("""
    table chair car boat tree house door window book picture lamp bridge road wall gate tower river
    garden field train truck clock computer phone statue flower store bag letter cabinet
    """)
PREPOSITIONS = words_of("near behind beside by above under")
VERBS = words_of("hide break need move")
ONE, MANY = (" is", " was", " has", " does"), (" are", " were", " have", " do")


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, relative clauses among them."""

    name = "subject-verb-agreement-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield subjects and attractors of both numbers; a subject beside a noun is a cluster."""
        while True:
            frame = rng.choice(tuple(self.frames))
            subject, attractor = rng.choice(SUBJECTS), rng.choice(ATTRACTORS)
            is_many, are_many = rng.random() < 0.5, rng.random() < 0.5
            words = {
                "attractor": _noun(attractor, are_many),
                "preposition": rng.choice(PREPOSITIONS),
                "verb": rng.choice(VERBS) + ("" if are_many else "s"),
            }
            clean, spans = fill(self.frames[frame], subject=_noun(subject, is_many), **words)
            corrupted, _ = fill(self.frames[frame], subject=_noun(subject, not is_many), **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=MANY if is_many else ONE,
                wrong_answers=ONE if is_many else MANY,
                roles={"subject": spans["subject"], "attractor": spans["attractor"]},
                template=frame,
                cluster=f"{subject} beside {attractor}",
            )


class SubjectVerbAgreement(OtherWordings):
    """Agreement through attractors: 'The teachers near the cabinet' -> are."""

    name = "subject-verb-agreement"
    frames = FRAMES
    held_out = OtherWordings


def _noun(noun: str, is_many: bool) -> str:
    return f"{noun}s" if is_many else noun
