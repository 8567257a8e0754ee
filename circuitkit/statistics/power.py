"""Power: what a number of pairs can show.

    least difference seen = (z_.975 + z_.8) SE       at 5 % two-sided, with 80 % power
    pairs that would decide = n (half width / distance to the bound)^2

SE is that of a normal interval as wide as the one measured.
"""

import math

from scipy.stats import norm

from circuitkit.statistics.bootstrap import CONFIDENCE, Estimate
from circuitkit.statistics.bound import Bound

POWER = 0.8
Z = float(norm.ppf((1 + CONFIDENCE) / 2))


def least_difference(value: Estimate) -> float:
    """Return the smallest difference that this many pairs show with 80 % power."""
    error = (value.high - value.low) / (2 * Z)
    return (Z + float(norm.ppf(POWER))) * error


def least_visible(value: Estimate) -> str:
    """Return the power as a clause."""
    return f"with {value.n} pairs a difference under {least_difference(value):.2g} cannot be seen"


def pairs_to_decide(value: Estimate, bound: Bound) -> int | None:
    """Return about how many pairs would put the interval on one side; None if none would."""
    edges = [edge for edge in (bound.min, bound.max) if edge is not None]
    nearest = min(edges, key=lambda edge: abs(edge - value.value), default=value.value)
    distance = abs(nearest - value.value)
    if distance == 0 or value.n == 1:
        return None
    half = max(value.high - value.value, value.value - value.low)
    return math.ceil(value.n * (half / distance) ** 2)
