"""Long work that survives Ctrl-C and kill -9: results of independent items in one SQLite file.

    settings(key, value, digest)   what the results depend on, stated when the file is made
    results(key, value, digest)    one row an item, float64; written in one transaction an item

The digest of a row is that of its table, key and value: a value that was changed, or moved to
another row, is refused, as it would give another circuit.

An interrupted search that is started again reads what is done and computes the rest. The file
refuses to serve work that depends on anything else, and a file of another program is left as it
is. Two processes may share a file: they add to the same results. Without a path, everything stays
in memory.
"""

import hashlib
import json
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from circuitkit.errors import CheckpointError
from circuitkit.work.text import Verbatim, shown

SCHEMA = "2"  # 1 had no digests
APPLICATION = int.from_bytes(b"ckit", "big")  # in the file's header: whose it is
PAGE = 4096  # bytes; SQLite takes a file that ends in its first page for an empty one
WAIT = 30.0  # seconds for another process to finish writing


class Checkpoint:
    """An open file of results. Make one with `open_checkpoint`.

    Every method raises CheckpointError where the file cannot be read or written.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection, self._path = connection, path

    def result(self, key: str) -> list[float] | None:
        """Return the result of an item; None where it is not done.

        Raises:
            CheckpointError: what is there is not what was kept.
        """
        packed = self._value("results", key)
        return None if packed is None else [x for (x,) in struct.iter_unpack("<d", packed)]

    def keep(self, key: str, values: Sequence[float]) -> None:
        """Write the result of an item, whole or not at all.

        Raises:
            CheckpointError: another process has written something else for it.
        """
        packed = struct.pack(f"<{len(values)}d", *values)
        self._insert("results", key, packed)
        if self._value("results", key) != packed:
            raise CheckpointError(
                f"checkpoint {str(self._path)!r}, item {key!r}: must have one result, got another "
                "than is there. Two processes write to it and do not compute the same. Let one "
                "finish, or name another file."
            )

    def plan(self, plan: Mapping[str, int]) -> dict[str, int]:
        """Return how the work is cut into batches: as `plan` says, or as it was begun.

        Rounding depends on batches, so resumed work keeps those that it began with.
        """
        self._insert("settings", "plan", json.dumps(dict(plan)).encode())
        return dict(json.loads(self._value("settings", "plan") or b"{}"))

    def begin(self, identity: Mapping[str, str]) -> None:
        """Claim an empty file for the work of `identity`, or see that it is of that work.

        Raises:
            CheckpointError: it is of other work, of another program, or damaged.
        """
        self._rows(f"PRAGMA page_size = {PAGE}")
        self._rows("BEGIN IMMEDIATE")  # of two processes, one claims it
        if not self._rows("SELECT name FROM sqlite_master"):
            for table in ("settings", "results"):
                self._rows(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, value, digest)")
            for key, value in identity.items():
                self._insert("settings", key, value.encode())
        elif self._rows("PRAGMA application_id") != [(APPLICATION,)]:
            raise _unusable(self._path, "a database of another program")
        elif self._rows("PRAGMA quick_check(1)") != [("ok",)]:
            raise _unusable(self._path, "a damaged one")
        rows = self._rows("SELECT key, value FROM settings WHERE key != 'plan'")
        known = {_text(key): _text(value) for key, value in rows}
        _require_same(known, identity, self._path)
        # a write in any case: a file that cannot be written is refused before the work, not after
        self._rows(f"PRAGMA application_id = {APPLICATION}")
        self._rows("COMMIT")

    def _insert(self, table: str, key: str, value: bytes) -> None:
        """Write a row unless its key is there."""
        statement = f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)"
        self._rows(statement, key, value, _digest(table, key, value))

    def _value(self, table: str, key: str) -> bytes | None:
        """Return the value of a row; None where there is none.

        Raises:
            CheckpointError: it is not the value that was written.
        """
        found = self._rows(f"SELECT value, digest FROM {table} WHERE key = ?", key)
        if not found:
            return None
        value, digest = found[0]
        if not isinstance(value, bytes) or digest != _digest(table, key, value):
            raise _unusable(self._path, f"another value of {key!r} than was written")
        return value

    def _rows(self, statement: str, *values: str | bytes) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeError) as error:  # its messages quote what the file holds
            raise _unusable(self._path, str(error)) from error


@contextmanager
def open_checkpoint(path: Path | None, identity: Mapping[str, str]) -> Iterator[Checkpoint]:
    """Open the results of work that depends on `identity`, and close them after the block.

    Raises:
        CheckpointError: the file holds other work (the difference is shown), is damaged or of
            another program, or cannot be written.
    """
    connection = _connect(path)
    try:
        done = Checkpoint(connection, path)
        done.begin({"schema": SCHEMA, **identity})
        yield done
    finally:
        connection.close()


def _connect(path: Path | None) -> sqlite3.Connection:
    """Return a connection in which every statement is a transaction of its own, unless begun."""
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.stat().st_size % PAGE:
                raise _unusable(path, "one that was cut off, or is no such file")
        name = ":memory:" if path is None else path
        return sqlite3.connect(name, timeout=WAIT, isolation_level=None)
    except (sqlite3.Error, OSError) as error:
        raise _unusable(path, str(error)) from error


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _digest(table: str, key: str, value: bytes) -> str:
    return hashlib.sha256(f"{table}\0{key}\0".encode() + value).hexdigest()


def _unusable(path: Path | None, found: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {str(path)!r}: must be a file that can be written, of circuitkit's own, got "
        f"{shown(Verbatim(found))}. What was done cannot be read or kept. Name another file, or "
        "delete it."
    )


def differences(known: Mapping[str, str], identity: Mapping[str, str]) -> list[str]:
    """Return in words what a file of results was made with and what is asked for now, if other."""
    return [
        f"{shown(Verbatim(key))}: {shown(known.get(key))} there, {shown(identity.get(key))} now"
        for key in sorted(known.keys() | identity.keys())
        if known.get(key) != identity.get(key)
    ]


def _require_same(known: Mapping[str, str], identity: Mapping[str, str], path: Path | None) -> None:
    differing = differences(known, identity)
    if differing:
        raise CheckpointError(
            f"checkpoint {str(path)!r}: must be of the same work, got {'; '.join(differing)}. "
            "Results of different work must not mix. Use what it was made with, name another file, "
            "or delete it to begin again."
        )
