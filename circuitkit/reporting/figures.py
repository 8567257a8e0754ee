"""The door to the figures of a report: Matplotlib is loaded when the first one is drawn.

It takes a second to load, and there are machines on which it does not. Then a figure is what is
missing, as a PictureError that says so; everything else goes on.
"""

from collections.abc import Sequence
from types import ModuleType

from circuitkit.control.foretelling.calibration import Calibration
from circuitkit.control.foretelling.foretell import Foretold
from circuitkit.errors import PictureError
from circuitkit.interpretation.section import Bars, HeatMap, LineChart
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.method_comparison import MethodRow
from circuitkit.validation.curve import Curve


def heat_map_svg(heat_map: HeatMap) -> str:
    """Return the heat map as SVG, as plots.py draws it.

    Raises:
        PictureError: Matplotlib cannot be loaded.
    """
    return str(_plots().heat_map_svg(heat_map))


def curve_svg(curve: Curve, threshold: float, n_edges_chosen: int) -> str:
    """Return faithfulness over the number of edges as SVG, as plots.py draws it.

    Raises:
        PictureError: Matplotlib cannot be loaded.
    """
    return str(_plots().curve_svg(curve, threshold, n_edges_chosen))


def foretold_svg(
    foretold: Foretold, outcomes: Sequence[Estimate], found: Calibration, title: str
) -> str:
    """Return outcomes over what was foretold as SVG, as foretold_plot.py draws them.

    Raises:
        PictureError: Matplotlib cannot be loaded.
    """
    _plots()
    from circuitkit.reporting import foretold_plot

    return foretold_plot.foretold_svg(foretold, outcomes, found, title)


def bars_svg(bars: Bars) -> str:
    """Return bars as SVG, as charts.py draws them.

    Raises:
        PictureError: Matplotlib cannot be loaded.
    """
    _plots()
    from circuitkit.reporting import charts

    return charts.bars_svg(bars)


def line_chart_svg(chart: LineChart) -> str:
    """Return a line chart as SVG, as charts.py draws it.

    Raises:
        PictureError: Matplotlib cannot be loaded.
    """
    _plots()
    from circuitkit.reporting import charts

    return charts.line_chart_svg(chart)


def line_chart_png(chart: LineChart) -> bytes:
    """Return a line chart as PNG, as charts.py draws it.

    Raises:
        PictureError: Matplotlib cannot be loaded.
    """
    _plots()
    from circuitkit.reporting import charts

    return charts.line_chart_png(chart)


def comparison_svg(rows: Sequence[MethodRow], task: str, model: str) -> str:
    """Return faithfulness over circuit size as SVG, one line a method, as method_plot.py draws it.

    Raises:
        PictureError: Matplotlib cannot be loaded.
    """
    _plots()
    from circuitkit.reporting import method_plot

    return method_plot.comparison_svg(rows, task, model)


def _plots() -> ModuleType:
    try:
        from circuitkit.reporting import plots
    except Exception as error:  # what a library says that cannot load is anyone's guess
        raise PictureError("svg", loading_failed(error), "matplotlib") from error
    return plots


def loading_failed(error: Exception) -> str:
    """Return what went wrong when Matplotlib was asked, in one line."""
    said = str(error).strip().splitlines() or [""]
    return f"Matplotlib failed ({type(error).__name__}: {said[0]})"
