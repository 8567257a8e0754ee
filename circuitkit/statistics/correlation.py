"""Correlations of two columns: of values (Pearson), and of ranks (Spearman)."""

import numpy as np
from scipy.stats import rankdata

from circuitkit.statistics.bootstrap import Values


def rank_correlation(a: Values, b: Values, axis: int = -1) -> Values:
    """Return Spearman's correlation, with mean ranks for ties; 0 where one side is constant."""
    return linear_correlation(rankdata(a, axis=axis), rankdata(b, axis=axis), axis)


def linear_correlation(a: Values, b: Values, axis: int = -1) -> Values:
    """Return Pearson's correlation; 0 where one side is constant."""
    a, b = (x - x.mean(axis=axis, keepdims=True) for x in (a, b))
    norms = np.sqrt((a**2).sum(axis=axis) * (b**2).sum(axis=axis))
    both = (a * b).sum(axis=axis)
    return np.asarray(np.divide(both, norms, out=np.zeros_like(both), where=norms > 0))
