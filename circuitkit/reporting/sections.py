"""Sections as the writers show them: cells as text, pictures as SVG, a file name for each.

HTML, Markdown and notebooks show every finding through this file, and know of no finding by name.
A picture of a new kind gets one line in DRAWN, and its numbers one in `picture_table`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from circuitkit.interpretation.findings import Interpretation
from circuitkit.interpretation.section import (
    Bars,
    Cell,
    Column,
    Diagram,
    HeatMap,
    LineChart,
    Picture,
    Section,
    Style,
    Table,
)
from circuitkit.interpretation.sections import sections_of
from circuitkit.reporting.figures import bars_svg, heat_map_svg, line_chart_svg
from circuitkit.reporting.findings_dot import diagram_dot
from circuitkit.reporting.render import render_dot
from circuitkit.reporting.values import (
    NONE,
    TableText,
    interval,
    number,
    rounded,
    signed,
    signed_rounded,
    visible,
)
from circuitkit.statistics.bootstrap import Estimate


def diagram_svg(diagram: Diagram) -> str:
    """Return a diagram as SVG, laid out by Graphviz.

    Raises:
        PictureError: Graphviz cannot draw it.
    """
    return render_dot(diagram_dot(diagram), "svg").decode()


DRAWN: Mapping[type, tuple[Callable[[Any], str], str]] = {  # how, and what file names begin with
    HeatMap: (heat_map_svg, "sweep-"),
    Bars: (bars_svg, "bars-"),
    LineChart: (line_chart_svg, "lines-"),
    Diagram: (diagram_svg, ""),
}
TAKEN = ("circuit", "curve", "story")  # names of other pictures of a report


def picture_svg(picture: Picture) -> str:
    """Return any picture drawn.

    Raises:
        PictureError: it cannot be drawn on this machine.
    """
    draw, _ = DRAWN[type(picture)]
    return draw(picture)


def picture_files(sections: Iterable[Section]) -> dict[str, Picture]:
    """Return the pictures of sections by file name; names are safe and of no other picture."""
    files: dict[str, Picture] = {}
    for picture in (each for section in sections for each in section.pictures):
        _, kind = DRAWN[type(picture)]
        stem = kind + re.sub(r"[^A-Za-z0-9_-]+", "-", picture.name)
        if f"{stem}.svg" in files or stem in TAKEN or stem.startswith("heatmap-"):
            stem += f"-{len(files)}"
        files[f"{stem}.svg"] = picture
    return files


def found_files(found: Interpretation | None) -> dict[str, Picture]:
    """Return the pictures of an interpretation by file name."""
    return picture_files(sections_of(found)) if found else {}


def caption(picture: Picture) -> str:
    """Return what a picture shows, in words."""
    return f"{picture.name}: {picture.description}"


def table_text(table: Table) -> TableText:
    """Return a table with its cells as text."""
    return TableText(
        tuple(column.name for column in table.columns),
        tuple(
            tuple(cell_text(cell, col.style) for cell, col in zip(row, table.columns, strict=True))
            for row in table.rows
        ),
        frozenset(each.name for each in table.columns if each.style in ("number", "signed")),
        frozenset(each.name for each in table.columns if each.style == "code"),
    )


def cell_text(cell: Cell, style: Style = "text") -> str:
    """Return a cell as it is shown; an estimate brings its interval."""
    if cell is None:
        return NONE
    if isinstance(cell, str):
        return visible(cell) if style == "token" else cell
    shown = signed if style == "signed" else number
    if isinstance(cell, Estimate):
        text = signed_rounded(cell) if style == "signed" else rounded(cell)
        return f"{text} {interval(cell)}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return shown(cell)


def picture_table(picture: Picture) -> TableText:
    """Return the numbers of a picture."""
    if isinstance(picture, HeatMap):
        return _heat_map_table(picture)
    if isinstance(picture, Bars):
        columns: tuple[str, ...] = ("", picture.unit)
        rows: list[tuple[Cell, ...]] = list(zip(picture.labels, picture.values, strict=True))
    elif isinstance(picture, LineChart):
        columns = (picture.x_label, *(line.label for line in picture.lines))
        rows = list(zip(picture.x, *(line.values for line in picture.lines), strict=True))
    else:
        columns = ("from", "to", "", "effect")
        rows = [(each.sender, each.receiver, each.says, each.effect) for each in picture.arrows]
    return table_text(Table(picture.name, tuple(map(Column, columns)), tuple(rows)))


def _heat_map_table(heat_map: HeatMap) -> TableText:
    rows = tuple(
        (name, *(number(value) for value in values))
        for name, values in zip(heat_map.rows, heat_map.values, strict=True)
    )
    return TableText((heat_map.unit, *heat_map.columns), rows)
