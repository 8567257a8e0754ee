import math

import numpy as np
import pytest
from scipy.stats import norm

from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.statistics.power import least_difference, least_visible, pairs_to_decide


def test_the_least_difference_is_that_of_the_textbook():
    error = 0.5
    value = Estimate(3.0, 3 - 1.959964 * error, 3 + 1.959964 * error, 50)
    assert least_difference(value) == pytest.approx(2.801585 * error, rel=1e-6)
    assert least_visible(value) == "with 50 pairs a difference under 1.4 cannot be seen"


def test_a_true_difference_of_that_size_is_seen_four_times_in_five():
    n, rng = 64, np.random.default_rng(0)
    error = 1 / math.sqrt(n)
    half = float(norm.ppf(0.975)) * error
    least = least_difference(Estimate(0.0, -half, half, n))
    means = rng.normal(least, 1, (2000, n)).mean(1)
    assert (means > half).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("value", "bound", "n"),
    [
        (Estimate(0.9, 0.7, 1.1, 20), Bound(min=0.8), 80),  # half as wide needs four times as many
        (Estimate(0.9, 0.8, 1.1, 20), Bound(min=0.8), 80),  # by the wider half
        (Estimate(0.7, 0.5, 0.9, 20), Bound(min=0.8), 80),
        (Estimate(0.5, 0.1, 0.9, 20), Bound(min=0.3, max=0.9), 80),  # the nearer edge
        (Estimate(0.8, 0.5, 0.9, 20), Bound(min=0.8), None),
        (Estimate(0.9, 0.9, 0.9, 1), Bound(min=0.8), None),
        (Estimate(0.9, 0.7, 1.1, 20), Bound(), None),
    ],
)
def test_pairs_that_would_decide(value, bound, n):
    assert pairs_to_decide(value, bound) == (n if n is None else pytest.approx(n, abs=1))
