"""What a prompt pair may hold. Files and tasks pass through here before any long work.

A text that no file or terminal can hold would be noticed only when the report is drawn.
"""

from collections.abc import Collection, Mapping, Set
from dataclasses import fields
from operator import index
from typing import Any, TypeGuard

from circuitkit.errors import PromptError
from circuitkit.prompts.messages import CONTENT, EXAMPLE, is_chat, require_messages
from circuitkit.prompts.pairs import PromptPair
from circuitkit.work.text import is_safe, is_unicode, shown

MAX_ID = 2**63 - 1  # what a tensor of token ids can hold
MAX_LENGTH = 100_000  # of a prompt: tokenising more takes seconds, and no model runs on it
FIELDS = tuple(field.name for field in fields(PromptPair))


def require_pair(value: object, where: str) -> PromptPair:
    """Return `value` if it is a prompt pair whose every part is of the right kind.

    Raises:
        PromptError: it is not.
    """
    if not isinstance(value, PromptPair):
        raise PromptError(
            f"{where}: must be a PromptPair, got {shown(value)}. It holds the two prompts that are "
            "compared. Write PromptPair(clean=..., corrupted=..., answers=[...])."
        )
    require_fields({name: getattr(value, name) for name in FIELDS}, where)
    return value


def require_fields(data: Mapping[str, Any], where: str) -> None:
    """Refuse parts of a prompt pair, by name, that are of the wrong kind.

    Raises:
        PromptError: one is.
    """
    for key in ("clean", "corrupted"):
        _require_prompt(data[key], key, where)
    _require_answers(data, where)
    _require_roles(data.get("roles", {}), data["clean"], ("roles", "clean"), where)
    theirs = data.get("corrupted_roles", {})
    _require_roles(theirs, data["corrupted"], ("corrupted_roles", "corrupted"), where)
    names = data.get("answer_after", "")
    named = [("answer_after", name) for name in (names if _is_list(names) else [names])]
    for key, name in (*((k, data.get(k, "")) for k in ("template", "align")), *named):
        if not (isinstance(name, str) and is_safe(name)):
            raise PromptError(
                f"{where}: {key} must be text without control characters, got {shown(name)}. "
                "Reports show it. Correct it."
            )
    cluster = data.get("cluster")
    if not (cluster is None or (isinstance(cluster, str) and cluster and is_safe(cluster))):
        raise PromptError(
            f"{where}: cluster must be text without control characters, or not given, got "
            f"{shown(cluster)}. Pairs of one cluster count as one. Name what they share."
        )


def _require_answers(data: Mapping[str, Any], where: str) -> None:
    several = _is_list(data.get("answer_after", ""))
    for key in ("answers", "wrong_answers"):
        values = data.get(key, [])
        own = values if several else [values]  # a list for each place
        if not (_is_list(own) and all(_are_answers(some) for some in own)):
            raise PromptError(
                f"{where}: {key} must be a list of texts, token ids or lists of token ids"
                f"{', for each role in answer_after' if several else ''}, got {shown(values)}. "
                "Metrics compare their logits. Correct it."
            )


def _require_prompt(prompt: object, key: str, where: str) -> None:
    if is_chat(prompt):
        require_messages(prompt, f"{where}: {key}")
        length = sum(len(message[CONTENT]) for message in prompt)
    elif _is_text(prompt) or _are_ids(prompt):
        length = len(prompt)
    else:
        raise PromptError(
            f"{where}: {key} must be text or a list of token ids, got {shown(prompt)}. "
            f"It is what the model reads; messages are written {EXAMPLE}. Correct it."
        )
    if length > MAX_LENGTH:
        raise PromptError(
            f"{where}: {key} must be at most {MAX_LENGTH} characters or ids long, got "
            f"{length}. No model reads that much at once. Shorten it."
        )


def _require_roles(roles: object, prompt: object, named: tuple[str, str], where: str) -> None:
    """Refuse roles of the wrong kind; `named` are their key and their prompt."""
    key, side = named
    form = "[message, start, end]" if is_chat(prompt) else "[start, end]"
    n = form.count(",") + 1
    spans = roles.items() if isinstance(roles, Mapping) else [("", None)]
    if not all(isinstance(name, str) and _is_span(span, n) for name, span in spans):
        raise PromptError(
            f"{where}: {key} must be {{name: {form}}}, got {shown(roles)}. They say where "
            f"in the {side} prompt a word stands. Correct it."
        )
    unsafe = [name for name, _ in spans if not is_safe(name)]
    if unsafe:
        raise PromptError(
            f"{where}: names of {key} must be text without control characters, got "
            f"{shown(unsafe[0])}. Reports show them. Correct it."
        )


def _is_text(value: object) -> TypeGuard[str]:
    """Return whether it is text that can be encoded: without halves of characters."""
    return isinstance(value, str) and is_unicode(value)


def _are_ids(value: object) -> TypeGuard[Collection[int]]:
    return _is_list(value) and all(map(_is_id, value))


def _is_list(value: object) -> TypeGuard[Collection[Any]]:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping | Set)


def _is_span(value: object, n: int) -> bool:
    return _is_list(value) and len(value) == n and all(map(_is_id, value))


def _are_answers(values: object) -> bool:
    return _is_list(values) and all(map(_is_answer, values))


def _is_answer(value: object) -> bool:
    return _is_text(value) or _is_id(value) or (bool(value) and _are_ids(value))


def _is_id(value: object) -> bool:
    """Return whether it is a whole number, of Python or of an array, that a tensor can hold."""
    if isinstance(value, bool):
        return False
    try:
        return abs(index(value)) <= MAX_ID  # type: ignore[arg-type]
    except TypeError:
        return False
