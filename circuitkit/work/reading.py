"""Reading what others wrote: a text file that ends, and JSON or TOML that says one thing.

Every fault comes as UnreadableError, whose text follows "got" in the caller's own sentence.
"""

import json
import stat
import tomllib
from collections import Counter
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from circuitkit.work.text import error_text, shown

MAX_BYTES = 1 << 30  # a circuit file of 40 million edges would be larger

# what reading data of another shape may raise
DAMAGED = (
    OSError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


class UnreadableError(ValueError):
    """A file that cannot be read, or is no JSON that means one thing."""


def read_text_file(path: Path) -> str:
    """Return the text of a file.

    Raises:
        FileNotFoundError: there is none.
        UnreadableError: a folder or a device, too large a file, or not UTF-8.
    """
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):  # a pipe ends, /dev/zero does not
            raise UnreadableError("a folder or a device")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UnreadableError(f"more than {MAX_BYTES} bytes")
        return data.decode()
    except (FileNotFoundError, UnreadableError):
        raise
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or no path at all
        raise UnreadableError(error_text(error)) from error


def parse_json(text: str) -> Any:
    """Return the data of a JSON text.

    Raises:
        UnreadableError: no JSON, a key given twice, NaN or infinity, or too deep a nesting.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_finite
        )
    except UnreadableError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnreadableError(error_text(error)) from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return the data of a TOML text.

    Raises:
        UnreadableError: no TOML, or too deep a nesting.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(error_text(error)) from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise UnreadableError(f"the key {shown(key)} more than once in one object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise UnreadableError(f"{text}, which is not a finite number")
    return number
