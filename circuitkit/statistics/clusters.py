"""Clusters: pairs that share a template, names or a fact are not independent; clusters are.

A bootstrap resamples whole clusters, and a statistic made of means is one of sums over clusters:

    mean a / mean b = (sum over clusters of sum a) / (sum over clusters of sum b)

Field and Welsh 2007, J. R. Stat. Soc. B 69:369, section 3 (the randomised cluster bootstrap).
"""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Clusters = NDArray[np.int64]
LEAST = 3


def cluster_sums(rows: Values, clusters: Clusters | None) -> Values:
    """Return the sums over each cluster along the last axis; the rows as they are without clusters.

    Clusters stand in the order of their numbers. Fewer than LEAST show no spread: there the rows
    are those of pairs, for a reader alone, as nobody judges by so few (validation/judge.py).
    """
    if clusters is None:
        return rows
    order = np.argsort(clusters, kind="stable")
    _, starts = np.unique(clusters[order], return_index=True)
    if len(starts) < LEAST:
        return rows
    return np.asarray(np.add.reduceat(rows[..., order], starts, axis=-1))


def cluster_rows(rows: Values, clusters: Clusters | None) -> Values:
    """Return one value a cluster, so that the mean along the last axis is that over pairs."""
    if clusters is None:
        return rows
    sums = cluster_sums(rows, clusters)
    return np.asarray(sums * (sums.shape[-1] / len(clusters)))
