"""The picture of a comparison of methods: faithfulness over circuit size, one line a method."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from circuitkit.reporting.plots import drawing, svg_of
from circuitkit.study.method_comparison import MethodRow
from circuitkit.validation.areas import FRACTIONS

MARKS = "osv^D<>Pp*hX8dH+"
N_COLOURS = 10


def comparison_svg(rows: Sequence[MethodRow], task: str, model: str) -> str:
    """Return faithfulness over circuit size as SVG, one line a method."""
    with drawing():
        figure = Figure(figsize=(8.5, 5.2), layout="constrained")
        axes = figure.add_subplot()
        for number, row in enumerate(rows):
            colour, mark = style_of(number)
            label = f"{row.method} ({row.areas.cmd:.3f})"
            axes.plot(FRACTIONS, row.areas.faithfulness, color=colour, marker=mark, label=label)
        axes.axhline(1.0, color="#222222", linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
        axes.set_ylim(-0.5, 2.0)
        axes.set_xlabel("share of edges kept (log scale)")
        axes.set_ylabel("faithfulness under resample ablation")
        axes.set_title(f"{task} on {model}: methods by CMD, less is better")
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        return svg_of(figure)


def style_of(number: int) -> tuple[str, str]:
    """Return the colour and the mark of a line: both begin again, so that no line is left out."""
    return f"C{number % N_COLOURS}", MARKS[number % len(MARKS)]
