"""Messages as a prompt: what they may hold, and filling their slots."""

from collections.abc import Mapping, Sequence
from typing import TypeGuard

from circuitkit.errors import PromptError
from circuitkit.prompts.pairs import Message, MessageSpan, fill
from circuitkit.work.text import is_safe, is_unicode, shown

ROLE, CONTENT = "role", "content"
USER, ASSISTANT = "user", "assistant"
MAX_MESSAGES = 1_000
EXAMPLE = '[{"role": "user", "content": "..."}]'


def is_chat(prompt: object) -> TypeGuard[Sequence[Message]]:
    """Return whether a prompt is meant as messages: a list that holds an object."""
    if not isinstance(prompt, Sequence) or isinstance(prompt, str | bytes):
        return False
    return any(isinstance(part, Mapping) for part in prompt[:MAX_MESSAGES])


def fill_chat(
    messages: Sequence[Message], **words: str
) -> tuple[list[dict[str, str]], dict[str, MessageSpan]]:
    """Return messages with the `{slots}` of their contents filled, and the span of each slot.

    >>> fill_chat([{"role": "user", "content": "Where is {city}?"}], city="Paris")
    ([{'role': 'user', 'content': 'Where is Paris?'}], {'city': (0, 9, 14)})
    """
    filled: list[dict[str, str]] = []
    spans: dict[str, MessageSpan] = {}
    for place, message in enumerate(messages):
        content, found = fill(message[CONTENT], **words)
        filled.append({**message, CONTENT: content})
        spans |= {name: (place, start, end) for name, (start, end) in found.items()}
    return filled, spans


def require_messages(messages: Sequence[object], where: str) -> None:
    """Refuse what is no list of messages.

    Raises:
        PromptError: it is none.
    """
    if len(messages) > MAX_MESSAGES:
        raise PromptError(
            f"{where}: must hold at most {MAX_MESSAGES} messages, got {len(messages)}. No model "
            "reads that much at once. Shorten it."
        )
    for place, message in enumerate(messages):
        if not (isinstance(message, Mapping) and message.keys() == {ROLE, CONTENT}):
            raise PromptError(
                f"{where}: message {place} must hold role and content alone, got "
                f"{shown(message)}. It is what the chat template reads. Write it as {EXAMPLE}."
            )
        who, content = message[ROLE], message[CONTENT]
        if not (isinstance(who, str) and who and is_safe(who)):
            raise PromptError(
                f"{where}: the role of message {place} must be text without control characters, "
                f"got {shown(who)}. It says who speaks. Write it as {EXAMPLE}."
            )
        if not (isinstance(content, str) and content and is_unicode(content)):
            raise PromptError(
                f"{where}: the content of message {place} must be text, and not empty, got "
                f"{shown(content)}. It is what is said. Fill it, or leave the message out."
            )
