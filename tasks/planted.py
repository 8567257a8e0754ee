"""The tasks of the planted models (circuitkit.zoo.planted), in their own small vocabularies.

Where a language has few facts, or few answers, every draw holds them all: what a draw samples is
the prompt, and each prompt is a cluster of its own. Names are many, so two people are a cluster.
"""

import random
from collections.abc import Iterator

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.task import Task
from circuitkit.zoo.planted import facts, induction, ioi, skip_trigram


class PlantedInduction(Task):
    """What followed this word: 'ant bee cat dog ... bee' -> cat, in a model made by hand."""

    name = "planted-induction"
    metric = LogitDifference()
    offset = 1  # where the answer stands, beside the earlier place of the last word

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield lists that end in a word they held before; the corrupted list has other words."""
        n = induction.LENGTH - 1
        while True:
            words = rng.sample(induction.WORDS, 2 * n)
            clean, corrupted = words[:n], words[n:]
            place = rng.randrange(1, n - 1)
            wrong = rng.choice([i for i in range(n) if i not in (place, place + self.offset)])
            yield PromptPair(
                clean=" ".join([*clean, clean[place]]),
                corrupted=" ".join([*corrupted, corrupted[place]]),
                answers=[clean[place + self.offset]],
                wrong_answers=[clean[wrong]],
                template="list",
            )


class PlantedPredecessor(PlantedInduction):
    """What preceded this word: 'ant bee cat dog ... cat' -> bee, in a model made by hand."""

    name = "planted-predecessor"
    offset = -1


class PlantedIOI(Task):
    """Who is named once: 'Ada and Ben spoke Ben gave to' -> Ada, in a model made by hand."""

    name = "planted-ioi"
    metric = LogitDifference()

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield pairs whose corrupted prompt names three other people."""
        while True:
            first, second, *others = rng.sample(ioi.NAMES, 5)
            subject, other = rng.choice([(first, second), (second, first)])
            yield PromptPair(
                clean=f"{first} and {second} spoke {subject} gave to",
                corrupted=f"{others[0]} and {others[1]} spoke {others[2]} gave to",
                answers=[other],
                wrong_answers=[subject],
                template="gave",
                cluster=f"{other} beside {subject}",
            )


class PlantedSkipTrigram(Task):
    """Phrases: 'keep them well in' -> mind, at -> bay, in a model made by hand."""

    name = "planted-skip-trigram"
    metric = LogitDifference()

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield phrases; wrong answers are of another link, and of another verb.

        The corrupted prompt has another verb elsewhere, and a last word that belongs to no phrase.
        """
        while True:
            phrase, other = rng.sample(skip_trigram.PHRASES, 2)
            link, own, unlinked = rng.choice([("in", 1, 2), ("at", 2, 1)])
            here, there = rng.sample(range(4), 2)
            fillers = rng.choices(skip_trigram.FILLERS, k=3)
            clean = " ".join([*_with(fillers, here, phrase[0]), link])
            yield PromptPair(
                clean=clean,
                corrupted=" ".join([*_with(fillers, there, other[0]), skip_trigram.NEUTRAL]),
                answers=[phrase[own]],
                wrong_answers=[phrase[unlinked], other[own]],
                template="phrase",
                cluster=clean,
            )


class PlantedFacts(Task):
    """Facts: 'the zorb old its colour' -> red, in a model made by hand."""

    name = "planted-facts"
    metric = LogitDifference()

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield questions; the corrupted one asks for the other attribute of another subject."""
        while True:
            fact, other = rng.sample(facts.FACTS, 2)
            relation, own = rng.choice([("colour", 1), ("land", 2)])
            asked_instead = "land" if relation == "colour" else "colour"
            if fact[own] == other[own]:
                continue
            here, there = rng.sample(range(5), 2)
            fillers = rng.choices(facts.FILLERS, k=4)
            clean = " ".join([*_with(fillers, here, fact[0]), relation])
            yield PromptPair(
                clean=clean,
                corrupted=" ".join([*_with(fillers, there, other[0]), asked_instead]),
                answers=[fact[own]],
                wrong_answers=[other[own], fact[3 - own]],
                template="question",
                cluster=clean,
            )


class PlantedComparison(Task):
    """Two numbers: '4 2 vs 3 9 ?' -> larger, in a model made by hand."""

    name = "planted-comparison"
    metric = LogitDifference()
    prefixes: tuple[str, ...] = ("",)

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield numbers, half of them with equal tens; the corrupted ones compare the other way."""
        while True:
            has_equal_tens = rng.random() < 0.5
            clean, corrupted = _numbers(rng, has_equal_tens), _numbers(rng, has_equal_tens)
            if (clean[0] > clean[1]) == (corrupted[0] > corrupted[1]):
                continue
            answers = ["larger", "smaller"] if clean[0] > clean[1] else ["smaller", "larger"]
            prefix = rng.choice(self.prefixes)
            yield PromptPair(
                clean=prefix + _question(*clean),
                corrupted=prefix + _question(*corrupted),
                answers=answers[:1],
                wrong_answers=answers[1:],
                template=prefix.strip() or "bare",
                cluster=_question(*clean),
            )


class PlantedShiftedComparison(PlantedComparison):
    """Two numbers in two layouts: 'so 4 2 vs 3 9 ?' -> larger, in a model made by hand."""

    name = "planted-comparison-shifted"
    prefixes = ("", "so ")


def _with(words: list[str], place: int, word: str) -> list[str]:
    return [*words[:place], word, *words[place:]]


def _numbers(rng: random.Random, has_equal_tens: bool) -> tuple[int, int]:
    while True:
        first, second = rng.randrange(100), rng.randrange(100)
        if first != second and (first // 10 == second // 10) == has_equal_tens:
            return first, second


def _question(first: int, second: int) -> str:
    return f"{first // 10} {first % 10} vs {second // 10} {second % 10} ?"
