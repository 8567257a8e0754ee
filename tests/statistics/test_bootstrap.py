import numpy as np
import pytest

from circuitkit.errors import CriterionError
from circuitkit.statistics.bootstrap import Estimate, estimate, mean_estimate


def test_interval_of_a_mean_holds_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    held = 0
    n_trials = 300
    for _ in range(n_trials):
        found = mean_estimate(rng.exponential(2.0, size=50))
        held += found.low <= 2.0 <= found.high
    assert 0.90 <= held / n_trials <= 0.985


def test_interval_narrows_with_the_square_root_of_n():
    rng = np.random.default_rng(1)
    small, large = (mean_estimate(rng.normal(size=n)) for n in (50, 800))
    ratio = (small.high - small.low) / (large.high - large.low)
    assert ratio == pytest.approx(4, rel=0.35)


def test_pairs_are_resampled_together():
    rng = np.random.default_rng(2)
    base = rng.normal(10, 5, size=60)
    paired = estimate((base + 1, base), lambda a, b, axis: a.mean(axis) - b.mean(axis))
    assert paired.value == pytest.approx(1)
    assert paired.high - paired.low < 1e-6  # unpaired it would be about 4


def test_equal_values_give_a_point():
    assert mean_estimate([2.5] * 10) == Estimate(2.5, 2.5, 2.5, 10)


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(3).normal(size=20)
    assert mean_estimate(values) == mean_estimate(values)
    assert mean_estimate(values, seed=1) != mean_estimate(values, seed=2)


def test_too_few_pairs_and_values_that_are_not_finite_are_refused():
    with pytest.raises(CriterionError, match="at least 3 pairs, got 2"):
        mean_estimate([1.0, 2.0])
    with pytest.raises(CriterionError, match="must be finite"):
        mean_estimate([1.0, np.nan, 2.0])
