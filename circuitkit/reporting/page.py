"""A layout of Graphviz (-Tjson) drawn by Matplotlib on a page of its size, as PNG or PDF.

Graphviz lists what to draw as operations in points, y going up: pens, fills, polygons, curves and
text (https://graphviz.org/docs/outputs/json/); a capital letter is a shape that is filled. Text is
set in Matplotlib's own DejaVu Sans, so it is seen on machines without fonts, and shrunk where the
layout has less room for it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Ellipse, PathPatch
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

from circuitkit.reporting.plots import drawing

POINTS = 72  # an inch
DOTS = 144  # of a PNG, an inch
PARTS = ("_draw_", "_tdraw_", "_hdraw_", "_ldraw_", "_tldraw_", "_hldraw_")
NO_DATES: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
LINES = {"solid": "-", "dashed": "--", "dotted": ":"}
ALIGNED = {"l": "left", "c": "center", "r": "right"}
BOLD = 1
FILLED = "EPB"


@dataclass(frozen=True)
class Pen:
    """How the next thing is drawn."""

    colour: str = "#000000"
    fill: str = "#000000"
    line: str = "-"
    width: float = 1.0
    size: float = 14.0
    face: str = "DejaVu Sans"
    weight: str = "normal"


def page_of(layout: str | bytes, format: Literal["png", "pdf"]) -> bytes:
    """Return the layout drawn; the same layout gives the same bytes."""
    graph = json.loads(layout, parse_int=float)
    left, bottom, right, top = _frame(graph)
    with drawing(), mpl.rc_context({"pdf.fonttype": 42}):  # text stays text
        size = ((right - left) / POINTS, (top - bottom) / POINTS)
        figure = Figure(figsize=size, dpi=DOTS)
        FigureCanvasAgg(figure)
        axes: Axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(bottom, top))
        axes.set_axis_off()
        nodes = [each for each in graph.get("objects", []) if "nodes" not in each]
        for number, each in enumerate((graph, *graph.get("edges", []), *nodes)):
            for part in PARTS:
                _draw(axes, each.get(part, []), number)
        page = BytesIO()
        figure.savefig(page, format=format, metadata=NO_DATES[format])
        return page.getvalue()


def _frame(graph: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return the page's edges: those of the background, which is larger than what is on it."""
    for operation in graph.get("_draw_", []):
        if operation["op"] == "P":
            xs, ys = zip(*operation["points"], strict=True)
            return float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))
    left, bottom, right, top = map(float, graph["bb"].split(","))
    return left, bottom, right, top


def _draw(axes: Axes, operations: Iterable[Mapping[str, Any]], order: int) -> None:
    pen = Pen()
    for operation in operations:
        kind = operation["op"]
        if kind in "cCSFt":
            pen = _changed(pen, operation)
        elif kind in "Ee":
            x, y, half_width, half_height = operation["rect"]
            oval = Ellipse((x, y), 2 * half_width, 2 * half_height, **_look(pen, kind in FILLED))
            axes.add_artist(oval).set_zorder(order)
        elif kind in "PpLBb":
            shape = PathPatch(_path(kind, operation["points"]), **_look(pen, kind in FILLED))
            axes.add_artist(shape).set_zorder(order)
        elif kind == "T":
            _write(axes, operation, pen, order)


def _changed(pen: Pen, operation: Mapping[str, Any]) -> Pen:
    kind = operation["op"]
    if kind == "c":
        return replace(pen, colour=operation["color"])
    if kind == "C":
        return replace(pen, fill=operation["color"])
    if kind == "F":
        mono = operation["face"].startswith("Courier")
        face = "DejaVu Sans Mono" if mono else "DejaVu Sans"
        return replace(pen, size=operation["size"], face=face)
    if kind == "t":
        return replace(pen, weight="bold" if int(operation["fontchar"]) & BOLD else "normal")
    style: str = operation["style"]
    if style.startswith("setlinewidth("):
        return replace(pen, width=float(style[len("setlinewidth(") : -1]))
    return replace(pen, line=LINES.get(style, pen.line))


def _look(pen: Pen, filled: bool) -> dict[str, Any]:
    return {
        "edgecolor": pen.colour,
        "facecolor": pen.fill if filled else "none",
        "linestyle": pen.line,
        "linewidth": pen.width,
        "joinstyle": "miter",
    }


def _path(kind: str, points: Sequence[Sequence[float]]) -> Path:
    if kind in "Bb":
        return Path(points, [Path.MOVETO, *[Path.CURVE4] * (len(points) - 1)])
    closed = kind != "L"
    return Path([*points, points[0]] if closed else points, closed=closed)


def _write(axes: Axes, operation: Mapping[str, Any], pen: Pen, order: int) -> None:
    text = operation["text"].strip()
    font = FontProperties(family=pen.face, weight=pen.weight, size=pen.size)
    width, _, _ = text_to_path.get_text_width_height_descent(operation["text"], font, False)
    if width > operation["width"] > 0:
        font.set_size(pen.size * operation["width"] / width)
    x, y = operation["pt"]
    aligned = ALIGNED[operation["align"]]
    axes.text(x, y, text, ha=aligned, fontproperties=font, color=pen.colour, zorder=order)
