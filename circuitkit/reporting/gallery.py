"""An index of the runs in a folder: a page with their pictures, and the same in Markdown.

The page opens without a network and leads to the report of each run, which lies beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from circuitkit.errors import CircuitFileError
from circuitkit.reporting.columns_dot import dot_to_look_at
from circuitkit.reporting.explorer import page_style
from circuitkit.reporting.findings_dot import groups_dot
from circuitkit.reporting.html import inline_picture, rendered
from circuitkit.reporting.markdown import CIRCUIT_FILE, GROUPS_FILE, escaped
from circuitkit.reporting.pictures import Album
from circuitkit.reporting.render import render_dot
from circuitkit.reporting.values import interval, marked, rounded
from circuitkit.study.records import RunRecord, load_record
from circuitkit.study.run_directory import RUN_FILE
from circuitkit.work.files import require_writable_directory, write_whole

PAGE, MARKDOWN = "index.html", "index.md"
TEMPLATE, STYLE = "gallery.html.jinja", "gallery.css"
TITLE = "Circuits"
LEAD = (
    "One circuit a box, with its verdict on prompts that did not find it: what survived the "
    "attempts to refute it, what did not. A box leads to the whole report."
)


@dataclass(frozen=True)
class Exhibit:
    """What the index says of one run, as plain text; `address` is its directory, as in a link."""

    address: str
    title: str
    description: str
    outcome: str
    badge: str
    numbers: str
    groups: str
    command: str
    picture: str


def write_gallery(folder: str | Path) -> list[Path]:
    """Write index.html and index.md for the run directories in a folder; return both.

    Raises:
        CircuitFileError: there is none, or one is damaged or of another version.
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    runs = sorted(path.parent for path in folder.glob(f"*/{RUN_FILE}"))
    if not runs:
        raise CircuitFileError(
            f"folder {str(folder)!r}: must hold run directories, as `circuitkit run` writes them, "
            "got none. There is nothing to show. Name the folder that they lie in."
        )
    records = [load_record(path) for path in runs]
    require_writable_directory(folder)
    exhibits = [_exhibit(path, record) for path, record in zip(runs, records, strict=True)]
    album = Album()
    pictures = [_picture(record, at, album) for at, record in enumerate(records)]
    write_whole(folder / PAGE, _page(exhibits, pictures))
    write_whole(folder / MARKDOWN, _markdown(exhibits))
    album.warn()
    return [folder / PAGE, folder / MARKDOWN]


def _exhibit(path: Path, record: RunRecord) -> Exhibit:
    verdict, found = record.validation.verdict, record.interpretation
    kept = verdict.check("faithfulness").value
    numbers = [f"{record.circuit.n_edges:,} of {record.graph.n_edges:,} edges"]
    numbers += [f"faithfulness {rounded(kept)} {interval(kept)}"] if kept else []
    groups = [f"{group.name} ({len(group.components)})" for group in found.groups] if found else []
    return Exhibit(
        address=quote(path.name),
        title=f"{record.info.task} in {record.info.model}",
        description=record.info.description,
        outcome=verdict.outcome,
        badge=marked(verdict.outcome),
        numbers="; ".join([*numbers, f"scored by {record.info.method}"]),
        groups=", ".join(groups),
        command=record.info.command,
        picture=f"{quote(path.name)}/{GROUPS_FILE if found and found.groups else CIRCUIT_FILE}",
    )


def _picture(record: RunRecord, at: int, album: Album) -> Markup:
    """Return the groups, where they are known, else the circuit."""
    found = record.interpretation
    dot = groups_dot(found) if found and found.groups else dot_to_look_at(record.circuit, "")
    return inline_picture(album.drawn(_svg, dot), f"run{at}")


def _svg(dot: str) -> str:
    return render_dot(dot, "svg").decode()


def _page(exhibits: Sequence[Exhibit], pictures: Sequence[Markup]) -> str:
    return rendered(
        TEMPLATE,
        title=TITLE,
        lead=LEAD,
        style=page_style(STYLE),
        exhibits=list(zip(exhibits, pictures, strict=True)),
    )


def _markdown(exhibits: Sequence[Exhibit]) -> str:
    blocks = [f"# {TITLE}", escaped(LEAD)]
    for each in exhibits:
        blocks += [
            f"## [{escaped(each.title)}]({each.address}/report.md)",
            f"**{escaped(each.badge)}**: {escaped(each.numbers)}",
            escaped(each.description),
            *([f"Parts: {escaped(each.groups)}."] if each.groups else []),
            f"![{escaped(each.title)}]({each.picture})",
            *([f"    {each.command}"] if each.command else []),
        ]
    return "\n\n".join(blocks) + "\n"
