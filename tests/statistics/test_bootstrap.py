import numpy as np
import pytest
from scipy.stats import t

from circuitkit.errors import CriterionError
from circuitkit.statistics.bootstrap import (
    Estimate,
    estimate,
    mean_estimate,
    ratio_of_means,
    share_of_whole,
)


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


def test_equal_values_leave_room_for_three_pairs_that_nobody_saw():
    assert mean_estimate([2.5] * 10) == Estimate(2.5, 1.75, 3.25, 10)
    found = mean_estimate(2.5 + 1e-9 * np.arange(10))  # rounding is no spread
    assert (found.low, found.high) == pytest.approx((1.75, 3.25))
    assert mean_estimate([0.0] * 10) == Estimate(0.0, 0.0, 0.0, 10)
    assert estimate((np.full(10, 2.5),), lambda v, axis: v.mean(axis)).low == 1.75


def skewed(rng, n):
    """Return changes and gaps of pairs of which few keep little: like a trained circuit's."""
    gap = 4 + rng.normal(0, 1.2, n)
    return gap * (1 - rng.gamma(0.5, 0.26, n)), gap


@pytest.mark.parametrize("n", [16, 32, 64])
def test_a_share_of_the_gap_is_covered_also_in_few_pairs_of_which_few_fail(n):
    rng, truth = np.random.default_rng(n), 0.87
    trials = [skewed(rng, n) for _ in range(400)]
    new = [share_of_whole(*trial) for trial in trials]
    assert np.mean([found.low <= truth <= found.high for found in new]) >= 0.93
    if n < 64:  # what BCa does there
        old = [estimate(trial, ratio_of_means) for trial in trials[:150]]
        assert np.mean([found.low <= truth <= found.high for found in old]) < 0.92


@pytest.mark.parametrize("lean", [-1, 0, 1])
def test_at_the_ends_t_is_the_wider_of_students_quantile_and_the_resamples(lean):
    rng = np.random.default_rng(7)
    b = rng.normal(3, 1, 25)
    a = 0.5 * b + (rng.uniform(-4, 4, 25) if lean == 0 else 4 * lean * rng.exponential(1, 25))
    found = share_of_whole(a, b)
    off = (a - found.value * b)[rng.integers(0, 25, (40000, 25))]
    drawn = off.mean(1) / (off.std(1, ddof=1) / 5)
    student, (low, high) = t.ppf(0.975, 24), np.quantile(drawn, [0.025, 0.975])

    def statistic(x):
        return (a - x * b).mean() / ((a - x * b).std(ddof=1) / 5)

    assert found.value == pytest.approx(a.mean() / b.mean())
    assert statistic(found.low) == pytest.approx(max(high, student), abs=0.25)
    assert statistic(found.high) == pytest.approx(min(low, -student), abs=0.25)
    if lean:
        assert max(high, -low) > student + 0.3
    flipped = share_of_whole(-a, -b)
    assert (flipped.low, flipped.high) == pytest.approx((found.low, found.high))


def test_a_share_of_the_gap_is_never_surer_than_three_pairs_that_nobody_saw():
    gap = np.full(60, 2.0) + np.linspace(0, 0.1, 60)
    found = share_of_whole(gap, gap)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 0.95, 1.05))
    little = share_of_whole(1e-9 * gap, gap)
    assert (little.low, little.high) == pytest.approx((-0.05, 0.05))
    assert share_of_whole(0 * gap, gap) == Estimate(0.0, 0.0, 0.0, 60)  # nothing is nothing


def test_a_denominator_near_zero_gives_a_wide_interval_that_is_finite():
    rng = np.random.default_rng(2)
    found = share_of_whole(rng.normal(1, 1, 16), rng.normal(0.4, 1, 16))
    assert np.isfinite([found.low, found.high]).all()


def test_clusters_are_resampled_whole_and_the_ratio_is_that_of_all_pairs():
    rng = np.random.default_rng(3)
    held = {"clusters": 0, "pairs": 0}
    for _ in range(300):
        clusters = np.repeat(np.arange(15), 6)
        shared = np.repeat(rng.normal(0, 1, 15), 6)
        values = 1 + shared + rng.normal(0, 0.3, 90)
        aware, blind = mean_estimate(values, clusters=clusters), mean_estimate(values)
        assert aware.value == pytest.approx(values.mean())
        assert aware.n == 15
        held["clusters"] += aware.low <= 1 <= aware.high
        held["pairs"] += blind.low <= 1 <= blind.high
    assert held["clusters"] >= 0.92 * 300
    assert held["pairs"] < 0.75 * 300


def test_clusters_of_unequal_size_keep_the_mean_over_pairs_in_every_interval():
    rng = np.random.default_rng(4)
    clusters = np.array([0] * 9 + [1] * 2 + [2, 3, 4, 5] * 3)
    a, b = rng.normal(2, 0.1, 23), rng.normal(4, 0.1, 23)
    found = estimate((a, b), ratio_of_means, clusters=clusters)
    assert found.value == pytest.approx(a.mean() / b.mean())
    assert found.value == pytest.approx(share_of_whole(a, b, clusters=clusters).value)
    assert found.n == 6


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(3).normal(size=20)
    assert mean_estimate(values) == mean_estimate(values)
    assert mean_estimate(values, seed=1) != mean_estimate(values, seed=2)


def test_too_few_pairs_and_values_that_are_not_finite_are_refused():
    with pytest.raises(CriterionError, match="at least 3 pairs, got 2"):
        mean_estimate([1.0, 2.0])
    with pytest.raises(CriterionError, match="must be finite"):
        mean_estimate([1.0, np.nan, 2.0])
