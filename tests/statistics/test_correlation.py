"""Correlations of values and of ranks, many at once."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from circuitkit.statistics.correlation import linear_correlation, rank_correlation


def test_they_are_those_of_scipy_ties_and_all():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 20)).round(1), rng.normal(size=(3, 20)).round(1)
    for found, expected in ((rank_correlation, spearmanr), (linear_correlation, pearsonr)):
        each = [expected(x, y).statistic for x, y in zip(a, b, strict=True)]
        assert found(a, b) == pytest.approx(each)
    assert rank_correlation(a, b, axis=0).shape == (20,)


def test_a_constant_side_correlates_with_nothing():
    flat, other = np.ones(4), np.arange(4.0)
    assert rank_correlation(flat, other) == 0
    assert linear_correlation(other, flat) == 0
