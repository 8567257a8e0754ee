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
from circuitkit.interpretation.directions.concepts import CLEAN
from circuitkit.interpretation.findings import Interpretation
from circuitkit.interpretation.section import HeatMap, Section, plain, structured
from circuitkit.interpretation.sweeps import logit_lens, tracing
from circuitkit.work.files import write_whole
from circuitkit.work.reading import DAMAGED, parse_json, read_text_file
from circuitkit.work.text import error_text, shown

SCHEMA = 2
INTERPRETATION_FILE = "interpretation.json"


def save_interpretation(interpretation: Interpretation, directory: str | Path) -> None:
    """Write an interpretation into a run directory, whole or not at all.

    Raises:
        OutputError: the place cannot be written.
    """
    write_whole(Path(directory) / INTERPRETATION_FILE, interpretation_text(interpretation))


def interpretation_text(interpretation: Interpretation) -> str:
    """Return the text of an interpretation's file."""
    data = {"schema": SCHEMA, **plain(interpretation)}
    # a number a line would double what is mostly matrices
    return json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n"


def load_interpretation(directory: str | Path) -> Interpretation | None:
    """Return the interpretation in a run directory; None where none was made.

    Raises:
        CircuitFileError: it is of another schema, or damaged.
    """
    path = Path(directory) / INTERPRETATION_FILE
    if not path.exists():
        return None
    try:
        data = parse_json(read_text_file(path))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if isinstance(data, dict) and data.get("schema") not in (1, SCHEMA):
        raise CircuitFileError(
            f"interpretation file {shown(str(path))}: must be of schema 1 or {SCHEMA}, got schema "
            f"{shown(data.get('schema'))}. Its cards would be misread. Run `circuitkit interpret` "
            "again."
        )
    try:
        if isinstance(data, dict) and data["schema"] == 1:
            data = {**data, "sections": plain(_sections_of(data))}
        found: Interpretation = structured(data, Interpretation)
    except (*DAMAGED, cattrs.BaseValidationError) as error:
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
    found += [directions.section({CLEAN.name: rows})] if rows else []
    return tuple(found)


def _damaged(path: Path, error: Exception) -> CircuitFileError:
    return CircuitFileError(
        f"interpretation file {shown(str(path))}: must be what `circuitkit interpret` writes, got "
        f"{error_text(error)}. There is nothing to show. Run `circuitkit interpret` again."
    )
