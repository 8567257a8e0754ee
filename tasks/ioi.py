"""Indirect object identification: two people are named, one gives, who gets it?

Wang et al. 2022, arXiv:2211.00593. `ioi` corrupts the second mention of the subject into the
indirect object, so that the answers exchange. `ioi-abc` replaces all three mentions by three other
names, so that no name is repeated.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill, next_word
from circuitkit.task import Task
from circuitkit.zoo.lexicon import NAMES, OBJECTS, PLACES

# {A} and {B} are the two people in order of mention, {S} is the one named again.
FRAMES = {
    "when-went": "When {A} and {B} went to the {place}, {S} gave a {object} to",
    "then-went": "Then, {A} and {B} went to the {place}. {S} gave a {object} to",
    "after-lunch": "After {A} and {B} had lunch at the {place}, {S} passed the {object} to",
    "then-thinking": (
        "Then, {A} and {B} were thinking about going to the {place}. Then, {S} sent a {object} to"
    ),
    "while-worked": "While {A} and {B} worked at the {place}, {S} decided to give a {object} to",
    "yesterday-met": "Yesterday, {A} and {B} met at the {place}, and {S} brought a {object} to",
    "long-talk": (
        "Last week, {A} and {B} had a long talk at the {place}. Later, {S} handed a {object} to"
    ),
    "day-walked": (
        "One day, {A} and {B} walked to the {place}, and then {S} offered a {object} to"
    ),
    "after-found": "After {A} and {B} found a {object} in the {place}, {S} offered the {object} to",
    "after-bought": "After {A} and {B} bought a {object} at the {place}, {S} gave the {object} to",
    "place-quiet": (
        "The {place} was quiet when {A} and {B} had lunch. After that, {S} gave the {object} to"
    ),
    "late-met": "It was late at the {place} when {A} and {B} met, and {S} handed the {object} to",
    "talk-about": (
        "At the {place}, {A} and {B} had a long talk about a {object}, so {S} gave the {object} to"
    ),
    "evening-still": (
        "In the evening, {A} and {B} were still at the {place}, and {S} promised the {object} to"
    ),
    "teacher-called": (
        "The teacher called {A} and {B} to the {place}. Soon, {S} sent the {object} to"
    ),
    "today-played": (
        "Today, {A} and {B} played at the {place}. At the end, {S} threw a {object} to"
    ),
    "summer-near": (
        "This summer, {A} and {B} worked near the {place}. There, {S} showed a {object} to"
    ),
    "time-goodbye": "Some time ago, when {A} and {B} were at the {place}, {S} said goodbye to",
}
OTHER_FRAMES = {
    "because-waited": (
        "Because {A} and {B} waited near the {place}, {S} wanted to give the {object} to"
    ),
    "morning-fun": (
        "In the morning, {A} and {B} had fun at the {place}, so {S} threw the {object} to"
    ),
    "as-spent": "As {A} and {B} spent the day at the {place}, {S} sold a {object} to",
    "before-got": "Before {A} and {B} got a {object} at the {place}, {S} told a long story to",
}
ORDERS = ("ABBA", "BABA")  # A is the indirect object, B the subject


@dataclass(frozen=True)
class Sentence:
    """A frame and the words in its slots."""

    frame_name: str
    order: str
    indirect_object: str
    subject: str
    giver: str
    place: str
    object: str

    def filled(self) -> tuple[str, dict[str, tuple[int, int]]]:
        """Return the text and the span of each slot."""
        first, second = self.indirect_object, self.subject
        if self.order == "BABA":
            first, second = second, first
        return fill(
            (FRAMES | OTHER_FRAMES)[self.frame_name],
            A=first,
            B=second,
            S=self.giver,
            place=self.place,
            object=self.object,
        )


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "ioi-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield pairs whose corrupted prompt names the indirect object as the giver."""
        while True:
            sentence = draw_sentence(rng, self.frames)
            yield pair_of(sentence, replace(sentence, giver=sentence.indirect_object))

    def reference_pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield pairs whose corrupted prompts name three different people, as Wang et al. do."""
        while True:
            sentence = draw_sentence(rng, self.frames)
            yield pair_of(sentence, with_other_names(sentence, rng))


class IOI(OtherWordings):
    """Indirect object: 'When Mary and John went to the store, John gave a drink to' -> Mary."""

    name = "ioi"
    frames = FRAMES
    held_out = OtherWordings


class OtherWordingsABC(OtherWordings):
    """The same as IOIABC in frames that are not in FRAMES."""

    name = "ioi-abc-other-wordings"

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield pairs whose corrupted prompt names three different people."""
        return self.reference_pairs(rng)


class IOIABC(IOI):
    """Indirect object, corrupted into three other names, so that no name is repeated."""

    name = "ioi-abc"
    held_out = OtherWordingsABC

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield pairs whose corrupted prompt names three different people."""
        return self.reference_pairs(rng)


def draw_sentence(rng: random.Random, frames: Mapping[str, str]) -> Sentence:
    """Return a random sentence in one of the frames, in which the subject gives."""
    indirect_object, subject = rng.sample(NAMES, 2)
    return Sentence(
        frame_name=rng.choice(tuple(frames)),
        order=rng.choice(ORDERS),
        indirect_object=indirect_object,
        subject=subject,
        giver=subject,
        place=rng.choice(PLACES),
        object=rng.choice(OBJECTS),
    )


def with_other_names(sentence: Sentence, rng: random.Random) -> Sentence:
    """Return the sentence with three names that differ from each other and from its own."""
    others = [n for n in NAMES if n not in (sentence.indirect_object, sentence.subject)]
    indirect_object, subject, giver = rng.sample(others, 3)
    return replace(sentence, indirect_object=indirect_object, subject=subject, giver=giver)


def pair_of(clean: Sentence, corrupted: Sentence) -> PromptPair:
    """Return the two sentences as a pair, with the names' roles in the clean one."""
    text, spans = clean.filled()
    io_slot, subject_slot = ("A", "B") if clean.order == "ABBA" else ("B", "A")
    return PromptPair(
        clean=text,
        corrupted=corrupted.filled()[0],
        answers=[f" {clean.indirect_object}"],
        wrong_answers=[f" {clean.subject}"],
        roles={
            "IO": spans[io_slot],
            "S1": spans[subject_slot],
            "S1+1": next_word(text, spans[subject_slot]),
            "S2": spans["S"],
        },
        template=f"{clean.frame_name}-{clean.order}",
    )
