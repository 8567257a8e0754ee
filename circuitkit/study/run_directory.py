"""A run directory as a whole: its data files belong together, and run.toml says so.

    run.toml   [files]: a digest of each data file; written last, and gone first

The directory is made beside, with the reports and pictures that were drawn from the data, and put
in place at once (work/directories.py). Where it must be written in place, a run that is killed
leaves no run.toml, so that nothing takes a mixture of two runs for one.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from circuitkit.errors import CircuitFileError
from circuitkit.work.directories import replace_directory
from circuitkit.work.text import shown

RUN_FILE = "run.toml"
FILES = "files"  # the table of digests
# what is drawn from the data: it goes with the data it was drawn from
DRAWN = (
    "report.html",
    "report.md",
    "report.pdf",
    "story.svg",
    "circuit.dot",
    "circuit.svg",
    "circuit.png",
    "circuit.pdf",
    "curve.svg",
    "groups.svg",
    "heatmap-*.svg",
    "sweep-*.svg",
    "bars-*.svg",
    "lines-*.svg",
)


def write_run(
    directory: Path,
    data: Mapping[str, str | bytes],
    info: Mapping[str, Any],
    *,
    optional: tuple[str, ...] = (),
    drawn: Mapping[str, str | bytes] | None = None,
) -> None:
    """Write the data files of a run and its run.toml; what an earlier run left there goes.

    `optional` are data files that the earlier run may have and this one has not; `drawn` are
    reports and pictures made of the data.

    Raises:
        OutputError: the directory cannot be written.
    """
    digests = {name: _digest(content) for name, content in data.items()}
    run = tomli_w.dumps({**info, FILES: digests})
    drawn = drawn or {}
    stale = [name for name in optional if name not in data]
    if any((directory / name).exists() for name in (RUN_FILE, *data)):
        old = {path.name for pattern in DRAWN for path in directory.glob(pattern)}
        stale += sorted(old - drawn.keys())
    files = {**data, **drawn, RUN_FILE: run}
    replace_directory(directory, files, last=RUN_FILE, stale=stale)


def require_together(directory: Path, run: Mapping[str, Any]) -> None:
    """Refuse data files that are not those that `run`, the content of run.toml, was written with.

    A run.toml of an earlier version has no digests: nothing can be said then.

    Raises:
        CircuitFileError: one is another, or missing.
        OSError: one cannot be read.
    """
    said = run.get(FILES, {})
    for name, digest in said.items() if isinstance(said, dict) else [("", said)]:
        is_file = Path(name).name == name and (directory / name).is_file()
        if not is_file or _digest((directory / name).read_bytes()) != digest:
            raise CircuitFileError(
                f"run directory {shown(str(directory))}: {shown(name)} must be the one that "
                f"{RUN_FILE} was written with, got {'another' if is_file else 'none'}. The files "
                "would be of different runs. Run it again, into an empty directory if need be."
            )


def _digest(content: str | bytes) -> str:
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()[:16]
