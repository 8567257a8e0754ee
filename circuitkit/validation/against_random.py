"""Sufficiency and necessity: rank tests against random circuits of the same size.

    H0           C was drawn evenly from all sets of as many edges
    sufficiency  is it no more faithful than such sets?             by -|1 - f(C)|
    necessity    does it part the model no more cleanly than they?  by min(f(C), 1 - f(M minus C))
    p = (k + 1) / (n + 1),  k of n random sets do at least as well

Under H0, C and the random sets are exchangeable, so both p are exact, whatever the model. The value
is the share k / n with its Clopper-Pearson interval.

Necessity asks of C that nothing is left without it. That alone says little: in a small model many
sets of as many edges break something that the task needs (10 of 39 do in planted models). And sets
drawn outside C are no null for it: C is not exchangeable with them, and a test against them rejects
12 to 16 % of random circuits at 5 %. So C must be both what is enough and what is needed, and the
lesser of the two is compared with that of random sets. Shi et al. 2024 (arXiv:2410.13032, section
3.3) test a quantile of the reference instead.
"""

import math
from dataclasses import replace

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.random_circuits import random_like
from circuitkit.errors import NotApplicableError
from circuitkit.glossary import CRITERIA
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
    measures = CRITERIA["sufficiency"]
    summary = f"share of {N_RANDOM} random circuits of the same size that are as faithful"
    default = Bound(max=0.05)

    def measure(self, case: Case) -> Finding:
        f = case.faithfulness(against(case, self.name))
        return rank_test(-np.abs(1 - f))


class PartialNecessity(Criterion):
    """The share of random circuits that part the model as cleanly."""

    name = "necessity"
    question = NEEDED
    measures = CRITERIA["necessity"]
    summary = f"share of {N_RANDOM} random circuits that part the model as cleanly"
    default = Bound(max=0.05)

    def measure(self, case: Case) -> Finding:
        drawn = against(case, self.name)
        kept = case.faithfulness(drawn)
        lost = 1 - case.faithfulness([circuit.complement for circuit in drawn])
        finding = rank_test(np.minimum(kept, lost))
        note = f"{finding.note}; alone it keeps {kept[0]:.2g}, without it {lost[0]:.2g} is lost"
        return replace(finding, note=note)


def against(case: Case, name: str) -> list[Circuit]:
    """Return the circuit and N_RANDOM random ones of its size.

    Raises:
        NotApplicableError: there are too few sets of its size for any to be unlike the others.
    """
    n_edges, total = case.circuit.n_edges, case.circuit.graph.n_edges
    n_sets = math.comb(total, n_edges)
    if n_sets <= N_RANDOM:
        raise NotApplicableError(
            f"{name}: there must be more than {N_RANDOM} sets of {n_edges} edges to compare with, "
            f"got {n_sets} in a graph of {total}. No rank among them is rare. Judge a smaller "
            "circuit."
        )
    return [case.circuit, *(random_like(case.circuit, seed) for seed in case.seeds(N_RANDOM))]


def rank_test(statistics: Values) -> Finding:
    """Return the finding for the first of some statistics against the rest; more is better."""
    own, others = statistics[0], statistics[1:]
    k, n = int((others >= own - TIE * max(1.0, abs(own))).sum()), len(others)
    return Finding(share_estimate(k, n), f"{k} of {n}", p=(k + 1) / (n + 1))
