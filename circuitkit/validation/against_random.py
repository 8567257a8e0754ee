"""Sufficiency and partial necessity: rank tests against random circuits of the same size.

    sufficiency        H0: C is no more faithful than a random circuit
    partial necessity  H0: knocking C out of the model does no more than knocking out a random one
    p = (k + 1) / (n + 1),  k of n random circuits do at least as well (by |1 - f|, by the change)

Under H0 the circuit is exchangeable with the random ones, so p is exact. The value is the share k /
n with its Clopper-Pearson interval. Shi et al. 2024 (arXiv:2410.13032, section 3.3), who test a
quantile of the reference instead.
"""

import numpy as np
from scipy.stats import binomtest

from circuitkit.circuit import Circuit
from circuitkit.random_circuits import random_like
from circuitkit.validation.bootstrap import CONFIDENCE, Estimate, Values
from circuitkit.validation.criterion import Case, Criterion
from circuitkit.validation.verdict import Bound, Finding

N_RANDOM = 39
TIE = 1e-9  # relative: what rounding may part


class Sufficiency(Criterion):
    """The share of random circuits that are at least as faithful."""

    name = "sufficiency"
    summary = f"share of {N_RANDOM} random circuits of the same size that are as faithful"
    default = Bound(max=0.05)

    def measure(self, case: Case) -> Finding:
        f = case.faithfulness([case.circuit, *_randoms(case)])
        return rank_test(-np.abs(1 - f))


class PartialNecessity(Criterion):
    """The share of random circuits without which the model loses at least as much."""

    name = "necessity"
    summary = f"share of {N_RANDOM} random circuits whose removal changes the model as much"
    default = Bound(max=0.05)

    def measure(self, case: Case) -> Finding:
        f = case.faithfulness([c.complement for c in (case.circuit, *_randoms(case))])
        return rank_test(np.abs(1 - f))


def rank_test(statistics: Values) -> Finding:
    """Return the finding for the first of some statistics against the rest; more is better."""
    own, others = statistics[0], statistics[1:]
    k, n = int((others >= own - TIE * abs(own)).sum()), len(others)
    interval = binomtest(k, n).proportion_ci(CONFIDENCE)
    value = Estimate(k / n, float(interval.low), float(interval.high), n)
    return Finding(value, f"{k} of {n}", p=(k + 1) / (n + 1))


def _randoms(case: Case) -> list[Circuit]:
    return [random_like(case.circuit, seed) for seed in case.seeds(N_RANDOM)]
