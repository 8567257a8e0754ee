"""The questions that a verdict answers, in the order in which they are asked.

Every criterion answers one. A question is refuted if any of its checks is, supported if all that
have a bound are, undecided else, and not asked where none has a bound. Checks that are one
measurement in several dresses (`Finding.same_as`) are named as such, and count once.

Multiplicity. "Supported" asks all of them: a circuit that fails one question passes all with at
most the level of that one, 5 %, without any correction (intersection-union test: Berger 1982,
Technometrics 24:295). "Refuted" asks one of them: of m measurements, each wrong in at most 2.5 %,
one is in at most m x 2.5 %. So a refutation by one check alone, close to its bound, is weak.
"""

from dataclasses import dataclass

from circuitkit import glossary


@dataclass(frozen=True)
class Question:
    """A question about a circuit, and how each answer reads in a sentence about it."""

    name: str
    asks: str
    supported: str
    refuted: str
    undecided: str


ABLE = Question(
    "able",
    glossary.QUESTIONS["able"],
    "the model can do the task",
    "the model cannot do the task",
    "it is open whether the model can do the task",
)
ENOUGH = Question(
    "enough",
    glossary.QUESTIONS["enough"],
    "it is enough by itself",
    "it is not enough by itself",
    "it is open whether it is enough by itself",
)
ALL = Question(
    "all",
    glossary.QUESTIONS["all"],
    "nothing that takes over for its parts is missing from it",
    "it lacks what takes over for its parts",
    "it is open whether it lacks what takes over for its parts",
)
NEEDED = Question(
    "needed",
    glossary.QUESTIONS["needed"],
    "its parts are needed",
    "not all of it is needed",
    "it is open whether all of it is needed",
)
LUCK = Question(
    "luck",
    glossary.QUESTIONS["luck"],
    "random circuits do not do as well",
    "it may be luck",
    "it is open whether it is luck",
)
ELSEWHERE = Question(
    "elsewhere",
    glossary.QUESTIONS["elsewhere"],
    "it holds on other prompts than those that found it",
    "it does not hold elsewhere",
    "it is open whether it holds elsewhere",
)
QUESTIONS = {each.name: each for each in (ABLE, ENOUGH, ALL, NEEDED, LUCK, ELSEWHERE)}
