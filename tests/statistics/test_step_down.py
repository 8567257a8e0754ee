import numpy as np
import pytest

from circuitkit.statistics.step_down import step_down


def test_it_rejects_against_the_largest_of_those_that_are_left():
    resampled = np.zeros((100, 3))
    resampled[:, 0] = np.arange(100) / 10  # the first is wild: 95 % of its resamples are below 9.5
    resampled[:, 1:] = np.arange(100)[:, None] / 100
    assert step_down(np.array([9.6, 1.0, 0.5]), resampled, 0.05).tolist() == [True, True, False]
    assert step_down(np.array([9.0, 1.0, 0.5]), resampled, 0.05).tolist() == [False] * 3
    assert step_down(np.array([99.0, 99.0, 99.0]), resampled, 0.05).all()


def test_means_that_move_together_cost_no_more_than_one():
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.normal(size=(4000, 1)), 50, axis=1)
    apart = rng.normal(size=(4000, 50))
    rates = [
        np.mean([step_down(row, drawn[2000:], 0.05).any() for row in drawn[:2000]])
        for drawn in (shared, apart)
    ]
    assert rates == pytest.approx([0.05, 0.05], abs=0.02)
    assert step_down(np.full(50, 2.0), shared, 0.05).all()
    assert not step_down(np.full(50, 2.0), apart, 0.05).any()
