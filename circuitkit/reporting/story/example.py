"""The prompt that a story is told with: its tokens, their roles, and what the model should say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from circuitkit.prompts.pairs import END
from circuitkit.reporting.values import visible
from circuitkit.study.records import RunRecord

ORDINALS = ("first", "second", "third", "fourth")
TIMES = ("never", "once", "twice", "three times", "four times")
MOST_LETTERS = 160  # of a prompt that is quoted


@dataclass(frozen=True)
class Example:
    """One prompt as plain text. `labels` are empty where no roles are known.

    `counts` is how often the answer and the wrong answer stand in every prompt that is known, none
    where that differs from prompt to prompt.
    """

    text: str
    tokens: tuple[str, ...]
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    wrong: tuple[str, ...]
    counts: tuple[int, int] | None = None

    @property
    def answer(self) -> str:
        """The right answer in quotes, or what right answers are called."""
        return quoted(self.answers[0]) if len(self.answers) == 1 else "the right answers"

    @property
    def wrong_answer(self) -> str:
        """The wrong answer in quotes, or what wrong answers are called."""
        return quoted(self.wrong[0]) if len(self.wrong) == 1 else "the wrong ones"

    def token_at(self, label: str) -> str:
        """Return the token with a role in quotes, with its ordinal where it stands before too."""
        if not label or label not in self.labels:
            return ""
        at = self.labels.index(label)
        same = [n for n, token in enumerate(self.tokens) if token == self.tokens[at]]
        nth = same.index(at)
        which = f"the {ORDINALS[nth]} " if 0 < nth < len(ORDINALS) else ""
        return f"{which}{quoted(self.tokens[at])}"

    def heading(self, label: str) -> str:
        """Return what stands above a column: the token, with its ordinal but for the last."""
        if label == END and self.tokens:
            return quoted(self.tokens[self.labels.index(END)] if END in self.labels else "")
        return self.token_at(label)

    def place(self, label: str) -> str:
        """Return where something happens: `at the end`, `at the second “Linda” (S2)`."""
        if label == END:
            return "at the end"
        token = self.token_at(label)
        return f"at {token} ({label})" if token else f"at {label}"

    def counted(self) -> str:
        """Return how often both answers stand in the prompt, where that tells them apart."""
        if self.counts is None or self.counts[0] == self.counts[1] or 0 in self.counts:
            return ""
        once, other = (TIMES[n] if n < len(TIMES) else f"{n} times" for n in self.counts)
        return f"{self.answer} stands {once} in the prompt and {self.wrong_answer} {other}"


def example_of(record: RunRecord) -> Example | None:
    """Return the first prompt that was looked at closely, or the first sample; none without one."""
    found, samples = record.interpretation, record.validation.samples
    if found is not None and found.prompts:
        view = found.prompts[0]
        tokens = tuple(map(_plain, view.tokens))
        counts = {_counts(each.tokens, each.answers, each.wrong_answers) for each in found.prompts}
        return Example(
            _shortened(samples[0].clean if samples else "".join(view.tokens[1:])),
            tokens,
            view.labels,
            tuple(map(_plain, view.answers)),
            tuple(map(_plain, view.wrong_answers)),
            counts.pop() if len(counts) == 1 else None,
        )
    if not samples:
        return None
    first = samples[0]
    answers, wrong = (tuple(map(_plain, each)) for each in (first.answers, first.wrong_answers))
    return Example(_shortened(first.clean), (), (), answers, wrong)


def quoted(token: str) -> str:
    """Return a token in quotes."""
    return f"“{token}”"


def listed(names: Sequence[str]) -> str:
    """Return names in one phrase: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _plain(token: str) -> str:
    return visible(token.strip()) or visible(token)


def _shortened(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return shown if len(shown) <= MOST_LETTERS else "… " + shown[-MOST_LETTERS:]


def _counts(
    tokens: Iterable[str], answers: Sequence[str], wrong: Sequence[str]
) -> tuple[int, int] | None:
    if len(answers) != 1 or len(wrong) != 1:
        return None
    plain = [token.strip() for token in tokens]
    return plain.count(answers[0].strip()), plain.count(wrong[0].strip())
