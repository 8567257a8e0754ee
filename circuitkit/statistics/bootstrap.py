"""95 % intervals over pairs, by bootstrap. Pairs are resampled whole, so paired data stay paired.

Of means, and of ratios of means such as a share of the gap:

    theta    = mean a / mean b;  of a mean, b = 1
    T(x)     = mean(a - x b) / (sd(a - x b) / sqrt(n))
    interval = every x with  lower <= T(x) <= upper          Fieller 1954, J. R. Stat. Soc. B 16:175
    lower, upper = the wider of Student's quantiles and those of T over resamples of a - theta b
                             the bootstrap-t: Efron 1981; Hall 1988, Ann. Stat. 16:927, section 2

Of any other statistic: bias-corrected and accelerated (BCa), by SciPy. Efron 1987, J. Am. Stat.
Assoc. 82:171.

A spread is seen only once rare pairs are: where few of many fail, a sample without them is sure of
itself. Of n pairs, up to 3 / n may be unlike any seen (the rule of three: Hanley and Lippman-Hand
1983, J. Am. Med. Assoc. 249:1743). So no interval of a share of the gap is narrower than
theta ± 3 / n, as if those pairs lost the whole gap or won another; and where all values, or all
resamples, are alike, none is narrower than 3 / n of the value. What is exactly nothing on every
pair, as the change from a circuit to itself, is nothing. Pairs in clusters are summed
(clusters.py), and n counts clusters.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap, t

from circuitkit.errors import CriterionError
from circuitkit.statistics.clusters import Clusters, cluster_rows, cluster_sums

Values = NDArray[np.float64]
Statistic = Callable[..., Values]
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
N_RESAMPLES = 1999
MIN_PAIRS = 3
UNSEEN = 3.0  # of n pairs, how many may be unlike any seen
ALIKE = 1e-6  # relative: values that differ by rounding alone


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval, and the number of pairs behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mean_estimate(
    values: Values | list[float], *, clusters: Clusters | None = None, seed: int = 0
) -> Estimate:
    """Return the mean over pairs with its interval.

    Raises:
        CriterionError: fewer than MIN_PAIRS pairs or clusters, or values that are not finite.
    """
    column = np.asarray(values, dtype=np.float64)
    return _estimate(column, np.ones_like(column), clusters, 0.0, seed)


def share_of_whole(
    change: Values, whole: Values, *, clusters: Clusters | None = None, seed: int = 0
) -> Estimate:
    """Return mean change / mean whole, a share of the gap, with its interval.

    Raises:
        CriterionError: as `mean_estimate`.
    """
    return _estimate(change, whole, clusters, UNSEEN, seed)


def estimate(
    columns: Sequence[Values],
    statistic: Statistic,
    *,
    clusters: Clusters | None = None,
    seed: int = 0,
) -> Estimate:
    """Return a statistic of paired columns with its BCa interval.

    `statistic` takes the columns and `axis`, as NumPy's reductions do; with clusters it must be
    made of ratios of means.

    Raises:
        CriterionError: fewer than MIN_PAIRS pairs or clusters, or values that are not finite.
    """
    columns = [cluster_rows(column, clusters) for column in columns]
    n = len(columns[0])
    _require_spread(n, columns)
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
    least = UNSEEN / n * abs(value) if low == high else 0.0
    return Estimate(value, min(low, value - least), max(high, value + least), n)


def ratio_of_means(change: Values, whole: Values, axis: int = -1) -> Values:
    """Return the mean of one column over that of another, as a statistic of `estimate`."""
    return np.asarray(change.mean(axis=axis) / whole.mean(axis=axis))


def resampled_t(centred: Values, seed: int = 0) -> Values:
    """Return T of resamples of rows whose mean is zero, [resample, row]: pairs drawn together.

    The variance of a resample is at least 1 / n of the row's: one that misses all spread is no
    proof that there is none.
    """
    n = centred.shape[1]
    counts = _counts(n, seed)
    means = counts @ centred.T / n
    variances = (counts @ (centred**2).T / n - means**2) * (n / (n - 1))
    least = np.maximum(centred.var(1, ddof=1) / n, np.finfo(np.float64).tiny)
    return np.asarray(means / np.sqrt(np.maximum(variances, least) / n))


@lru_cache(maxsize=4)
def _counts(n: int, seed: int) -> Values:
    """Return how often each of `n` pairs is in each resample."""
    drawn = np.random.default_rng(seed).integers(0, n, (N_RESAMPLES, n))
    return np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float64)


def _estimate(
    a: Values, b: Values, clusters: Clusters | None, unseen: float, seed: int
) -> Estimate:
    a, b = cluster_sums(np.stack([a, b]), clusters)
    n = len(a)
    _require_spread(n, (a, b))
    if b.mean() < 0:
        a, b = -a, -b
    value = float(a.mean() / b.mean())
    off = a - value * b
    least = unseen / n if a.any() else 0.0
    if off.std() <= ALIKE * abs(float(a.mean())):
        low = high = value
        least = max(least, UNSEEN / n * abs(value))
    else:
        low, high = _fieller(a, b, *_quantiles(off, seed))
    return Estimate(value, min(low, value - least), max(high, value + least), n)


def _require_spread(n: int, columns: Sequence[Values]) -> None:
    if n < MIN_PAIRS:
        raise CriterionError(
            f"interval: needs at least {MIN_PAIRS} pairs, got {n}. A spread cannot be seen in "
            "fewer. Raise --n, or add prompts."
        )
    if not all(np.isfinite(column).all() for column in columns):
        raise CriterionError(
            "interval: values must be finite, got NaN or infinity. A mean would be meaningless. "
            "Check the model's logits."
        )


def _quantiles(centred: Values, seed: int) -> tuple[float, float]:
    resampled = resampled_t(centred[None], seed)[:, 0]
    low, high = np.quantile(resampled, [TAIL, 1 - TAIL])
    student = float(t.ppf(1 - TAIL, len(centred) - 1))
    return min(float(low), -student), max(float(high), student)


def _fieller(a: Values, b: Values, lower: float, upper: float) -> tuple[float, float]:
    """Return the ends of the set of x with lower <= T(x) <= upper, where mean b is above zero.

    Where b could be zero at these quantiles the set has no ends: then those of a normal ratio with
    the spread of a - theta b are given.
    """
    n, mean_a, mean_b = len(a), float(a.mean()), float(b.mean())
    (var_a, both), (_, var_b) = np.cov(a, b) / n
    theta = mean_a / mean_b
    ends = []
    for q in (upper, lower):
        square = mean_b**2 - q**2 * var_b
        if square <= 0:
            ends.append(theta - q * float((a - theta * b).std(ddof=1)) / np.sqrt(n) / mean_b)
            continue
        half = mean_a * mean_b - q**2 * both
        root = np.sqrt(max(half**2 - square * (mean_a**2 - q**2 * var_a), 0.0))
        ends.append(float(half - np.sign(q) * root) / square)
    return float(ends[0]), float(ends[1])
