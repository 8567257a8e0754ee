import tracemalloc

import numpy as np
import pytest

from circuitkit.statistics.clusters import cluster_rows, cluster_sums


def test_sums_are_those_of_each_cluster_in_the_order_of_their_numbers():
    rows = np.array([[1.0, 2, 4, 8, 16], [1, 1, 1, 1, 1]])
    summed = cluster_sums(rows, np.array([7, 2, 7, 5, 2]))
    assert summed.tolist() == [[18, 8, 5], [2, 1, 2]]


def test_pairs_of_their_own_are_left_as_they_are():
    rows = np.random.default_rng(0).normal(size=(3, 40))
    assert np.array_equal(cluster_sums(rows, np.arange(40)), rows)
    assert np.array_equal(cluster_rows(rows, np.arange(40)), rows)


def test_rows_of_clusters_have_the_mean_of_the_pairs():
    values = np.array([3.0, 5, 1, 7, 2, 2, 9])
    rows = cluster_rows(values, np.array([0, 0, 0, 1, 2, 3, 3]))
    assert len(rows) == 4
    assert rows.mean() == pytest.approx(values.mean(), rel=1e-12)


def test_many_pairs_need_no_table_of_pairs_by_clusters():
    rows, clusters = np.ones((2, 20_000)), np.arange(20_000)
    tracemalloc.start()
    cluster_sums(rows, clusters)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * rows.nbytes
