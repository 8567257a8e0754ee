"""Multiple choice: the letter in front of the right answer, which stands in the question.

The corrupted prompt has the same four answers in another order, so that another letter is right.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import COLORS, OBJECTS

CHOICES = "\nA. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer:"
FRAMES = {
    "what-color": "Question: The {thing} is {color}. What color is the {thing_again}?" + CHOICES,
    "painted": "Somebody painted the {thing} {color}. Which color has the {thing_again}?" + CHOICES,
}
OTHER_FRAMES = {
    "choose": "They sell a {color} {thing}. Choose the color of the {thing_again}." + CHOICES,
    "quiz": "Quiz. A {thing} that is {color} was lost. The lost {thing_again} is:" + CHOICES,
}
LETTERS = "ABCD"


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "multiple-choice-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield questions; those of one thing in one color are a cluster."""
        while True:
            frame, thing = rng.choice(tuple(self.frames)), rng.choice(OBJECTS)
            colors = rng.sample(COLORS, len(LETTERS))
            at, other = rng.sample(range(len(LETTERS)), 2)
            moved = list(colors)
            moved[at], moved[other] = moved[other], moved[at]
            words = {"thing": thing, "thing_again": thing, "color": colors[at]}
            clean, spans = fill(self.frames[frame], **words, **_choices(colors))
            corrupted, _ = fill(self.frames[frame], **words, **_choices(moved))
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f" {LETTERS[at]}"],
                wrong_answers=[f" {LETTERS[other]}"],
                roles={
                    "told": spans["color"],
                    "thing": spans["thing"],
                    **{f"choice-{letter}": spans[letter] for letter in LETTERS},
                },
                template=frame,
                cluster=f"{colors[at]} {thing}",
            )


class MultipleChoice(OtherWordings):
    """Letters of answers: 'The cup is red. What color is the cup? A. blue B. red ...' -> B."""

    name = "multiple-choice"
    frames = FRAMES
    held_out = OtherWordings


def _choices(colors: list[str]) -> dict[str, str]:
    return dict(zip(LETTERS, colors, strict=True))
