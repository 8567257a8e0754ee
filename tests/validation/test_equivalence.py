import math

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp

from circuitkit.statistics.bound import Bound
from circuitkit.validation.equivalence import (
    Equivalence,
    ShareEquivalence,
    above_zero,
    p_equivalent,
    p_even,
)
from circuitkit.validation.verdict import outcome_of

RNG = np.random.default_rng(0)


GAP = np.ones(23)


@pytest.mark.parametrize("mean", [-0.3, -0.1, 0.0, 0.15, 0.4])
def test_p_is_no_less_than_the_larger_of_two_one_sided_t_tests(mean):
    sample = RNG.normal(mean, 0.5, 23)
    tests = [ttest_1samp(0.2 + s * sample, 0.5 / 23, alternative="greater").pvalue for s in (1, -1)]
    assert p_equivalent(sample, GAP) >= max(tests) - 1e-12
    assert p_equivalent(sample, GAP) == pytest.approx(max(tests), abs=0.06)


def test_a_margin_that_is_measured_is_tested_with_its_own_spread():
    gap, difference = RNG.normal(1, 1, 40), RNG.normal(0.1, 0.1, 40)
    assert p_equivalent(difference, gap) > p_equivalent(difference, np.full(40, gap.mean()))


def test_without_spread_p_is_the_chance_not_to_see_the_pairs_that_would_be_beyond():
    """A mean at the margin needs that share of pairs to lose the whole gap: none was seen."""
    for shift, missing in ((0.0, 0.2), (0.1, 0.1), (-0.1, 0.1), (0.2, 0.0), (0.3, 0.0)):
        p = p_equivalent(np.full(23, shift), GAP)
        assert p == pytest.approx((1 - missing) ** 23)


def test_at_the_margin_a_level_of_one_in_twenty_is_kept():
    samples = RNG.normal(0.2, 0.05, (600, 40))
    rate = np.mean([p_equivalent(sample, np.ones(40)) <= 0.05 for sample in samples])
    assert rate <= 0.07


@pytest.mark.parametrize("n", [16, 32, 100])
def test_at_the_margin_the_level_is_kept_where_few_pairs_fail(n):
    """A trained circuit's differences, moved to the margin: the old t-tests reject too often."""
    rng = np.random.default_rng(n)
    samples = 0.13 - rng.gamma(0.5, 0.26, (600, n)) - 0.2  # mean -0.2, skewed to the left
    assert np.mean([p_equivalent(sample, np.ones(n)) <= 0.05 for sample in samples]) <= 0.07
    t_tests = ttest_1samp(samples, -0.2, axis=1, alternative="greater").pvalue
    assert (t_tests <= 0.05).mean() > 0.07


@pytest.mark.parametrize(("above", "n"), [(0, 20), (6, 20), (10, 20), (14, 20), (17, 20), (20, 20)])
def test_p_of_the_share_is_the_larger_of_two_sums(above, n):
    def point(k, share):
        return math.comb(n, k) * share**k * (1 - share) ** (n - k)

    too_low = sum(point(k, 0.3) for k in range(above, n + 1))
    too_high = sum(point(k, 0.7) for k in range(above + 1))
    assert p_even(float(above), n) == pytest.approx(max(too_low, too_high))


def test_half_a_pair_counts_against_the_claim():
    assert p_even(8.5, 21) == pytest.approx(binom.sf(7, 21, 0.3))  # at least 8 pairs
    assert p_even(12.5, 21) == pytest.approx(binom.cdf(13, 21, 0.7))  # at most 13


def test_ties_count_one_half():
    assert above_zero(np.array([-1.0, 0.0, 0.05, -0.05, 0.2, 3.0]), 0.1).sum() == 3.5
    assert above_zero(np.array([0.1, -0.1]), 0.1).sum() == 1.0


def told_case(told, circuit, full, empty=0.0):
    def tell(c, choosing, ablation):
        share = c.n_edges / c.graph.n_edges
        values = full if share == 1 else empty if share == 0 else circuit
        return np.broadcast_to(values, (17,))

    return told(tell)


def test_the_difference_is_a_share_of_the_gap_and_tested_against_a_fifth_of_it(told):
    full, away = 4 + RNG.normal(0, 0.3, 17), RNG.normal(-0.2, 0.3, 17)
    finding = Equivalence().measure(told_case(told, full + away, full))
    assert finding.value.value == pytest.approx(away.mean() / full.mean())
    assert finding.p == p_equivalent(away, full)
    assert outcome_of(finding, Equivalence.default) == "supported"


def test_a_negative_gap_is_no_hindrance(told):
    full, away = 4 + RNG.normal(0, 0.3, 17), RNG.normal(0.1, 0.3, 17)
    one = Equivalence().measure(told_case(told, full + away, full))
    other = Equivalence().measure(told_case(told, -full - away, -full))
    assert other.p == pytest.approx(one.p)
    assert other.p < 0.05
    assert other.value.value == pytest.approx(one.value.value)


def test_a_narrower_bound_is_not_supported_by_a_test_of_the_usual_one(told):
    full, away = 4 + RNG.normal(0, 0.3, 17), RNG.normal(0.45, 0.5, 17)
    finding = Equivalence().measure(told_case(told, full + away, full))
    assert finding.p < 0.05
    assert outcome_of(finding, Bound(-0.2, 0.2)) == "supported"
    assert outcome_of(finding, Bound(-0.14, 0.14)) == "undecided"


def test_the_share_of_pairs_is_that_of_the_circuit_above_the_model(told):
    full = np.linspace(3.0, 4.0, 17)
    change = np.array([0.5] * 10 + [-0.5] * 5 + [1e-6, -1e-6])
    finding = ShareEquivalence().measure(told_case(told, full + change, full))
    assert finding.value.value == 11 / 17
    assert finding.p == pytest.approx(p_even(11.0, 17))
    assert finding.value.low < 0.4 < 0.8 < finding.value.high
    assert outcome_of(finding, Bound(0.3, 0.7)) == "undecided"


def test_ties_are_known_also_where_the_model_has_nothing(told):
    """As KL: 0 for the model, up to rounding."""
    dust = RNG.normal(0, 1e-8, 17)
    empty = 2 + RNG.normal(0, 0.1, 17)
    finding = ShareEquivalence().measure(told_case(told, np.abs(dust), -np.abs(dust), empty))
    assert finding.value.value == 0.5
