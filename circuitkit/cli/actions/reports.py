"""What `report` and `gallery` do: make files again from what is there."""

from collections.abc import Sequence
from pathlib import Path

from circuitkit.cli.terminal import OUT, show_json
from circuitkit.reporting.gallery import write_gallery
from circuitkit.reporting.write import write_report
from circuitkit.study.records import load_record


def make_reports(directory: Path, formats: str, *, as_json: bool) -> None:
    """Make the reports of a run directory again."""
    show_paths(write_report(load_record(directory), directory, formats.split(",")), as_json=as_json)


def make_gallery(folder: Path, *, as_json: bool) -> None:
    """Make the index page of a folder."""
    show_paths(write_gallery(folder), as_json=as_json)


def show_paths(paths: Sequence[Path], *, as_json: bool) -> None:
    """Print what was written."""
    if as_json:
        show_json([str(path) for path in paths])
        return
    for path in paths:
        OUT.print(str(path), soft_wrap=True)
