"""Prompts as hypotheses read them, and the check that a hypothesis gives the right answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from circuitkit.abstraction.hypothesis import Algorithm, ReadPrompt, Value, hypothesis_code
from circuitkit.errors import HypothesisError
from circuitkit.model import SubjectModel
from circuitkit.prompts.encoding import answer_ids
from circuitkit.prompts.pairs import PromptPairs, Span
from circuitkit.work.text import shown

WHOLE = "all"  # the role of all tokens of a prompt


@dataclass(frozen=True)
class Readings:
    """The clean prompts of some pairs, read by a hypothesis.

    `spans` are the roles of each prompt in columns of the padded tensors, those that the hypothesis
    adds too. `values` are those of its variables, `answers` the tokens that it answers with.
    """

    algorithm: Algorithm
    model: SubjectModel
    pairs: PromptPairs
    prompts: tuple[ReadPrompt, ...]
    spans: tuple[Mapping[str, Span], ...]
    values: tuple[Mapping[str, Value], ...]
    answers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    @cached_property
    def candidates(self) -> Int[Tensor, " token"]:
        """The tokens that are a right or a wrong answer of some prompt."""
        both = self.pairs.labels.answers, self.pairs.labels.wrong_answers
        found: Tensor = torch.cat([x.flatten() for x in both]).unique()
        return found[found >= 0]

    @cached_property
    def space(self) -> str:
        """What stands before an answer: a space, where every label begins with one."""
        texts = [a for pair in self.pairs.pairs for a in pair.answers if isinstance(a, str)]
        return " " if texts and all(text.startswith(" ") for text in texts) else ""

    def token_of(self, answer: str) -> int:
        """Return the token of an answer.

        Raises:
            HypothesisError: it is not one token.
        """
        if answer in self._tokens:
            return self._tokens[answer]
        ids = answer_ids(self.space + answer.strip(), self.model.tokenizer)
        if len(ids) != 1:
            raise HypothesisError(
                f"hypothesis {shown(self.algorithm.hypothesis.name)}: an answer must be one token, "
                f"got {len(ids)} for {shown(answer)}. The model is asked for its likeliest next "
                "token. Use a task whose answers are single tokens."
            )
        self._tokens[answer] = ids[0]
        return ids[0]

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {}

    def intervened(self, row: int, name: str, value: Value) -> int | None:
        """Return the token answered on a prompt with a variable set to `value`; None: nothing."""
        answer = self.algorithm.answer(self.prompts[row], {name: value})
        return None if answer is None else self.token_of(answer)

    def select(self, rows: Sequence[int]) -> "Readings":
        """Return the readings of some prompts."""

        def part(column: Sequence[object]) -> tuple[object, ...]:
            return tuple(column[row] for row in rows)

        columns = map(part, (self.prompts, self.spans, self.values, self.answers))
        return Readings(self.algorithm, self.model, self.pairs.select(rows), *columns)  # type: ignore[arg-type]


def read_prompts_with(algorithm: Algorithm, model: SubjectModel, pairs: PromptPairs) -> Readings:
    """Return the clean prompts of some pairs, read by a hypothesis that gives the right answers.

    Raises:
        HypothesisError: its answer on some prompt is none of the right ones, its code raises, or
            the prompts are none that it could read.
    """
    _require_words(model, pairs)
    prompts, spans = [], []
    for row in range(len(pairs)):
        prompt, own = _prompt_of(algorithm, model, pairs, row)
        prompts.append(prompt)
        spans.append(own)
    values = tuple(algorithm.values(prompt) for prompt in prompts)
    read = Readings(algorithm, model, pairs, tuple(prompts), tuple(spans), values, ())
    answers = tuple(_right_answer(read, row) for row in range(len(pairs)))
    return Readings(algorithm, model, pairs, tuple(prompts), tuple(spans), values, answers)


def _require_words(model: SubjectModel, pairs: PromptPairs) -> None:
    if model.tokenizer is None or pairs.labels.spelled is not None:
        got = "a model without tokenizer" if model.tokenizer is None else "longer or several"
        raise HypothesisError(
            f"hypothesis: prompts must be text, and answers one token at one place, got {got}. It "
            "reads words, and is compared with the likeliest next token. Use another task or model."
        )


def _prompt_of(
    algorithm: Algorithm, model: SubjectModel, pairs: PromptPairs, row: int
) -> tuple[ReadPrompt, dict[str, Span]]:
    """Return a prompt as it is read, and its roles as columns."""
    assert model.tokenizer is not None, "checked before"
    real = pairs.mask[row]
    first = int(real.long().argmax())
    ids = pairs.clean[row][real].tolist()
    words = tuple(str(model.tokenizer.decode([token])).strip() for token in ids)
    roles = {name: (a - first, b - first) for name, (a, b) in pairs.roles[row].items()}
    prompt = ReadPrompt(words, roles, pairs.templates[row])
    hypothesis = algorithm.hypothesis
    with hypothesis_code(hypothesis, "`places`"):
        added = {name: (int(a), int(b)) for name, (a, b) in hypothesis.places(prompt).items()}
    for name, (a, b) in added.items():
        if not 0 <= a < b <= len(words):
            raise HypothesisError(
                f"hypothesis {shown(hypothesis.name)}: the role {name!r} of `places` must be a "
                f"span of the {len(words)} words, got {(a, b)}. Values are patched there. "
                "Correct it."
            )
    prompt = ReadPrompt(words, {**roles, **added}, pairs.templates[row])
    columns = {name: (a + first, b + first) for name, (a, b) in prompt.roles.items()}
    return prompt, {WHOLE: (first, first + len(words)), **columns}


def _right_answer(read: Readings, row: int) -> int:
    answer = read.algorithm.answer(read.prompts[row])
    right = [token for token in read.pairs.labels.answers[row].tolist() if token >= 0]
    found = None if answer is None else read.token_of(answer)
    if found is None or found not in right:
        labels = ", ".join(str(a).strip() for a in read.pairs.pairs[row].answers[:5])
        raise HypothesisError(
            f"hypothesis {shown(read.algorithm.hypothesis.name)}: must give a right answer on "
            f"every prompt, got {shown(answer)} on prompt {row + 1}, "
            f"{shown(' '.join(read.prompts[row].words), 120)}, where {shown(labels)} is right. An "
            "algorithm that does not do the task cannot be the model's. Correct the class."
        )
    return found
