"""Writing a report: everything is drawn first, then each file is written whole."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from circuitkit.errors import OutputError, PictureError
from circuitkit.reporting.columns_dot import dot_of, dot_to_look_at
from circuitkit.reporting.content import caption_of, heat_map_files
from circuitkit.reporting.figures import curve_svg, heat_map_svg
from circuitkit.reporting.html import report_html
from circuitkit.reporting.markdown import CURVE_FILE, STORY_FILE, report_markdown
from circuitkit.reporting.paper import printed
from circuitkit.reporting.pictures import Album, Missing
from circuitkit.reporting.render import render_dot
from circuitkit.reporting.sections import found_files, picture_svg
from circuitkit.reporting.story.picture import columns_of, story_svg
from circuitkit.reporting.story.sentence import story_of
from circuitkit.study.records import RunRecord, save_record
from circuitkit.work.files import require_writable_directory, write_together
from circuitkit.work.text import Verbatim, shown

Files = Mapping[str, str | bytes | Missing]
REPORTS = ("report.html", "report.md")  # what shows the others
PAPER_FILE = "report.pdf"


def write_report(
    record: RunRecord,
    directory: str | Path,
    formats: Sequence[str],
) -> list[Path]:
    """Write circuit.dot and the reports asked for into `directory`; return every file written.

    circuit.dot holds every edge, pictures of very large circuits only the strongest.
    `md` brings the pictures it shows, `pdf` the circuit and the report on paper. What cannot be
    drawn is left out, the report says so in its place, and a PictureWarning says so here.

    Raises:
        OutputError: the directory cannot be written, or a format is unknown.
        PictureError: only pictures are asked for, and none can be drawn.
    """
    _require_formats(formats)
    directory = Path(directory)
    require_writable_directory(directory)
    files, album = _drawn(record, formats)
    write_together(directory, files, last=next(n for n in (*REPORTS, *files) if n in files))
    album.warn()
    return [directory / name for name in files]


def save_run(record: RunRecord, directory: str | Path, formats: Sequence[str]) -> None:
    """Write a record with its reports, as `write_report` does, in place of what was there at once.

    Raises:
        OutputError: the directory cannot be written, or a format is unknown.
    """
    _require_formats(formats)
    files, album = _drawn(record, formats)
    save_record(record, directory, drawn=files)
    album.warn()


def _drawn(record: RunRecord, formats: Sequence[str]) -> tuple[dict[str, str | bytes], Album]:
    album = Album()
    made: dict[str, str | bytes | Missing] = {}
    for name in FORMATS:
        if name in formats:
            made.update(FORMATS[name](record, album))
    files = {name: data for name, data in made.items() if not isinstance(data, Missing)}
    if made and not files:
        why = next(data.why for data in made.values() if isinstance(data, Missing))
        raise PictureError(", ".join(formats), why, "graphviz-pure and matplotlib")
    return {"circuit.dot": dot_of(record.circuit, caption_of(record)), **files}, album


def _require_formats(formats: Sequence[str]) -> None:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        got = shown(Verbatim(", ".join(unknown)))
        raise OutputError(
            f"report: formats must be among {', '.join(FORMATS)}, got {got}. "
            "Nothing else can be written. Leave it out."
        )


def _picture(record: RunRecord, format: Literal["svg", "png", "pdf"], album: Album) -> Files:
    dot = dot_to_look_at(record.circuit, caption_of(record))
    return {f"circuit.{format}": album.drawn(render_dot, dot, format)}


def _html(record: RunRecord, album: Album) -> Files:
    return {"report.html": report_html(record, album)}


def _markdown(record: RunRecord, album: Album) -> Files:
    least = record.validation.thresholds.min_faithfulness
    curve = (record.validation.curve, least, record.circuit.n_edges)
    found = found_files(record.interpretation)
    maps = zip(heat_map_files(record.heat_maps), record.heat_maps, strict=True)
    pictures: dict[str, str | bytes | Missing] = {
        STORY_FILE: story_svg(story_of(record), columns_of(record)),
        **_picture(record, "svg", album),
        CURVE_FILE: album.drawn(curve_svg, *curve),
        **{name: album.drawn(heat_map_svg, each) for name, each in maps},
        **{name: album.drawn(picture_svg, each) for name, each in found.items()},
    }
    missing = {name: each for name, each in pictures.items() if isinstance(each, Missing)}
    return {"report.md": report_markdown(record, missing), **pictures}


def _svg(record: RunRecord, album: Album) -> Files:
    return _picture(record, "svg", album)


def _png(record: RunRecord, album: Album) -> Files:
    return _picture(record, "png", album)


def _pdf(record: RunRecord, album: Album) -> Files:
    paper = album.drawn(printed, report_html(record, album))
    return {**_picture(record, "pdf", album), PAPER_FILE: paper}


FORMATS: Mapping[str, Callable[[RunRecord, Album], Files]] = {
    "html": _html,
    "md": _markdown,
    "svg": _svg,
    "png": _png,
    "pdf": _pdf,
}
