"""The door to the figures of a report: Matplotlib is loaded when the first one is drawn.

It takes a second to load, and there are machines on which it does not. Then a figure is what is
missing, as a PictureError that says so; everything else goes on.
"""

from collections.abc import Sequence
from types import ModuleType

from circuitkit.errors import PictureError
from circuitkit.study.method_comparison import MethodRow
from circuitkit.study.records import HeatMap
from circuitkit.validation.curve import Curve


def heat_map_svg(heat_map: HeatMap, whole: str = "Patching everything amounts to") -> str:
    """Return the heat map as SVG, as plots.py draws it; `whole` says what its gap is.

    Raises:
        PictureError: Matplotlib cannot be loaded.
    """
    return str(_plots().heat_map_svg(heat_map, whole))


def curve_svg(curve: Curve, threshold: float, n_edges_chosen: int) -> str:
    """Return faithfulness over the number of edges as SVG, as plots.py draws it.

    Raises:
        PictureError: Matplotlib cannot be loaded.
    """
    return str(_plots().curve_svg(curve, threshold, n_edges_chosen))


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
