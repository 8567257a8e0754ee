import numpy as np
import pytest
from scipy.stats import binom

from circuitkit.bench.calibration import false_alarms
from circuitkit.bench.calibration.false_alarms import Rate, measure_false_alarms, random_case


def test_the_band_holds_99_percent_of_counts_of_an_exact_test():
    low, high = Rate("x", 0, 400).band
    assert (low, high) == (10, 32)
    inside = binom.cdf(high, 400, 0.05) - binom.cdf(low - 1, 400, 0.05)
    assert inside >= 0.99
    assert Rate("x", 10, 400).is_right
    assert not Rate("x", 9, 400).is_right
    assert not Rate("x", 33, 400).is_right


def test_random_cases_differ_by_their_seed_alone():
    one, same, other = random_case(1), random_case(1), random_case(2)
    assert one.circuit.edges == same.circuit.edges != other.circuit.edges
    assert one.seed != other.seed


@pytest.mark.slow
def test_every_test_keeps_its_level_on_a_reduced_number_of_draws(monkeypatch):
    monkeypatch.setattr(false_alarms, "N_PAIRS", 16)
    subject = false_alarms.null_subject.__wrapped__()  # not the one that is kept, of more pairs
    monkeypatch.setattr(false_alarms, "null_subject", lambda: subject)
    rates = measure_false_alarms(40)
    assert [rate for rate in rates if not rate.is_right] == []
    assert len({rate.test for rate in rates}) == 6


def test_minimality_keeps_its_level_where_effects_are_skewed():
    rng = np.random.default_rng(0)
    rows = -1.0 * (rng.random((40, 2000)) < 0.2) * rng.exponential(1, (40, 2000))  # mostly zero
    alarms = sum(false_alarms._minimality_null(rows, seed) for seed in range(400))
    assert alarms <= Rate("x", 0, 400).band[1]
