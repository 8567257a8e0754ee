"""The picture of a comparison of methods: faithfulness over circuit size, one line a method."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from circuitkit.reporting.plots import drawing, svg_of
from circuitkit.study.method_comparison import MethodRow
from circuitkit.validation.areas import FRACTIONS

MARKS = "osv^D<>Pp*hX8dH+"
N_COLOURS = 10
STROKES = ("-", "--", ":")


def comparison_svg(rows: Sequence[MethodRow], task: str, model: str) -> str:
    """Return faithfulness over circuit size as SVG, one line a method."""
    with drawing():
        figure = Figure(figsize=(8.5, 5.2), layout="constrained")
        axes = figure.add_subplot()
        for number, row in enumerate(rows):
            style = style_of(number)
            label = f"{row.method} ({row.areas.cmd:.3f})"
            axes.plot(
                FRACTIONS,
                row.areas.faithfulness,
                color=style["color"],
                marker=style["marker"],
                linestyle=style["linestyle"],
                label=label,
            )
        axes.axhline(1.0, color="#222222", linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
        axes.set_ylim(-0.5, 2.0)
        axes.set_xlabel("share of edges kept (log scale)")
        axes.set_ylabel("faithfulness under resample ablation")
        axes.set_title(f"{task} on {model}: methods by CMD, less is better")
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        return svg_of(figure)


def style_of(number: int) -> dict[str, str]:
    """Return how a line is drawn: its colour, mark and stroke.

    A colour that comes again has another stroke, so that no two of thirty lines look alike.
    """
    return {
        "color": f"C{number % N_COLOURS}",
        "marker": MARKS[number % len(MARKS)],
        "linestyle": STROKES[number // N_COLOURS % len(STROKES)],
    }
