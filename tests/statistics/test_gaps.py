import numpy as np
import pytest

from circuitkit.errors import VanishingGapError
from circuitkit.metrics import LogitDifference
from circuitkit.statistics.gaps import require_gap

NOISE = np.random.default_rng(0).normal(size=30)


@pytest.mark.parametrize("gap", [2.0, -2.0])
def test_a_clear_gap_of_either_sign_is_accepted(gap):
    require_gap(NOISE + gap, NOISE + 0.1 * NOISE**2, "mean", LogitDifference())


@pytest.mark.parametrize(
    "change",
    [
        NOISE - NOISE.mean() + 0.01,  # lost in noise
        np.full(30, 1e-5),  # as small as rounding, though the same in every pair
        np.full(30, -1e-5),
        np.zeros(30),
    ],
)
def test_a_gap_in_noise_or_rounding_is_refused(change):
    with pytest.raises(
        VanishingGapError, match="under mean ablation: logit-difference .* 30 pairs"
    ):
        require_gap(3 + change, np.full(30, 3.0), "mean", LogitDifference())


def test_rounding_is_relative_to_the_values():
    require_gap(np.full(30, 1e-5), np.zeros(30), "mean", LogitDifference())
    require_gap(np.full(30, 3 + 1e-4), np.full(30, 3.0), "mean", LogitDifference())
