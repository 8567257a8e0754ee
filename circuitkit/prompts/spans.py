"""Roles: from spans of a prompt, as they are given, to spans of its tokens."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass

from circuitkit.errors import PromptError
from circuitkit.prompts.encoding import EncodedText, shown
from circuitkit.prompts.messages import CONTENT
from circuitkit.prompts.pairs import MessageSpan, Prompt, Span

IN_PROMPT = (
    "(start, end), in characters for text and in tokens for token ids; (message, start, end), in "
    "characters of its content, for messages"
)


@dataclass(frozen=True)
class Role:
    """A role as it was given, and whose prompt it is of: the clean one, say."""

    name: str
    span: Span | MessageSpan
    prompt: Prompt
    side: str

    def refused(self, rule: str, why: str) -> PromptError:
        """Return the error of a role that breaks a rule."""
        return PromptError(f"prompt {shown(self.prompt)}: role {self.name!r} must {rule}. {why}")


def token_roles(
    prompt: Prompt,
    roles: Mapping[str, Span | MessageSpan],
    encoded: EncodedText,
    side: str = "clean",
) -> dict[str, Span]:
    """Return the tokens of each role: those given, and those that messages have by themselves.

    A token that the span touches belongs to it.

    Raises:
        PromptError: a span is none, lies outside the prompt, or covers no token.
    """
    found = {}
    for name, span in roles.items():
        role = Role(name, span, prompt, side)
        tokens = _touched(_within(role, encoded), encoded)
        if tokens is None:
            raise role.refused(
                f"cover a token, got the span {shown(span)}",
                f"Spans are {IN_PROMPT}. Correct the span.",
            )
        found[name] = tokens
    by_itself = {} if encoded.chat is None else encoded.chat.roles
    for name, own in by_itself.items():
        tokens = _touched(own, encoded)
        if tokens is not None:
            found.setdefault(name, tokens)
    return found


def _touched(span: Span, encoded: EncodedText) -> Span | None:
    start, end = span
    touched = [place for place, (s, e) in enumerate(encoded.offsets) if s < end and e > start]
    return (touched[0], touched[-1] + 1) if touched else None


def _within(role: Role, encoded: EncodedText) -> Span:
    """Return the span in what was encoded: of messages, in the rendered text."""
    edges = _edges(role, 2 if encoded.chat is None else 3)
    if encoded.chat is None:
        start, end = edges
        before, length, place = 0, len(role.prompt), f"lie in the {role.side} prompt"
    else:
        message, start, end = edges
        if not 0 <= message < len(role.prompt):
            raise role.refused(
                f"lie in one of the {len(role.prompt)} messages of the {role.side} prompt, got "
                f"the message {message}",
                "It names tokens. Count from 0.",
            )
        before = encoded.chat.contents[message][0]
        length = len(role.prompt[message][CONTENT])  # type: ignore[index]
        place = f"lie in message {message} of the {role.side} prompt"
    if not 0 <= start < end <= length:
        raise role.refused(
            f"{place}, of length {length}, got the span {shown(role.span)}",
            f"It names tokens: {IN_PROMPT}. Correct the span.",
        )
    return before + start, before + end


def _edges(role: Role, n: int) -> list[int]:
    try:
        edges = [operator.index(edge) for edge in role.span]
    except TypeError as error:
        raise _no_span(role, n) from error
    if len(edges) != n:
        raise _no_span(role, n)
    return edges


def _no_span(role: Role, n: int) -> PromptError:
    form = "(start, end)" if n == 2 else "(message, start, end)"
    return role.refused(
        f"be a span {form} of whole numbers, got {shown(role.span)}",
        "It names tokens. Correct the span.",
    )
