"""Sufficiency and partial necessity: rank tests against random circuits of the same size.

    sufficiency        H0: C is no more faithful than a random circuit
    partial necessity  H0: knocking C out of the model costs no more than as many other edges
    p = (k + 1) / (n + 1),  k of n random circuits do at least as well

By |1 - f| for sufficiency, by 1 - f of what is left for necessity. There, other edges are drawn
from outside C: as large a part of a small model as C is may well hold what the task needs. Where C
is no better than drawn at random, it is exchangeable with the random circuits of sufficiency, and p
is exact. With sets outside C it is not: p is then the rank of C among what it leaves out. The value
is the share k / n with its Clopper-Pearson interval. Shi et al. 2024 (arXiv:2410.13032, section
3.3), who test a quantile of the reference instead.
"""

import numpy as np

from circuitkit.circuits.random_circuits import random_like, random_outside
from circuitkit.errors import CriterionError
from circuitkit.statistics.bootstrap import Values
from circuitkit.statistics.bound import Bound
from circuitkit.statistics.gaps import ROUNDING
from circuitkit.statistics.shares import share_estimate
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.questions import LUCK, NEEDED
from circuitkit.validation.verdict import Finding

N_RANDOM = 39
TIE = ROUNDING  # in units of f: runs that rounding alone may part count as equal


class Sufficiency(Criterion):
    """The share of random circuits that are at least as faithful."""

    name = "sufficiency"
    question = LUCK
    measures = "share of random circuits that are as faithful"
    summary = f"share of {N_RANDOM} random circuits of the same size that are as faithful"
    default = Bound(max=0.05)

    def measure(self, case: Case) -> Finding:
        others = [random_like(case.circuit, seed) for seed in case.seeds(N_RANDOM)]
        f = case.faithfulness([case.circuit, *others])
        return rank_test(-np.abs(1 - f))


class PartialNecessity(Criterion):
    """The share of random sets of other edges without which the model loses as much."""

    name = "necessity"
    question = NEEDED
    measures = "share of random sets of other edges whose loss costs as much"
    summary = f"share of {N_RANDOM} random sets of other edges whose removal costs as much"
    default = Bound(max=0.05)

    def measure(self, case: Case) -> Finding:
        n_edges, n_outside = case.circuit.n_edges, case.circuit.complement.n_edges
        if n_outside <= n_edges:
            raise CriterionError(
                f"{self.name}: more edges must lie outside the circuit than in it, got {n_outside} "
                f"and {n_edges}. There are no random sets as large. Judge a smaller circuit."
            )
        others = [random_outside(case.circuit, seed) for seed in case.seeds(N_RANDOM)]
        f = case.faithfulness([circuit.complement for circuit in (case.circuit, *others)])
        return rank_test(1 - f)


def rank_test(statistics: Values) -> Finding:
    """Return the finding for the first of some statistics against the rest; more is better."""
    own, others = statistics[0], statistics[1:]
    k, n = int((others >= own - TIE * max(1.0, abs(own))).sum()), len(others)
    return Finding(share_estimate(k, n), f"{k} of {n}", p=(k + 1) / (n + 1))
