"""What the planted models do, which is known, and for each an algorithm that it does not follow.

All give the right answer on every prompt. The wrong ones differ in what is carried where: a place
instead of a word, an answer where only its subject is, a whole number where only its tens are.
"""

from collections.abc import Mapping
from typing import ClassVar

from circuitkit.abstraction.hypothesis import Hypothesis, ReadPrompt, variable
from circuitkit.prompts.pairs import Span
from circuitkit.zoo.planted import facts, planted, skip_trigram

BEFORE_LAST = -1
FIRST_NAME, SECOND_NAME, REPEATED = 1, 3, 5  # places of words in planted-ioi
TENS_AND_ONES = {"first": (1, 2), "second": (4, 5)}


class PlantedHypothesis(Hypothesis):
    """A hypothesis whose alignment names the roles of a blueprint, as `{mover}<q> at END`."""

    roles: ClassVar[Mapping[str, str]] = {}

    def aligned(self, model: str) -> Mapping[str, str]:
        """Return where each variable is: the heads stand in other slots for each seed."""
        components = planted(model if model.startswith("planted-") else self.task).components
        return {name: text.format_map(components) for name, text in self.roles.items()}


def _one(found: list[str]) -> str | None:
    return found[0] if len(found) == 1 else None


class InductionByWord(PlantedHypothesis):
    """Look for the last word among the words before each place, and copy the word there."""

    name, task = "planted-induction", "planted-induction"
    roles = {"before": "{previous} at all", "sought": "{mover}<q> at END"}

    @variable
    def before(self, prompt: ReadPrompt) -> tuple[str, ...]:
        """The word before each place."""
        return ("", *prompt.words[:-1])

    @variable
    def sought(self, prompt: ReadPrompt) -> str:
        """The last word."""
        return prompt.words[-1]

    def answer(self, prompt: ReadPrompt, before: tuple[str, ...], sought: str) -> str | None:
        """Return the one word behind the sought one."""
        pairs = zip(prompt.words, before, strict=True)
        return _one([word for word, earlier in pairs if earlier == sought])


class InductionByPlace(PlantedHypothesis):
    """Wrong: find the place where the last word stood, carry the place, copy what is behind it."""

    name, task = "planted-induction-by-place", "planted-induction"
    roles = {"place": "{mover}<q> at END"}
    offset = 1

    @variable
    def place(self, prompt: ReadPrompt) -> int:
        """The earlier place of the last word."""
        return prompt.words.index(prompt.words[-1])

    def answer(self, prompt: ReadPrompt, place: int) -> str:
        """Return the word beside that place."""
        return prompt.words[place + self.offset]


class PredecessorByWord(PlantedHypothesis):
    """Look for the last word itself, and copy what was noted there: the word before it."""

    name, task = "planted-predecessor", "planted-predecessor"
    roles = {"before": "{previous} at all", "sought": "{mover}<q> at END"}

    @variable
    def before(self, prompt: ReadPrompt) -> tuple[str, ...]:
        """The word before each place."""
        return ("", *prompt.words[:-1])

    @variable
    def sought(self, prompt: ReadPrompt) -> str:
        """The last word."""
        return prompt.words[-1]

    def answer(self, prompt: ReadPrompt, before: tuple[str, ...], sought: str) -> str | None:
        """Return the word noted at the one earlier place of the sought word."""
        pairs = list(zip(prompt.words, before, strict=True))[:BEFORE_LAST]
        found = _one([earlier for word, earlier in pairs if word == sought])
        return None if found == prompt.words[0] else found  # what begins the list is no answer


class PredecessorByPlace(InductionByPlace):
    """Wrong: find the place where the last word stood, carry the place, copy what is before it."""

    name, task = "planted-predecessor-by-place", "planted-predecessor"
    offset = -1


class PlantedIOIByName(PlantedHypothesis):
    """Note the name that is said again, tell the last word of it, and copy the other name."""

    name, task = "planted-ioi", "planted-ioi"
    roles = {"repeated": "{duplicate} at S2", "inhibited": "{inhibitor} at END"}

    def places(self, prompt: ReadPrompt) -> Mapping[str, Span]:
        """Return where the name is said again."""
        return {"S2": (REPEATED, REPEATED + 1)}

    @variable
    def repeated(self, prompt: ReadPrompt) -> str:
        """The name that is said again."""
        return prompt["S2"]

    @variable
    def inhibited(self, repeated: str) -> str:
        """The name that must not be copied."""
        return repeated

    def answer(self, prompt: ReadPrompt, inhibited: str) -> str | None:
        """Return the other one of the two names."""
        both = {prompt.words[FIRST_NAME], prompt.words[SECOND_NAME]}
        return _one(sorted(both - {inhibited})) if inhibited in both else None


class PlantedIOIByPlace(PlantedIOIByName):
    """Wrong: note whether the first or the second name is said again, and copy from the other."""

    name = "planted-ioi-by-place"

    @variable
    def repeated(self, prompt: ReadPrompt) -> str:
        """Which of the names is said again."""
        return "first" if prompt["S2"] == prompt.words[FIRST_NAME] else "second"

    def answer(self, prompt: ReadPrompt, inhibited: str) -> str | None:
        """Return the name at the other place."""
        return prompt.words[SECOND_NAME if inhibited == "first" else FIRST_NAME]


class SkipTrigramByVerb(PlantedHypothesis):
    """Bring the verb to the last word, and choose among its words by the last word itself."""

    name, task = "planted-skip-trigram", "planted-skip-trigram"
    roles = {"verb": "{mover} at END"}
    words: ClassVar = {verb: own for verb, *own in skip_trigram.PHRASES}

    @variable
    def verb(self, prompt: ReadPrompt) -> str:
        """The verb of the phrase."""
        return next(word for word in prompt.words if word in self.words)

    def answer(self, prompt: ReadPrompt, verb: str) -> str:
        """Return the word of the phrase with this link."""
        return str(self.words[verb][skip_trigram.LINKS.index(prompt["END"])])


class SkipTrigramByAnswer(SkipTrigramByVerb):
    """Wrong: bring the word that completes the phrase, chosen on the way."""

    name = "planted-skip-trigram-by-answer"
    roles = {"completion": "{mover} at END"}
    verb = None  # type: ignore[assignment]

    @variable
    def completion(self, prompt: ReadPrompt) -> str:
        """The word that completes the phrase."""
        verb = next(word for word in prompt.words if word in self.words)
        return super().answer(prompt, verb)

    def answer(self, completion: str) -> str:  # type: ignore[override]
        """Return that word."""
        return completion


class PlantedFactsByParts(PlantedHypothesis):
    """Recall all that is known of the subject where it stands; the last word asks for one of it."""

    name, task = "planted-facts", "planted-facts"
    roles = {"subject": "{memory} at subject", "relation": "{colour}<q> + {land}<q> at END"}
    known: ClassVar = {
        subject: dict(zip(facts.RELATIONS, own, strict=True)) for subject, *own in facts.FACTS
    }

    def places(self, prompt: ReadPrompt) -> Mapping[str, Span]:
        """Return where the subject stands."""
        at = next(i for i, word in enumerate(prompt.words) if word in self.known)
        return {"subject": (at, at + 1)}

    @variable
    def subject(self, prompt: ReadPrompt) -> str:
        """What is asked about."""
        return prompt["subject"]

    @variable
    def relation(self, prompt: ReadPrompt) -> str:
        """What is asked of it."""
        return prompt["END"]

    def answer(self, subject: str, relation: str) -> str:
        """Return what is known."""
        return str(self.known[subject][relation])


class PlantedFactsAtSubject(PlantedFactsByParts):
    """Wrong: recall the one fact that is asked for where the subject stands."""

    name = "planted-facts-at-subject"
    roles = {"fact": "{memory} at subject"}
    subject = relation = None  # type: ignore[assignment]

    @variable
    def fact(self, prompt: ReadPrompt) -> str:
        """The fact that is asked for."""
        return str(self.known[prompt["subject"]][prompt["END"]])

    def answer(self, fact: str) -> str:  # type: ignore[override]
        """Return it."""
        return fact


class ComparisonByDigits(PlantedHypothesis):
    """Bring four digits to the last word, compare tens and ones; ones decide where tens are equal.

    One of the digits is exchanged at a time, and the two signs together.
    """

    name, task = "planted-comparison", "planted-comparison"
    roles = {
        "first_tens": "{first_tens} at END",
        "first_ones": "{first_ones} at END",
        "second_tens": "{second_tens} at END",
        "second_ones": "{second_ones} at END",
        "signs": "{digits} at END",
    }

    @variable
    def first_tens(self, prompt: ReadPrompt) -> int:
        """The tens of the first number."""
        return int(prompt.words[TENS_AND_ONES["first"][0]])

    @variable
    def first_ones(self, prompt: ReadPrompt) -> int:
        """The ones of the first number."""
        return int(prompt.words[TENS_AND_ONES["first"][1]])

    @variable
    def second_tens(self, prompt: ReadPrompt) -> int:
        """The tens of the second number."""
        return int(prompt.words[TENS_AND_ONES["second"][0]])

    @variable
    def second_ones(self, prompt: ReadPrompt) -> int:
        """The ones of the second number."""
        return int(prompt.words[TENS_AND_ONES["second"][1]])

    @variable
    def signs(
        self, first_tens: int, first_ones: int, second_tens: int, second_ones: int
    ) -> tuple[int, int]:
        """Which number has the larger tens, and which the larger ones: 1, -1, or 0 for neither."""
        tens, ones = first_tens - second_tens, first_ones - second_ones
        return (tens > 0) - (tens < 0), (ones > 0) - (ones < 0)

    def answer(self, signs: tuple[int, int]) -> str | None:
        """Return whether the first number is the larger one; nothing where they are equal."""
        sign = signs[0] or signs[1]
        return None if sign == 0 else ("larger" if sign > 0 else "smaller")


class ComparisonByNumbers(PlantedHypothesis):
    """Wrong: bring each number whole, by the head that brings its tens."""

    name, task = "planted-comparison-by-numbers", "planted-comparison"
    roles = {"first": "{first_tens} at END", "second": "{second_tens} at END"}

    @variable
    def first(self, prompt: ReadPrompt) -> int:
        """The first number."""
        return int("".join(prompt.words[i] for i in TENS_AND_ONES["first"]))

    @variable
    def second(self, prompt: ReadPrompt) -> int:
        """The second number."""
        return int("".join(prompt.words[i] for i in TENS_AND_ONES["second"]))

    def answer(self, first: int, second: int) -> str | None:
        """Return whether the first number is the larger one."""
        return None if first == second else ("larger" if first > second else "smaller")


RIGHT: tuple[type[Hypothesis], ...] = (
    InductionByWord,
    PredecessorByWord,
    PlantedIOIByName,
    SkipTrigramByVerb,
    PlantedFactsByParts,
    ComparisonByDigits,
)
WRONG: tuple[type[Hypothesis], ...] = (
    InductionByPlace,
    PredecessorByPlace,
    PlantedIOIByPlace,
    SkipTrigramByAnswer,
    PlantedFactsAtSubject,
    ComparisonByNumbers,
)
