"""interpretation.json: an interpretation as a file. Schema 2, then the fields of Interpretation.

Schema 1 had `sweeps` and `directions` in place of `sections`; they are read as the sections that
they would be today.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cattrs

from circuitkit.errors import CircuitFileError
from circuitkit.interpretation.directions import search as directions
from circuitkit.interpretation.findings import Interpretation
from circuitkit.interpretation.section import HeatMap, Section, plain, structured
from circuitkit.interpretation.sweeps import logit_lens, tracing
from circuitkit.work.files import write_whole

SCHEMA = 2
INTERPRETATION_FILE = "interpretation.json"


def save_interpretation(interpretation: Interpretation, directory: str | Path) -> None:
    """Write an interpretation into a run directory, whole or not at all.

    Raises:
        OutputError: the place cannot be written.
    """
    data = {"schema": SCHEMA, **plain(interpretation)}
    # a number a line would double what is mostly matrices
    text = json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n"
    write_whole(Path(directory) / INTERPRETATION_FILE, text)


def load_interpretation(directory: str | Path) -> Interpretation | None:
    """Return the interpretation in a run directory; None where none was made.

    Raises:
        CircuitFileError: it is of another schema, or damaged.
    """
    path = Path(directory) / INTERPRETATION_FILE
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if isinstance(data, dict) and data.get("schema") not in (1, SCHEMA):
        raise CircuitFileError(
            f"interpretation file {str(path)!r}: must be of schema 1 or {SCHEMA}, got schema "
            f"{data.get('schema')!r}. Its cards would be misread. Run `circuitkit interpret` again."
        )
    try:
        if isinstance(data, dict) and data["schema"] == 1:
            data = {**data, "sections": plain(_sections_of(data))}
        found: Interpretation = structured(data, Interpretation)
    except (TypeError, ValueError, KeyError, cattrs.BaseValidationError) as error:
        raise _damaged(path, error) from error
    return found


def _sections_of(data: Mapping[str, Any]) -> tuple[Section, ...]:
    """Return what schema 1 holds as sections, in the order of its reports."""
    maps = structured(data["sweeps"], tuple[HeatMap, ...])
    rows = structured(data["directions"], tuple[directions.DirectionRow, ...])
    traced = tuple(each for each in maps if each.name.startswith("tracing"))
    lens = tuple(each for each in maps if each not in traced)
    found = [logit_lens.section(lens)] if lens else []
    found += [tracing.section(traced)] if traced else []
    found += [directions.section(rows)] if rows else []
    return tuple(found)


def _damaged(path: Path, error: Exception) -> CircuitFileError:
    return CircuitFileError(
        f"interpretation file {str(path)!r}: must be what `circuitkit interpret` writes, got "
        f"{type(error).__name__}: {error}. There is nothing to show. Run `circuitkit interpret` "
        "again."
    )
