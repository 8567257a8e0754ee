"""Figures of a report as SVG text: heat maps of exact effects, and the faithfulness curve.

Drawn through Matplotlib's object interface, so nothing global is left behind; the same data gives
the same text. Labels stay text: they can be searched, and are escaped by the SVG writer.
"""

import logging
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from circuitkit.interpretation.section import HeatMap
from circuitkit.validation.curve import Curve, CurvePoint
from circuitkit.work.text import plain

PAPER, INK, GRID = "#FCFCFA", "#222222", "#D8D8D4"
CHOSEN, CIRCUIT, RANDOM, LIMIT = "#CC79A7", "#0072B2", "#767676", "#D55E00"
COLOURS = "RdBu"
DARK = 0.65  # share of its ends from which that colour map is too dark for ink
MAX_COLUMNS_WITH_TEXT = 8
MAX_ROWS = 48
MAX_LABEL = 24
MIN_INCHES = 5.4
DIRECTIONS = {
    "noising": "noising: corrupted values in the clean run",
    "denoising": "denoising: clean values in the corrupted run",
}
_STYLE = {
    "svg.hashsalt": "circuitkit",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10.0,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.facecolor": PAPER,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


def heat_map_svg(heat_map: HeatMap) -> str:
    """Return the heat map as SVG: blue supports the behaviour, red opposes it, white is zero.

    Values are written into the cells of narrow maps, bold where the 95 % interval leaves out zero
    and what is written is not 0.
    Of more than MAX_ROWS rows only those with the largest effects are drawn, and a note says so.
    """
    values = np.asarray(heat_map.values, dtype=np.float64)
    rows = _strongest_rows(values)
    limit = float(np.abs(values).max(initial=0.0)) or 1.0
    with drawing():
        figure = Figure(figsize=_heat_map_size(heat_map, len(rows)), layout=_layout())
        axes: Axes = figure.add_subplot()
        cells = axes.pcolormesh(
            values[rows], cmap=COLOURS, vmin=-limit, vmax=limit, edgecolors=PAPER, linewidth=1
        )
        axes.invert_yaxis()
        _label_cells(axes, heat_map, rows)
        if len(heat_map.columns) <= MAX_COLUMNS_WITH_TEXT:
            _write_values(axes, heat_map, rows, limit)
        bar = figure.colorbar(cells, ax=axes, fraction=0.06, pad=0.02, aspect=max(8, len(rows)))
        bar.set_label(f"effect ({heat_map.unit})")
        bar.outline.set_visible(False)
        _write_around(figure, heat_map, len(rows))
        return svg_of(figure)


def curve_svg(curve: Curve, threshold: float, n_edges_chosen: int) -> str:
    """Return faithfulness over the number of edges as SVG, with random circuits for comparison.

    Bars on circuits are 95 % intervals, bars on random circuits go from the worst to the best.
    A very wide interval is cut at the frame, so that it cannot flatten the curve.
    """
    with drawing():
        figure = Figure(figsize=(8.2, 4.6), layout=_layout())
        axes: Axes = figure.add_subplot()
        _draw_levels(axes, threshold)
        _draw_random(axes, [point for point in curve.points if point.random])
        _draw_circuits(axes, curve.points)
        if n_edges_chosen > 0:
            label = f"this circuit: {n_edges_chosen} edges"
            axes.axvline(n_edges_chosen, color=CHOSEN, linewidth=2, zorder=1, label=label)
        _frame_curve(axes, curve, threshold, n_edges_chosen)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        return svg_of(figure)


@contextmanager
def drawing() -> Iterator[None]:
    """Set our style for a while; a glyph or font this machine lacks is the reader's to supply."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    with warnings.catch_warnings(), mpl.rc_context(_STYLE):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)


def svg_of(figure: Figure) -> str:
    """Return a figure as SVG text; the same figure gives the same text."""
    FigureCanvasSVG(figure)
    buffer = StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    return plain(buffer.getvalue())  # a control character in a name would make it no XML


def _strongest_rows(values: NDArray[np.float64]) -> list[int]:
    """Return the rows to draw, in their order: all, or the MAX_ROWS with the largest effects."""
    strength = np.abs(values).max(axis=1, initial=0.0)
    ranked = np.argsort(-strength, kind="stable")[:MAX_ROWS]
    return sorted(ranked.tolist())


def _heat_map_size(heat_map: HeatMap, n_rows: int) -> tuple[float, float]:
    """Return width and height in inches."""
    wide = len(heat_map.columns) > MAX_COLUMNS_WITH_TEXT
    width = 2.6 + len(heat_map.columns) * (0.36 if wide else 0.78)
    labels = 0.09 * _longest(heat_map.columns) if _is_crowded(heat_map.columns) else 0.2
    return min(max(width, MIN_INCHES), 16.0), 1.85 + 0.27 * n_rows + labels


def _longest(labels: Sequence[str]) -> int:
    return max((len(_short(label)) for label in labels), default=0)


def _is_crowded(labels: Sequence[str]) -> bool:
    """Return whether column labels must be turned to have room."""
    return _longest(labels) > (2 if len(labels) > MAX_COLUMNS_WITH_TEXT else 8)


def _write_around(figure: Figure, heat_map: HeatMap, n_rows: int) -> None:
    letters = int(figure.get_figwidth() * 11)  # that fit on a line at the title's size
    title = textwrap.fill(f"{heat_map.name}: {heat_map.description}", letters)
    direction = DIRECTIONS.get(heat_map.direction, heat_map.direction)
    figure.suptitle(f"{title}\n{direction}".rstrip(), x=0.02, ha="left", fontsize=10.5)
    whole = "Patching everything" if heat_map.direction else "The whole of it"
    note = (
        "Blue (positive) supports the behaviour, red opposes it.\n"
        f"{whole} amounts to {heat_map.whole:.3g} {heat_map.unit}."
    )
    if len(heat_map.columns) <= MAX_COLUMNS_WITH_TEXT:
        note += " Bold: 95 % interval without 0."
    if n_rows < len(heat_map.rows):
        note += f"\nThe {n_rows} rows with the largest effects of {len(heat_map.rows)} are shown."
    figure.supxlabel(note, fontsize=8.5, x=0.02, ha="left")


def _label_cells(axes: Axes, heat_map: HeatMap, rows: list[int]) -> None:
    columns = [_short(name) for name in heat_map.columns]
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=9)
    axes.set_yticks(
        np.arange(len(rows)) + 0.5, [_short(heat_map.rows[row]) for row in rows], fontsize=9
    )
    axes.tick_params(axis="x", labelrotation=90 if _is_crowded(columns) else 0)
    axes.tick_params(length=0)
    axes.set_xlabel(heat_map.axis)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_values(axes: Axes, heat_map: HeatMap, rows: list[int], limit: float) -> None:
    for y, row in enumerate(rows):
        for x, value in enumerate(heat_map.values[row]):
            text = _cell(value)
            clear = heat_map.low[row][x] > 0 or heat_map.high[row][x] < 0
            axes.text(
                x + 0.5,
                y + 0.5,
                text,
                ha="center",
                va="center",
                fontsize=8.5,
                fontweight="bold" if clear and text != "0" else "normal",
                color="white" if abs(value) > DARK * limit else INK,
            )


def _cell(value: float) -> str:
    """Return a value in at most six characters or so: 12, 1.2, 0.12, -0.00 as 0."""
    if abs(value) >= 1e4:
        return f"{value:.0e}"
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return "0" if float(text) == 0 else text


def _short(label: str) -> str:
    return label if len(label) <= MAX_LABEL else label[: MAX_LABEL - 1] + "…"


def _draw_levels(axes: Axes, threshold: float) -> None:
    axes.axhline(1, color=INK, linewidth=0.9, linestyle=(0, (1, 2)), label="1: the whole model")
    axes.axhline(0, color=INK, linewidth=0.9, label="0: the empty circuit")
    axes.axhline(
        threshold, color=LIMIT, linewidth=1.4, linestyle="--", label=f"threshold {threshold:.3g}"
    )


def _draw_random(axes: Axes, points: list[CurvePoint]) -> None:
    if not points:
        return
    means = np.array([point.random_mean for point in points])
    axes.errorbar(
        [point.n_edges for point in points],
        means,
        yerr=[
            means - [min(point.random) for point in points],
            [max(point.random) for point in points] - means,
        ],
        color=RANDOM,
        marker="s",
        markersize=4,
        linewidth=1.2,
        linestyle="--",
        elinewidth=1,
        capsize=3,
        label="random circuits: mean, worst to best",
    )


def _draw_circuits(axes: Axes, points: tuple[CurvePoint, ...]) -> None:
    values = np.array([point.faithfulness.value for point in points])
    below = [point.faithfulness.low for point in points]
    above = [point.faithfulness.high for point in points]
    axes.errorbar(
        [point.n_edges for point in points],
        values,
        # a bootstrap interval need not hold its own point; a bar cannot have negative length
        yerr=[np.maximum(values - below, 0), np.maximum(above - values, 0)],
        color=CIRCUIT,
        marker="o",
        markersize=5,
        linewidth=2,
        elinewidth=1.4,
        capsize=3,
        label="selected circuits, 95 % interval",
        zorder=3,
    )


def _frame_curve(axes: Axes, curve: Curve, threshold: float, n_edges_chosen: int) -> None:
    sizes = [point.n_edges for point in curve.points]
    axes.set_xscale("log")
    shown = [*sizes, n_edges_chosen] if n_edges_chosen > 0 else sizes
    axes.set_xlim(min(shown, default=1) / 1.3, max(shown, default=1) * 1.3)
    axes.set_xticks(_spread_out(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylim(*_height(curve, threshold))
    axes.set_xlabel(f"edges in the circuit, of {curve.n_edges_in_graph:,} (log scale)")
    axes.set_ylabel("faithfulness")
    axes.set_title(f"Under {curve.ablation} ablation", loc="left", fontsize=11)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _spread_out(sizes: list[int]) -> list[int]:
    """Return the sizes far enough apart on a log axis for their labels not to touch."""
    kept: list[int] = []
    step = (max(sizes, default=1) / min(sizes, default=1)) ** (1 / 14)
    for size in sorted(set(sizes)):
        if not kept or size >= kept[-1] * step:
            kept.append(size)
    return kept


def _height(curve: Curve, threshold: float) -> tuple[float, float]:
    """Return the y range: every value, 0, 1 and the threshold; intervals up to 0.5 beyond."""
    random = [value for point in curve.points for value in point.random]
    values = [point.faithfulness.value for point in curve.points]
    low = min([0.0, threshold, *values, *random])
    high = max([1.0, threshold, *values, *random])
    lows = [point.faithfulness.low for point in curve.points]
    highs = [point.faithfulness.high for point in curve.points]
    low = max(min([low, *lows]), low - 0.5)
    high = min(max([high, *highs]), high + 0.5)
    margin = 0.05 * (high - low)
    return low - margin, high + margin
