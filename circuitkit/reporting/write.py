"""Writing a report: everything is drawn first, then each file is written whole."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from circuitkit.errors import OutputError
from circuitkit.interpretation.findings import Interpretation
from circuitkit.reporting.content import caption_of, heat_map_files
from circuitkit.reporting.dot import circuit_dot, picture_dot, render_dot
from circuitkit.reporting.figures import curve_svg, heat_map_svg
from circuitkit.reporting.findings import sweep_files, sweep_svg
from circuitkit.reporting.findings_dot import groups_dot
from circuitkit.reporting.html import report_html
from circuitkit.reporting.markdown import CIRCUIT_FILE, CURVE_FILE, GROUPS_FILE, report_markdown
from circuitkit.study.records import RunRecord
from circuitkit.work.files import require_writable_directory, write_whole

Files = Mapping[str, str | bytes]


def write_report(
    record: RunRecord,
    directory: str | Path,
    formats: Sequence[str],
) -> list[Path]:
    """Write circuit.dot and the reports asked for into `directory`; return every file written.

    circuit.dot holds every edge, pictures of very large circuits only the strongest.
    `md` brings the pictures it shows. No file is written if one cannot be made.

    Raises:
        OutputError: the directory cannot be written, a picture not drawn, or a format is unknown.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise OutputError(
            f"report: formats must be among {', '.join(FORMATS)}, got {', '.join(unknown)}. "
            "Nothing else can be written. Leave it out."
        )
    directory = Path(directory)
    require_writable_directory(directory)
    files: dict[str, str | bytes] = {"circuit.dot": circuit_dot(record.circuit, caption_of(record))}
    for name in FORMATS:
        if name in formats:
            files.update(FORMATS[name](record))
    for name, data in files.items():
        write_whole(directory / name, data)
    return [directory / name for name in files]


def _picture(record: RunRecord, format: Literal["svg", "png", "pdf"]) -> bytes:
    return render_dot(picture_dot(record.circuit, caption_of(record)), format)


def _html(record: RunRecord) -> Files:
    return {"report.html": report_html(record)}


def _markdown(record: RunRecord) -> Files:
    least = record.validation.thresholds.min_faithfulness
    names = heat_map_files(record.heat_maps)
    maps = {name: heat_map_svg(each) for name, each in zip(names, record.heat_maps, strict=True)}
    return {
        "report.md": report_markdown(record),
        CIRCUIT_FILE: _picture(record, "svg"),
        CURVE_FILE: curve_svg(record.validation.curve, least, record.circuit.n_edges),
        **maps,
        **_found(record.interpretation),
    }


def _found(found: Interpretation | None) -> Files:
    """Return the pictures of an interpretation."""
    if found is None:
        return {}
    files = zip(sweep_files(found), found.sweeps, strict=True)
    groups = {GROUPS_FILE: render_dot(groups_dot(found), "svg")} if found.groups else {}
    return {**groups, **{name: sweep_svg(sweep) for name, sweep in files}}


def _svg(record: RunRecord) -> Files:
    return {CIRCUIT_FILE: _picture(record, "svg")}


def _png(record: RunRecord) -> Files:
    return {"circuit.png": _picture(record, "png")}


def _pdf(record: RunRecord) -> Files:
    return {"circuit.pdf": _picture(record, "pdf")}


FORMATS: Mapping[str, Callable[[RunRecord], Files]] = {
    "html": _html,
    "md": _markdown,
    "svg": _svg,
    "png": _png,
    "pdf": _pdf,
}
