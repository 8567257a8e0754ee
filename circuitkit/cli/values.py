"""What is typed as text and means something else: sizes, numbers, names. Checked before any work.

Every message has one form: where: rule, got value. Why it matters. What to do.
"""

import re
import shlex
import sys
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import typer

from circuitkit.errors import CircuitkitError, CriterionError, MethodError, OutputError
from circuitkit.glossary import meaning
from circuitkit.work.text import is_safe, shown

MAX_SEED = 2**32 - 1  # what every generator of random numbers takes
NO_RESULT = ("-q", "--quiet", "-v", "--verbose", "--json", "--force")
MAX_SHOWN = 48  # longer lists of choices stand in the help text


def choice(
    *flags: str, names: tuple[str, ...], help: str, kind: str = "", word: str = "NAME"
) -> Any:
    """Return an option that is one of some names: shown, and completed. The library checks it.

    With the `kind` that the names have in the glossary, each stands in the help with its line.
    """
    joined = "|".join(names)
    metavar = f"[{joined}]" if len(joined) <= MAX_SHOWN and not kind else word
    said = f"{help.removesuffix('.')}."
    if kind:
        lines = (f"{name}: {meaning(name, kind) or meaning(name, 'choice')}" for name in names)
        said = "\n".join([said, *lines])
    elif metavar == word:
        said = f"{said.removesuffix('.')}: {', '.join(names)}."
    return typer.Option(*flags, help=said, metavar=metavar, autocompletion=completed(names))


def completed(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Return what completes one of some names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def typed_command() -> str:
    """Return what was typed, to get the same again; less what changes no result."""
    words = [word for word in sys.argv[1:] if word not in NO_RESULT]
    return shlex.join(["circuitkit", *words])


def parse_settings(texts: list[str] | None) -> dict[str, str]:
    """Return the settings of a method given as key=value.

    Raises:
        MethodError: a text has another form.
    """
    settings = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise MethodError(
                f"--set: must be a setting and its value as steps=10, got {text!r}. It changes "
                "how the method works. See docs/methods/ for the settings."
            )
        settings[key.strip()] = value.strip()
    return settings


def parse_batch_size(text: str) -> int | None:
    """Return a number of pairs; None for auto.

    Raises:
        MethodError: neither.
    """
    if text == "auto":
        return None
    if not (_is_number(text) and int(text) > 0):
        raise MethodError(
            f"--batch-size: must be auto or a positive number, got {text!r}. It is in pairs. "
            "Leave it out for what fits."
        )
    return int(text)


def parse_bytes(text: str) -> int | None:
    """Return the bytes of a budget as 4GB, 4GiB, 500MB or 4000000000; None for the default.

    Raises:
        MethodError: not a size.
    """
    if not text:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kKMGT])(i?)B|B)?", text.strip())
    size = 0.0
    if match is not None:
        power = " KMGT".index((match[2] or " ").upper())
        size = float(match[1]) * (1024 if match[3] else 1000) ** power
    if not (isfinite(size) and size >= 1):
        raise MethodError(
            f"--memory: must be a size as 4GB, 4GiB, 500MB or a number of bytes, got {text!r}. It "
            "bounds the batches. Leave it out for a share of what is free."
        )
    return int(size)


def parse_seconds(text: str) -> float:
    """Return the seconds of a time as 90, 90s, 5min or 1h; 0 for the default.

    Raises:
        MethodError: not a time.
    """
    if not text:
        return 0.0
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|h)?", text.strip())
    seconds = float(match[1]) * {"min": 60, "h": 3600}.get(match[2], 1) if match else 0.0
    if not (isfinite(seconds) and seconds > 0):
        raise MethodError(
            f"--budget: must be a time as 90s, 5min or 1h, got {shown(text)}. A search is chosen "
            "that takes about that long at most. Leave it out for what suits the device."
        )
    return seconds


def require_seed(seed: int | None) -> None:
    """Require a seed that every generator takes.

    Raises:
        MethodError: it is negative or too large.
    """
    if seed is not None and not 0 <= seed <= MAX_SEED:
        raise MethodError(
            f"--seed: must be from 0 to {MAX_SEED}, got {seed}. Every random choice follows from "
            "it. Choose a smaller number."
        )


def require_finite(option: str, value: float | None, error: type[CircuitkitError]) -> None:
    """Require a number that can be compared with.

    Raises:
        CircuitkitError: of the type given: it is NaN or infinite.
    """
    if value is not None and not isfinite(value):
        raise error(
            f"{option}: must be a finite number, got {value}. Nothing can be compared with it. "
            "Write a number as 0.85."
        )


def require_bound(option: str, value: float | None) -> None:
    """Require a bound of a criterion that can be compared with.

    Raises:
        CriterionError: it is NaN or infinite.
    """
    require_finite(option, value, CriterionError)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of a comma-separated text.

    Raises:
        MethodError: not whole numbers, or too large ones.
    """
    seeds = []
    for each in parse_names(text):
        if not _is_number(each):
            raise MethodError(
                f"--seeds: must be whole numbers as 0,1, got {each!r}. Each is a planted model of "
                "its own. Write numbers."
            )
        require_seed(int(each))
        seeds.append(int(each))
    return tuple(seeds)


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated text."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def run_name(task: str, prompts: Path | None, model: str, method: str) -> str:
    """Return <task>--<model>--<method>, safe as a directory name."""
    path, _, class_name = task.partition(":")
    what = prompts.stem if prompts is not None else class_name or Path(path).stem
    weights = "-".join(Path(part).name for part in re.split("[?&]", model))
    parts = (what, weights, method)
    return "--".join(re.sub(r"[^\w.-]+", "-", part) or "unnamed" for part in parts)


def require_run_name(name: str, output: Path | None) -> None:
    """Require a name that is one directory's, and no other directory beside it.

    Raises:
        OutputError: it is a path, or there are both.
    """
    if name and output is not None:
        raise OutputError(
            f"--name: must be given without -o / --output, got {name!r} and {str(output)!r}. "
            "Each says where the run goes. Use one."
        )
    if name and (Path(name).name != name or name in (".", "..") or not is_safe(name)):
        raise OutputError(
            f"--name: must be the name of one directory, got {shown(name)}. It is made in "
            "reports/. Use -o / --output for a path."
        )


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", text) is not None
