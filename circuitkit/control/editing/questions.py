"""What a model is asked before and after an edit, made of the pairs that a task draws.

    paraphrases   the same fact in other wordings: the fact's subject and cluster
    neighbours    the wordings of the fact, about other subjects
    others        other facts about the subject

Each asks for its own true answer against the edit's target.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from circuitkit.control.editing.facts import Fact
from circuitkit.errors import PromptError
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import PairSource
from circuitkit.prompts.task_code import drawn_pairs
from circuitkit.work.text import shown

N_DRAWN = 20_000  # pairs, of which the different ones are asked
MOST = 60  # questions of a kind
EXAMPLES = 3  # of prompts that a message shows


@dataclass(frozen=True)
class Questions:
    """A fact to be edited, and what else is asked. `pairs` ask for the fact against another."""

    fact: Fact
    paraphrases: tuple[Fact, ...]
    neighbours: tuple[Fact, ...]
    others: tuple[Fact, ...]
    pairs: tuple[PromptPair, ...]


def drawn_facts(
    task: PairSource, role: str = "subject", *, seed: int = 0
) -> tuple[PromptPair, ...]:
    """Return different pairs of a task, each of text with the role and one place of answers.

    Raises:
        PromptError: a pair lacks the role, or is not text.
    """
    rng = random.Random(seed)
    drawn = islice(drawn_pairs(task.name, lambda: task.pairs(rng)), N_DRAWN)
    found = {pair.contents()[0]: pair for pair in drawn}
    for pair in found.values():
        if not isinstance(pair.clean, str) or role not in pair.roles:
            raise PromptError(
                f"edit of task {task.name!r}: every pair must be text with the role {role!r}, got "
                f"{sorted(pair.roles)} for {shown(pair.clean)}. The edit is made at the subject's "
                "last token. Name the role of the subject with --subject, or use factual-recall."
            )
    return tuple(found.values())


def questions_for(
    pairs: Sequence[PromptPair], prompt: str, target: str, *, role: str = "subject", seed: int = 0
) -> Questions:
    """Return what is asked about an edit that makes `prompt` go on with `target`.

    Raises:
        PromptError: no pair has this prompt.
        AnswerError: the target is the true answer.
    """
    own = next((pair for pair in pairs if pair.clean == prompt), None)
    if own is None:
        some = ", ".join(shown(pair.clean) for pair in pairs[:EXAMPLES])
        raise PromptError(
            f"fact {shown(prompt)}: must be a prompt of the task, got another. Its subject, its "
            f"answer and its paraphrases are the task's. Use one of its prompts, as {some}."
        )
    true = str(own.answers[0])
    target = f" {target}" if true.startswith(" ") and not target.startswith(" ") else target
    fact = asked(own, target, role)
    same = [pair for pair in pairs if subject_of_pair(pair, role) == subject_of_pair(own, role)]
    wordings = [pair for pair in same if _which(pair) == _which(own)]
    templates = {pair.template for pair in wordings}
    near = [pair for pair in pairs if pair.template in templates and pair not in same]
    rng = random.Random(seed)

    def some_of(chosen: Sequence[PromptPair]) -> tuple[Fact, ...]:
        chosen = [pair for pair in chosen if pair is not own and pair.answers[0] != target]
        chosen = chosen if len(chosen) <= MOST else rng.sample(chosen, MOST)
        return tuple(asked(pair, target, role) for pair in chosen)

    others = [pair for pair in same if _which(pair) != _which(own)]
    return Questions(fact, some_of(wordings), some_of(near), some_of(others), tuple(wordings))


def asked(pair: PromptPair, target: str, role: str) -> Fact:
    """Return the fact that a pair asks for, with another answer as the target."""
    assert isinstance(pair.clean, str)
    start, end = pair.roles[role][:2]
    return Fact(pair.clean, (start, end), target, str(pair.answers[0]))


def subject_of_pair(pair: PromptPair, role: str) -> str:
    """Return the words of the role."""
    start, end = pair.roles[role][:2]
    return str(pair.clean[start:end])


def _which(pair: PromptPair) -> object:
    """Return which fact a pair asks for: its cluster, or its answers where it names none."""
    return pair.cluster or tuple(pair.answers)
