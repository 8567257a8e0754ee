"""A stranger's text, made safe to show: in errors, in logs of CI, and in a terminal.

Names of tasks, roles and models, prompts, paths and the messages of other people's exceptions may
hold anything: escape sequences that a terminal obeys, lines that GitHub reads as commands, halves
of characters that no file can hold, or a megabyte.
"""

import re

SHOWN = 200  # characters of a value that an error shows
# control characters, halves of characters, ends of line, reversals of reading order: what no XML
# can hold, and what does something to a terminal instead of being seen
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
COMMAND = re.compile(r"^(\s*):(?=:)|##(?=\[)", re.MULTILINE)  # how GitHub's commands begin


class Verbatim(str):
    """Text that `shown` shows without quotes."""


def shown(value: object, limit: int = SHOWN) -> str:
    """Return the repr of a value on one line, at most about `limit` characters of it.

    >>> shown("a" * 1000, limit=9)
    "'aaaaaaaa... (1002 characters)"
    """
    try:
        text = str(value) if isinstance(value, Verbatim) else repr(value)
    except Exception as error:  # a stranger's __repr__, or too deep a nesting, may raise anything
        text = f"a {type(value).__name__} whose repr raises {type(error).__name__}"
    return cut(one_line(text), limit)


def error_text(error: BaseException, limit: int = SHOWN) -> str:
    r"""Return the type of an exception and what it says, on one line.

    >>> error_text(ValueError("no\nway"))
    'ValueError: no\\nway'
    """
    name = type(error).__name__
    try:
        says = str(error)
    except Exception as another:  # a stranger's __str__ too
        says = f"(its own text raises {type(another).__name__})"
    return f"{name}: {shown(Verbatim(says), limit)}" if says else name


def plain(text: str) -> str:
    r"""Return text whose unsafe characters are written out; line breaks and tabs stay.

    >>> plain("red \x1b[31m text\nnext")
    'red \\x1b[31m text\nnext'
    """
    return _without_commands(UNSAFE.sub(lambda c: c[0] if c[0] in "\n\t" else _written(c), text))


def one_line(text: str) -> str:
    r"""Return text on one line, with its unsafe characters written out.

    >>> one_line("a\n::warning::b")
    'a\\n::warning::b'
    """
    return _without_commands(UNSAFE.sub(_written, text))


def is_safe(text: str) -> bool:
    """Return whether every character can be shown and stored everywhere."""
    return UNSAFE.search(text) is None


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded: it holds no half of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def cut(text: str, limit: int = SHOWN) -> str:
    """Return the text, or its first `limit` characters and how long it is."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def brief(text: str, limit: int = 300) -> str:
    r"""Return what a repr says, on one line and of at most about `limit` characters.

    >>> brief("Circuit(6 edges, a\x1b[31mtask)")
    'Circuit(6 edges, a\\x1b[31mtask)'
    """
    return cut(one_line(text), limit)


def counted(n: int, what: str) -> str:
    """Return a number of things, in the plural where it is not one.

    >>> counted(1, "edge"), counted(3, "edge")
    ('1 edge', '3 edges')
    """
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _without_commands(text: str) -> str:
    return COMMAND.sub(lambda found: f"{found[0]} ", text)


def _written(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]
