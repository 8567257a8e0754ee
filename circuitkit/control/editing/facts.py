"""A fact to be edited: a prompt, the subject that it names, and what is to follow it.

Prompts are read as all prompts are (prompts/tokenization.py); the key of an edit is read at the
subject's last token, the new answer behind the prompt's last.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from circuitkit.errors import AnswerError, PromptError
from circuitkit.prompts.encoding import answer_ids
from circuitkit.prompts.pairs import PromptPair, PromptPairs, Span
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.work.text import shown

SUBJECT = "subject"  # the role of the subject in what is read
PlainPrompt = str | tuple[int, ...]


@dataclass(frozen=True)
class Fact:
    """What is edited: `prompt` names a subject at the span `subject`, and `target` is to follow.

    Spans count characters of text, or tokens of token ids. `true` is what followed before.
    """

    prompt: PlainPrompt
    subject: Span
    target: str | int
    true: str | int

    def __post_init__(self) -> None:
        """Require a subject within the prompt, and two different answers."""
        start, end = self.subject
        if not 0 <= start < end <= len(self.prompt):
            raise PromptError(
                f"fact {shown(self.prompt)}: the subject must be a span of the prompt, got "
                f"{self.subject} of {len(self.prompt)}. The edit is made at its last token. Name a "
                "subject that the prompt contains."
            )
        if self.target == self.true:
            raise AnswerError(
                f"fact {shown(self.prompt)}: the target must be another answer than the true one, "
                f"got {shown(self.target)} for both. Nothing would be edited. Give another target."
            )

    @property
    def subject_text(self) -> PlainPrompt:
        """The subject alone."""
        return self.prompt[slice(*self.subject)]

    def behind(self, prefix: PlainPrompt) -> "Fact":
        """Return the same fact behind some other text."""
        start, end = self.subject
        whole = prefix + self.prompt  # type: ignore[operator]
        by = len(prefix)
        return Fact(whole, (start + by, end + by), self.target, self.true)


def fact_named(prompt: str, subject: str, target: str, true: str) -> Fact:
    """Return the fact whose subject is a word, or words, of the prompt.

    Raises:
        PromptError: the prompt does not contain the subject.
    """
    start = prompt.rfind(subject) if subject else -1
    if start < 0:
        raise PromptError(
            f"fact {shown(prompt)}: the prompt must contain the subject, got {shown(subject)}. The "
            "edit is made at its last token. Name a subject that the prompt contains."
        )
    return Fact(prompt, (start, start + len(subject)), target, true)


def read_facts(
    facts: Sequence[Fact], tokenizer: PreTrainedTokenizerBase | None, bos: str = "auto"
) -> PromptPairs:
    """Return facts as padded tensors: the target is the right answer, the true one the wrong.

    Raises:
        PromptError: a prompt has a word that the tokenizer does not know.
        AnswerError: a target or a true answer has several tokens.
    """
    for fact in facts:
        for what, answer in (("target", fact.target), ("true answer", fact.true)):
            require_one_token(answer, tokenizer, f"fact {shown(fact.prompt)}: the {what}")
    return tokenize_pairs(
        [
            PromptPair(
                fact.prompt,
                fact.prompt,
                [fact.target],
                [fact.true],
                roles={SUBJECT: fact.subject},
            )
            for fact in facts
        ],
        tokenizer,
        bos=bos,
    )


def require_one_token(
    answer: str | int, tokenizer: PreTrainedTokenizerBase | None, where: str
) -> int:
    """Return the one token of an answer.

    Raises:
        AnswerError: it has several tokens, or none that the tokenizer knows.
    """
    ids = answer_ids(answer, tokenizer)
    if len(ids) != 1:
        raise AnswerError(
            f"{where} must be one token, got {shown(answer)} of {len(ids)}. An edit moves the "
            "probability of one next token. Choose a word that is one token, with its space."
        )
    return ids[0]
