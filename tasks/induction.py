"""Induction: what followed this token before, follows it again.

Two kinds of prompt. `period-N` is a list of N random words that starts again and is cut; the
corrupted list begins with other words, so that nothing repeats. `name-...` gives people a surname
and then a first name again; the corrupted text introduces somebody else, or, where there are two
people, exchanges their surnames.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill, next_word
from circuitkit.task import Task
from circuitkit.zoo.lexicon import NAMES, PLACES, SEQUENCE_WORDS, SURNAMES

HEADING = "List:"
PERIODS = (6, 8, 10, 12)
NAME_FRAMES = {
    "name-met": "The teacher met {F} {L} at the {place}. Later, {F2}",
    "name-knows": "Everyone at the {place} knows {F} {L}. Soon, the doctor called {F2}",
    "name-first-of-two": "Today, {F} {L} and {G} {M} came to the {place}. After that, {F2}",
    "name-second-of-two": "Today, {G} {M} and {F} {L} came to the {place}. After that, {F2}",
    "name-belongs": "The {place} belongs to {F} {L}, the village belongs to {G} {M}. Then, {F2}",
}
OTHER_PERIODS = (7, 9, 11)
OTHER_NAME_FRAMES = {
    "name-called": "A nurse called {F} {L} lives near the {place}. Everyone likes {F2}",
    "name-friend": "My friend {F} {L} works at the {place}. Today, the driver thanked {F2}",
    "name-wrote": "The farmer wrote to {G} {M} and {F} {L}. Then, the artist called {F2}",
}


class OtherWordings(Task):
    """The same with lists of other lengths and other sentences, to judge a circuit on."""

    name = "induction-other-wordings"
    metric = LogitDifference()
    periods: ClassVar[tuple[int, ...]] = OTHER_PERIODS
    name_frames: ClassVar[Mapping[str, str]] = OTHER_NAME_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield repeated lists and full names, as many of each."""
        while True:
            yield repeated_list_pair(rng, rng.choice(self.periods))
            name = rng.choice(tuple(self.name_frames))
            yield full_name_pair(rng, name, self.name_frames[name])


class Induction(OtherWordings):
    """Repeats: 'List: fox sand road ... fox sand' -> road, 'Alice Baker ... Alice' -> Baker."""

    name = "induction"
    periods = PERIODS
    name_frames = NAME_FRAMES
    held_out = OtherWordings


def repeated_list_pair(rng: random.Random, period: int) -> PromptPair:
    """Return a list that is cut a little before the middle of its second round.

    The wrong answer is a word of the first round that has not come again and stands neither next
    to the answer nor next to the word before it.
    """
    n_repeated = period // 2 - 1
    words = rng.sample(SEQUENCE_WORDS, 2 * period)
    first_round, fresh, repeated = words[:period], words[period:], words[:n_repeated]
    before_source = " ".join([HEADING, *first_round[: n_repeated - 1]])
    source = (len(before_source) + 1, len(before_source) + 1 + len(repeated[-1]))
    clean = " ".join([HEADING, *first_round, *repeated])
    return PromptPair(
        clean=clean,
        corrupted=" ".join([HEADING, *fresh, *repeated]),
        answers=[f" {first_round[n_repeated]}"],
        wrong_answers=[f" {rng.choice(first_round[n_repeated + 2 :])}"],
        roles={"source": source, "source+1": next_word(clean, source)},
        template=f"period-{period}",
    )


def full_name_pair(rng: random.Random, frame_name: str, frame: str) -> PromptPair:
    """Return a text that ends in a first name whose surname was given before."""
    first_name, other_first_name = rng.sample(NAMES, 2)
    surname, other_surname = rng.sample(SURNAMES, 2)
    words = {"G": other_first_name, "F2": first_name, "place": rng.choice(PLACES)}
    introduced = first_name if "{G}" in frame else other_first_name
    clean, spans = fill(frame, F=first_name, L=surname, M=other_surname, **words)
    corrupted, _ = fill(frame, F=introduced, L=other_surname, M=surname, **words)
    return PromptPair(
        clean=clean,
        corrupted=corrupted,
        answers=[f" {surname}"],
        wrong_answers=[f" {other_surname}"],
        roles={"source": spans["F"], "source+1": spans["L"]},
        template=frame_name,
    )
