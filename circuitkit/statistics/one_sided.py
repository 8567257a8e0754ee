"""The test that a mean over pairs is above zero, at its level where values are skewed.

    T = (mean w - ALLOWED u / n) / (sd w / sqrt(n)),   u = |mean of what a pair can lose|
    p = the larger of Student's tail of T and the share of resamples of w - mean w with a T as large

Both tails must be small: Student's fails where the data lean one way, the bootstrap-t where a small
sample does not show that they do. Half a pair that nobody saw, and that loses everything, keeps the
level where rare pairs fail. Efron 1981; Hall 1992, The Bootstrap and Edgeworth Expansion, 3.10.
"""

import numpy as np
from scipy.stats import t

from circuitkit.statistics.bootstrap import ALIKE, N_RESAMPLES, Values, resampled_t
from circuitkit.statistics.clusters import Clusters, cluster_sums

ALLOWED = 0.5  # of n pairs, how many that are unlike any seen the test allows for


def p_positive(
    values: Values, whole: Values, *, clusters: Clusters | None = None, seed: int = 0
) -> float:
    """Return the p-value of a mean that is not above zero; `whole` is what a pair can lose.

    Without any spread it is the chance of so many pairs that are not of the share which, losing the
    whole, would bring the mean to zero.
    """
    rows = cluster_sums(np.stack([values, np.broadcast_to(whole, values.shape)]), clusters)
    own, most = rows
    n, mean, unit = len(own), float(own.mean()), abs(float(most.mean()))
    error = float(own.std(ddof=1)) / np.sqrt(n)
    if error <= ALIKE * abs(mean):
        return (1 - min(max(mean / unit, 0.0), 1.0)) ** n
    statistic = (mean - ALLOWED / n * unit) / error
    resampled = resampled_t((own - mean)[None], seed)[:, 0]
    among = (1 + int((resampled >= statistic).sum())) / (1 + N_RESAMPLES)
    return float(max(t.sf(statistic, n - 1), among))
