"""Shares of pairs: exact intervals, which do not collapse where every pair is a hit.

    interval = Clopper and Pearson's for  x = p n*  hits of  n*  draws  (1934, Biometrika 26:404)
    n*       = n where pairs are independent; in clusters, what a simple sample would have needed:
               p (1 - p) / var(p),  times (t_{n-1} / t_{m-1})^2 for m clusters, and m where p is
               0 or 1                 Korn and Graubard 1998, Survey Methodology 24:193, section 3

A share has no tail that a bootstrap could miss, but one: with all hits, every resample is the same.
"""

import numpy as np
from scipy.stats import beta, t

from circuitkit.errors import CriterionError
from circuitkit.statistics.bootstrap import MIN_PAIRS, TAIL, Estimate, Values
from circuitkit.statistics.clusters import Clusters, cluster_sums


def share_estimate(count: float | int, n: float | int) -> Estimate:
    """Return the share `count` of `n` with its interval. Half a hit counts half."""
    low = float(beta.ppf(TAIL, count, n - count + 1)) if count > 0 else 0.0
    high = float(beta.ppf(1 - TAIL, count + 1, n - count)) if count < n else 1.0
    return Estimate(count / n, low, high, round(n))


def share_of(hits: Values, clusters: Clusters | None = None) -> Estimate:
    """Return the share of pairs that are hits (1; misses 0, ties one half) with its interval.

    Raises:
        CriterionError: fewer than MIN_PAIRS pairs or clusters.
    """
    sizes = cluster_sums(np.ones(len(hits)), clusters)
    n, m = len(hits), len(sizes)
    if m < MIN_PAIRS:
        raise CriterionError(
            f"share: needs at least {MIN_PAIRS} independent pairs, got {m}. A spread cannot be "
            "seen in fewer. Raise --n, or add prompts."
        )
    share = float(hits.mean())
    found = share_estimate(share * n, n)
    if m < n:
        effective = effective_n(hits, clusters)
        found = share_estimate(share * effective, effective)
    return Estimate(share, found.low, found.high, m)


def effective_n(hits: Values, clusters: Clusters | None) -> float:
    """Return n*, how many independent pairs would say as much; n where each pair is its own."""
    sizes, summed = cluster_sums(np.stack([np.ones(len(hits)), hits]), clusters)
    n, m = float(len(hits)), len(sizes)
    if m == n:
        return n
    share = float(hits.mean())
    variance = m / (m - 1) * float(((summed - share * sizes) ** 2).sum()) / n**2
    if share in (0.0, 1.0):
        return float(m)
    independent = n if variance == 0 else min(n, share * (1 - share) / variance)
    return float(independent * (t.ppf(TAIL, n - 1) / t.ppf(TAIL, m - 1)) ** 2)
