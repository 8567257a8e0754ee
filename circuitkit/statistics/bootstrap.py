"""95 % bootstrap intervals over pairs: bias-corrected and accelerated (BCa), by SciPy.

Efron 1987, J. Am. Stat. Assoc. 82:171. Pairs are resampled whole, so paired data stay paired.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, binomtest, bootstrap

from circuitkit.errors import CriterionError

Values = NDArray[np.float64]
Statistic = Callable[..., Values]
CONFIDENCE = 0.95
N_RESAMPLES = 2000
MIN_PAIRS = 3


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval, and the number of pairs behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mean_estimate(values: Sequence[float] | Values, *, seed: int = 0) -> Estimate:
    """Return the mean over pairs with its interval.

    Raises:
        CriterionError: fewer than MIN_PAIRS values.
    """
    return estimate((np.asarray(values, dtype=np.float64),), _mean, seed=seed)


def share_estimate(count: int, n: int) -> Estimate:
    """Return the share `count` of `n` with its exact interval (Clopper and Pearson 1934)."""
    interval = binomtest(count, n).proportion_ci(CONFIDENCE)
    return Estimate(count / n, float(interval.low), float(interval.high), n)


def estimate(columns: Sequence[Values], statistic: Statistic, *, seed: int = 0) -> Estimate:
    """Return a statistic of paired columns with its interval.

    `statistic` takes the columns and `axis`, as NumPy's reductions do. Where BCa is not defined
    (all resamples alike), the interval is the point itself.

    Raises:
        CriterionError: fewer than MIN_PAIRS pairs, or values that are not finite.
    """
    n = len(columns[0])
    if n < MIN_PAIRS:
        raise CriterionError(
            f"interval: needs at least {MIN_PAIRS} pairs, got {n}. A spread cannot be seen in "
            "fewer. Raise --n."
        )
    if not all(np.isfinite(column).all() for column in columns):
        raise CriterionError(
            "interval: values must be finite, got NaN or infinity. A mean would be meaningless. "
            "Check the model's logits."
        )
    value = float(statistic(*columns, axis=-1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        result = bootstrap(
            columns,
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=N_RESAMPLES,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    low, high = map(float, result.confidence_interval)
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = map(float, np.percentile(result.bootstrap_distribution, [2.5, 97.5]))
    return Estimate(value, low, high, n)


def ratio_of_means(change: Values, whole: Values, axis: int = -1) -> Values:
    """Return the mean of one column over that of another, as a statistic of `estimate`."""
    return np.asarray(change.mean(axis=axis) / whole.mean(axis=axis))


def _mean(values: Values, axis: int = -1) -> Values:
    return np.asarray(np.mean(values, axis=axis))
