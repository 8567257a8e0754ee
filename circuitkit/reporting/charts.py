"""Bars and line charts of findings as SVG text, in the style of plots.py, behind figures.py."""

import textwrap
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from circuitkit.interpretation.section import Bars, LineChart
from circuitkit.reporting.plots import CIRCUIT, GRID, INK, LIMIT, drawing, svg_of
from circuitkit.statistics.bootstrap import Estimate

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
STYLES = ("-", "--", ":", "-.")


def bars_svg(bars: Bars) -> str:
    """Return horizontal bars as SVG: blue supports the behaviour, red opposes it."""
    values = np.array([each.value for each in bars.values])
    places = np.arange(len(values))
    with drawing():
        figure = Figure(figsize=(7.2, 1.5 + 0.27 * len(values)), layout="constrained")
        axes: Axes = figure.add_subplot()
        colours = [CIRCUIT if value >= 0 else LIMIT for value in values]
        axes.barh(places, values, color=colours, height=0.7)
        axes.errorbar(
            values, places, xerr=_errors(bars.values), fmt="none", ecolor=INK, capsize=2, lw=1
        )
        axes.set_yticks(places, bars.labels)
        axes.invert_yaxis()
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.set_xlabel(bars.unit)
        _around(figure, axes, f"{bars.name}: {bars.description}")
        return svg_of(figure)


def line_chart_svg(chart: LineChart) -> str:
    """Return lines with their 95 % intervals as SVG; colour and dashes tell them apart."""
    with drawing():
        return svg_of(_line_figure(chart))


def line_chart_png(chart: LineChart) -> bytes:
    """Return the same as PNG."""
    buffer = BytesIO()
    with drawing():
        figure = _line_figure(chart)
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _line_figure(chart: LineChart) -> Figure:
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes: Axes = figure.add_subplot()
    for number, line in enumerate(chart.lines):
        axes.errorbar(
            chart.x,
            [each.value for each in line.values],
            yerr=_errors(line.values),
            color=COLOURS[number % len(COLOURS)],
            linestyle=STYLES[number % len(STYLES)],
            marker="o",
            markersize=4,
            capsize=2,
            label=line.label,
        )
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.unit)
    axes.legend(frameon=False, fontsize=9)
    _around(figure, axes, f"{chart.name}: {chart.description}")
    return figure


def _errors(values: tuple[Estimate, ...]) -> NDArray[np.float64]:
    """Return the lengths of bars below and above; an interval need not hold its own value."""
    below = [max(each.value - each.low, 0.0) for each in values]
    above = [max(each.high - each.value, 0.0) for each in values]
    return np.array([below, above])


def _around(figure: Figure, axes: Axes, title: str) -> None:
    figure.suptitle(textwrap.fill(title, 80), x=0.02, ha="left", fontsize=10.5)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
