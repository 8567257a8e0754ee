"""Hypotheses: an algorithm as a small class, whose variables can be given other values.

    class ByName(Hypothesis):
        \"""The name that is said twice is the subject; the other one is the answer.\"""

        name, task = "ioi-by-name", "ioi"
        alignment = {"subject": "a3.h0<q> at END"}

        @variable
        def subject(self, prompt):
            return prompt["S2"]

        def answer(self, prompt, subject):
            ...

A variable is a method; what its arguments are called says what it follows from: the prompt, and
other variables. A value None means that the algorithm says nothing there, and so does all that
follows from it. With a variable set to another value, what follows from it is worked out anew:
that is what an interchange intervention compares the model with (Geiger et al. 2021,
arXiv:2106.02997).
"""

import inspect
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from circuitkit.errors import HypothesisError
from circuitkit.prompts.pairs import Span
from circuitkit.work.interrupts import strangers_code
from circuitkit.work.text import error_text, shown

Value = Hashable  # of a variable; None: the algorithm says nothing
Method = TypeVar("Method", bound=Callable[..., Any])
PROMPT, ANSWER = "prompt", "answer"
MARK = "__circuitkit_variable__"


def variable(method: Method) -> Method:
    """Return the method, marked as a variable of its hypothesis."""
    setattr(method, MARK, True)
    return method


@dataclass(frozen=True)
class ReadPrompt:
    """A prompt as a hypothesis reads it: the words of its tokens, and its roles.

    `prompt["S2"]` is the text of a role. `words` are those of every token, the one that begins a
    sequence too. Roles are spans of words, end exclusive.
    """

    words: tuple[str, ...]
    roles: Mapping[str, Span] = field(default_factory=dict)
    template: str = ""

    def __getitem__(self, role: str) -> str:
        """Return the words of a role, with a space between."""
        if role not in self.roles:
            raise HypothesisError(
                f"role {role!r}: must be one of {', '.join(sorted(self.roles)) or '(none)'}, got "
                f"a prompt without it: {shown(' '.join(self.words), 80)}. A variable follows from "
                "it. Use a role that every prompt has."
            )
        return " ".join(self.words[slice(*self.roles[role])])


class Hypothesis:
    """An algorithm: variables (methods marked with `variable`), and the method `answer`.

    `task` is the task that it does. `alignment` says where each variable is in a model, as
    `post 2 at END` (alignment.py).
    """

    name: ClassVar[str] = ""
    task: ClassVar[str] = ""
    alignment: ClassVar[Mapping[str, str]] = {}

    def aligned(self, model: str) -> Mapping[str, str]:
        """Return where each variable is in the model of this name."""
        return self.alignment

    def places(self, prompt: ReadPrompt) -> Mapping[str, Span]:
        """Return further roles of a prompt, as spans of its words."""
        return {}

    @property
    def description(self) -> str:
        """The first line of the class's docstring."""
        return (inspect.getdoc(type(self)) or "").partition("\n")[0]


@dataclass(frozen=True)
class Algorithm:
    """A hypothesis as it is worked out: each variable, and what it follows from, in order."""

    hypothesis: Hypothesis
    follows: Mapping[str, tuple[str, ...]]

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables, each behind all that it follows from."""
        return tuple(name for name in self.follows if name != ANSWER)

    def values(
        self, prompt: ReadPrompt, given: Mapping[str, Value] | None = None
    ) -> dict[str, Value]:
        """Return the value of every variable, and the answer; some may be given.

        Raises:
            HypothesisError: its code raised an error.
        """
        known: dict[str, Value] = dict(given or {})
        for name, needed in self.follows.items():
            if name in known:
                continue
            arguments = {n: prompt if n == PROMPT else known[n] for n in needed}
            known[name] = None
            if all(argument is not None for argument in arguments.values()):
                with hypothesis_code(self.hypothesis, f"`{name}`"):
                    known[name] = getattr(self.hypothesis, name)(**arguments)
                    hash(known[name])
        return known

    def answer(self, prompt: ReadPrompt, given: Mapping[str, Value] | None = None) -> str | None:
        """Return the answer, with some variables set to other values; None: it says nothing.

        Raises:
            HypothesisError: its code raised an error, or returned no text.
        """
        found = self.values(prompt, given)[ANSWER]
        if found is not None and not isinstance(found, str):
            raise HypothesisError(
                f"{_where(self.hypothesis)}: `answer` must return text, or None, got "
                f"{shown(found)}. It is compared with the model's answer. Correct the class."
            )
        return found


def algorithm_of(hypothesis: Hypothesis) -> Algorithm:
    """Return how a hypothesis is worked out.

    Raises:
        HypothesisError: it has no answer or no variables, an argument is none of its variables, or
            variables follow from each other.
    """
    where = _where(hypothesis)
    methods = _methods(hypothesis)
    if ANSWER not in methods or len(methods) < 2:
        missing = "a method `answer`" if ANSWER not in methods else "a method marked `@variable`"
        raise HypothesisError(
            f"{where}: must have {missing}, got {', '.join(methods) or 'none'}. An algorithm is "
            "judged by what its variables do to its answer. Write one."
        )
    follows = {name: _arguments(method) for name, method in methods.items()}
    for name, needed in follows.items():
        unknown = [n for n in needed if n != PROMPT and (n not in methods or n == ANSWER)]
        if unknown:
            raise HypothesisError(
                f"{where}: arguments of `{name}` must be `prompt` or variables, got "
                f"{', '.join(unknown)}. They say what it follows from. Rename them, or mark the "
                "methods with @variable."
            )
    return Algorithm(hypothesis, _in_order(follows, where))


def _methods(hypothesis: Hypothesis) -> dict[str, Callable[..., Any]]:
    """Return the variables in the order in which they are written, then the answer."""
    kind = type(hypothesis)
    found = {
        name: getattr(hypothesis, name)
        for base in reversed(kind.__mro__)
        for name, value in vars(base).items()
        if getattr(value, MARK, False) and getattr(getattr(kind, name, None), MARK, False)
    }
    if callable(getattr(hypothesis, ANSWER, None)):
        found[ANSWER] = getattr(hypothesis, ANSWER)
    return found


def _arguments(method: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(method).parameters)


def _in_order(follows: Mapping[str, tuple[str, ...]], where: str) -> dict[str, tuple[str, ...]]:
    """Return the methods so that each comes behind what it follows from."""
    ordered: dict[str, tuple[str, ...]] = {}
    left = dict(follows)
    while left:
        ready = [n for n, needed in left.items() if set(needed) <= {PROMPT, *ordered}]
        if not ready:
            raise HypothesisError(
                f"{where}: no variable may follow from itself, got {', '.join(left)} in a ring. "
                "None of them could be worked out. Break the ring."
            )
        ordered[ready[0]] = left.pop(ready[0])
    return ordered


def _where(hypothesis: Hypothesis) -> str:
    return f"hypothesis {shown(hypothesis.name or type(hypothesis).__name__)}"


def own_alignment(hypothesis: Hypothesis, model: str) -> dict[str, str]:
    """Return where a hypothesis says that its variables are in the model of a name.

    Raises:
        HypothesisError: its code raised an error, or returned no texts by name.
    """
    with hypothesis_code(hypothesis, "`aligned`"):
        found = dict(hypothesis.aligned(model))
    for name, place in found.items():
        if not isinstance(name, str) or not isinstance(place, str):
            raise HypothesisError(
                f"{_where(hypothesis)}: an alignment must name places as text, got "
                f"{shown(place)} for {shown(name)}. It says where a variable is. Write it as "
                "'post 2 at END'."
            )
    return found


def hypothesis_code(hypothesis: Hypothesis, what: str) -> AbstractContextManager[None]:
    """Run code of a hypothesis in the block, which is a stranger's.

    Raises:
        HypothesisError: the code raised anything but an error of circuitkit. Ctrl-C passes.
    """
    return strangers_code(
        lambda error: HypothesisError(
            f"{_where(hypothesis)}: {what} must work without error, got {error_text(error)}. "
            "Without it there is nothing to compare the model with. Correct the class."
        )
    )
