"""The picture of what a circuit foretold: outcomes over predictions, one mark an intervention."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from circuitkit.control.foretelling.calibration import Calibration
from circuitkit.control.foretelling.foretell import Foretold
from circuitkit.reporting.method_plot import style_of
from circuitkit.reporting.plots import GRID, INK, drawing, svg_of
from circuitkit.statistics.bootstrap import Estimate

N_NAMED = 3


def foretold_svg(
    foretold: Foretold, outcomes: Sequence[Estimate], found: Calibration, title: str
) -> str:
    """Return outcomes over what was foretold as SVG, with 95 % intervals and the diagonal."""
    kinds = [each.kind for each in foretold.interventions]
    with drawing():
        figure = Figure(figsize=(7.2, 6.2), layout="constrained")
        axes = figure.add_subplot()
        for number, kind in enumerate(dict.fromkeys(kinds)):
            own = [n for n, each in enumerate(kinds) if each == kind]
            said, happened = ([some[n] for n in own] for some in (foretold.shares, outcomes))
            style = style_of(number)
            axes.errorbar(
                [each.value for each in said],
                [each.value for each in happened],
                xerr=_reach(said),
                yerr=_reach(happened),
                fmt=style["marker"],
                color=style["color"],
                ecolor=GRID,
                markersize=5,
                label=kind,
            )
        ends = [v for e in (*foretold.shares, *outcomes) for v in (e.low, e.high)]
        low, high = min(*ends, 0.0), max(*ends, 0.0)
        axes.plot((low, high), (low, high), color=INK, linewidth=0.8, linestyle=":", zorder=0)
        for each in found.surprises[:N_NAMED]:
            at = (each.foretold.value, each.outcome.value)
            axes.annotate(each.name, at, (6, 4), textcoords="offset points", fontsize=8)
        axes.set_xlabel("foretold by the circuit: share of the gap that is lost")
        axes.set_ylabel("outcome in the whole model: share of the gap that is lost")
        axes.set_title(f"{title}\nrank correlation {found.correlation}, n = {found.n}")
        axes.legend(fontsize=8, loc="best")
        return svg_of(figure)


def _reach(found: Sequence[Estimate]) -> np.ndarray:
    return np.array([[e.value - e.low for e in found], [e.high - e.value for e in found]])
