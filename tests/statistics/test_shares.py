import numpy as np
import pytest
from scipy.stats import binomtest

from circuitkit.errors import CriterionError
from circuitkit.statistics.shares import share_estimate, share_of

N_TRIALS = 600


@pytest.mark.parametrize(("count", "n"), [(0, 16), (3, 39), (20, 21), (16, 16)])
def test_the_interval_is_that_of_clopper_and_pearson(count, n):
    found = share_estimate(count, n)
    exact = binomtest(count, n).proportion_ci(0.95)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert (found.value, found.n) == (count / n, n)


def test_all_of_sixteen_is_no_proof_of_a_share_above_four_fifths():
    found = share_of(np.ones(16))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.794, abs=0.001)


@pytest.mark.parametrize("n", [16, 32, 100])
def test_the_interval_holds_a_share_near_one_where_a_bootstrap_collapses(n):
    rng = np.random.default_rng(n)
    samples = (rng.random((N_TRIALS, n)) < 0.976).astype(float)
    shares = [share_of(sample) for sample in samples]
    assert np.mean([found.low <= 0.976 <= found.high for found in shares]) >= 0.95
    with_a_miss = (samples.min(1) < 1).mean()  # of all hits, every resample is all hits: [1, 1]
    assert with_a_miss < 0.95


def drawn(rng, n_clusters, size):
    """Return hits of which all of a cluster are alike in four of five clusters."""
    own = rng.random((n_clusters, size)) < 0.8
    shared = np.repeat(rng.random((n_clusters, 1)) < 0.8, size, axis=1)
    alike = rng.random((n_clusters, 1)) < 0.8
    clusters = np.repeat(np.arange(n_clusters), size)
    return np.where(alike, shared, own).astype(float).ravel(), clusters


def test_pairs_of_one_cluster_count_as_what_they_say_together():
    rng = np.random.default_rng(1)
    trials = [drawn(rng, 20, 5) for _ in range(N_TRIALS)]
    aware = [share_of(hits, clusters) for hits, clusters in trials]
    blind = [share_of(hits) for hits, _ in trials]
    assert np.mean([found.low <= 0.8 <= found.high for found in aware]) >= 0.93
    assert np.mean([found.low <= 0.8 <= found.high for found in blind]) < 0.85
    assert {found.n for found in aware} == {20}


def test_two_pairs_are_refused_and_a_few_clusters_say_little():
    with pytest.raises(CriterionError, match="3 independent pairs, got 2"):
        share_of(np.ones(2))
    assert share_of(np.ones(20), np.zeros(20, dtype=int)).n == 20  # for a reader: none may judge
    found = share_of(np.ones(20), np.repeat(np.arange(4), 5))
    assert found.low == pytest.approx(share_estimate(4, 4).low)


def test_pairs_that_are_each_their_own_cluster_give_the_exact_interval():
    hits = (np.arange(40) < 31).astype(float)
    alone, own = share_of(hits), share_of(hits, np.arange(40))
    assert own.low == pytest.approx(alone.low, abs=0.01)
    assert own.high == pytest.approx(alone.high, abs=0.01)
