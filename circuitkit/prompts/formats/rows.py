"""Rows of a file: CSV, TSV, parquet, JSON, JSON Lines, Arrow, or a directory of `datasets`.

A row is a table of named values, whatever file it came from. What a file or folder is called tells
its split: train finds a circuit, validation and test judge it.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from circuitkit.errors import PromptError
from circuitkit.work.reading import DAMAGED, UnreadableError, parse_json, read_text_file
from circuitkit.work.text import error_text, shown

ARROW, CSV, TSV, PARQUET = ".arrow", ".csv", ".tsv", ".parquet"
TABLES = (ARROW, CSV, TSV, PARQUET)
TEXTS = (".json", ".jsonl")
SPLIT_OF = {"train": "discovery", "validation": "validation", "test": "validation"}
DICT, STATE = "dataset_dict.json", "state.json"  # what `datasets` writes beside its Arrow files


@dataclass(frozen=True)
class Row:
    """One row, where it stands, and the split that its place tells (empty: none)."""

    where: str
    data: Mapping[str, Any]
    split: str = ""

    def at(self, *path: str) -> Any:
        """Return what stands under these keys, one inside the other.

        Raises:
            PromptError: nothing does.
        """
        found: Any = self.data
        for key in path:
            if not isinstance(found, Mapping) or key not in found:
                have = sorted(map(str, found)) if isinstance(found, Mapping) else found
                raise PromptError(
                    f"{self.where}: must hold {'.'.join(path)}, got {shown(have)}. It is part of "
                    "a pair in this format. Check the file, or name another --format."
                )
            found = found[key]
        return found

    def text(self, *path: str) -> str:
        """Return the text under these keys.

        Raises:
            PromptError: there is none.
        """
        found = self.at(*path)
        if not isinstance(found, str) or not found:
            raise self.wrong(".".join(path), "text", found)
        return found

    def wrong(self, what: str, rule: str, got: object) -> PromptError:
        """Return the error of a value that is of another kind."""
        return PromptError(
            f"{self.where}: {what} must be {rule}, got {shown(got)}. It is part of a pair. Correct "
            "the row, or name another --format."
        )


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file or directory.

    Raises:
        PromptError: there is none, or it cannot be read.
    """
    where = f"prompt file {shown(str(path))}"
    try:
        rows = list(_of_directory(path) if path.is_dir() else _of_file(path, where))
    except PromptError:
        raise
    except (*DAMAGED, csv.Error, pyarrow.ArrowException) as error:
        raise PromptError(
            f"{where}: must be a readable {_kind(path)}, got {error_text(error)}. It holds the "
            "pairs. Check the path and the file."
        ) from error
    if not rows:
        raise PromptError(
            f"{where}: must hold at least one row, got none. There is nothing to measure. Check "
            "the path."
        )
    return rows


def first_row(path: Path) -> Mapping[str, Any]:
    """Return the first row of a text file of JSON or JSON Lines; empty where there is none."""
    try:
        text = read_text_file(path).strip()
        by_line = text[:1] != "[" and _begins_with_a_row(text)
        rows = _listed(parse_json(text.partition("\n")[0] if by_line else text))
    except (FileNotFoundError, UnreadableError):
        return {}
    return rows[0] if rows and isinstance(rows[0], Mapping) else {}


def _kind(path: Path) -> str:
    return "directory of datasets" if path.is_dir() else f"{path.suffix[1:] or 'text'} file"


def _of_file(path: Path, where: str, split: str = "") -> Iterator[Row]:
    if path.suffix in (CSV, TSV):
        found: Iterator[Any] = _of_csv(path)
    elif path.suffix == PARQUET:
        found = iter(pyarrow.parquet.read_table(path).to_pylist())
    elif path.suffix == ARROW:
        found = iter(_arrow_table(path).to_pylist())
    else:
        found = iter(_of_text(read_text_file(path)))
    for number, data in enumerate(found, 1):
        at = f"{where}, row {number}"
        if not isinstance(data, Mapping):
            raise PromptError(
                f"{at}: must be named values, got {shown(data)}. A row is a pair. Mend it."
            )
        yield Row(at, data, split)


def _of_csv(path: Path) -> Iterator[dict[str, str]]:
    text = StringIO(read_text_file(path).removeprefix("\ufeff"), newline="")
    reader = csv.reader(text, delimiter="\t" if path.suffix == TSV else ",")
    header = next(reader, [])
    if len(set(header)) < len(header):
        raise UnreadableError(f"a column twice: {shown(header)}")
    for row in reader:
        if row and len(row) != len(header):
            raise UnreadableError(
                f"{len(row)} values in line {reader.line_num} for {len(header)} columns"
            )
        if row:
            yield dict(zip(header, row, strict=True))


def _of_text(text: str) -> Sequence[Any]:
    if text.lstrip()[:1] == "[" or not _begins_with_a_row(text):
        return _listed(parse_json(text))
    rows = [parse_json(line) for line in text.split("\n") if line.strip()]
    return _listed(rows[0]) if len(rows) == 1 else rows


def _begins_with_a_row(text: str) -> bool:
    """Return whether the first line is whole JSON: then each line is a row."""
    try:
        parse_json(text.strip().partition("\n")[0])
    except UnreadableError:
        return False
    return True


def _listed(data: Any) -> Sequence[Any]:
    """Return the rows of JSON: a list, or the list under `prompts`, as auto-circuit has it."""
    if isinstance(data, Mapping):
        inner = data.get("prompts")
        return inner if isinstance(inner, list) else [data]
    return data if isinstance(data, list) else [data]


def _of_directory(path: Path) -> Iterator[Row]:
    """Yield the rows of what `datasets` saved, or of the tables below a folder."""
    if (path / DICT).is_file():
        for split in parse_json(read_text_file(path / DICT))["splits"]:
            name = Path(str(split)).name  # of a folder that is inside
            yield from _of_saved(path / name, SPLIT_OF.get(name, ""))
        return
    if (path / STATE).is_file():
        yield from _of_saved(path, "")
        return
    files = sorted(file for file in path.rglob("*") if file.is_file())
    tables = [file for file in files if file.suffix in TABLES]
    for file in tables or [file for file in files if file.suffix in TEXTS]:
        split = next((SPLIT_OF[w] for w in _words(file, path) if w in SPLIT_OF), "")
        yield from _of_file(file, f"prompt file {shown(str(file))}", split)


def _words(file: Path, root: Path) -> list[str]:
    return [*file.relative_to(root).parts[:-1], file.name.partition("-")[0], file.stem]


def _of_saved(path: Path, split: str) -> Iterator[Row]:
    for data_file in parse_json(read_text_file(path / STATE))["_data_files"]:
        file = path / Path(str(data_file["filename"])).name
        yield from _of_file(file, f"prompt file {shown(str(file))}", split)


def _arrow_table(path: Path) -> pyarrow.Table:
    with pyarrow.memory_map(str(path)) as source:
        try:
            return pyarrow.ipc.open_stream(source).read_all()
        except pyarrow.ArrowInvalid:
            return pyarrow.ipc.open_file(source).read_all()
