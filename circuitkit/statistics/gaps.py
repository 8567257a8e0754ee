"""The gap m(M) - m(0): what ablating everything costs, and the denominator of every share of it."""

import numpy as np

from circuitkit.errors import VanishingGapError
from circuitkit.metrics import Metric
from circuitkit.statistics.bootstrap import Values, mean_estimate
from circuitkit.statistics.clusters import Clusters

ROUNDING = 1e-5  # relative: what float32 runs of one circuit may differ by


def require_gap(
    full: Values, empty: Values, ablation: str, metric: Metric, clusters: Clusters | None = None
) -> None:
    """Refuse to divide by a difference that may be zero, or is mere rounding.

    Raises:
        VanishingGapError: its 95 % interval holds zero, or it is below ROUNDING of the values.
    """
    gap = mean_estimate(full - empty, clusters=clusters)
    dust = dust_of(full, empty)
    if gap.low <= 0 <= gap.high or abs(gap.value) <= dust:
        raise VanishingGapError(
            f"faithfulness under {ablation} ablation: {metric.name} of the model and of the empty "
            f"circuit must differ, got a difference of {gap} over {gap.n} pairs. It is the "
            "denominator. Use more pairs (--n), another ablation, or a task the model can do."
        )


def dust_of(full: Values, empty: Values) -> float:
    """Return the difference up to which two values count as equal, in the metric's unit."""
    return ROUNDING * float(np.abs(full).mean() + np.abs(empty).mean())
