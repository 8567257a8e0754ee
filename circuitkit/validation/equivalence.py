"""Equivalence: is the circuit's metric the model's, up to a margin? Two one-sided tests.

    equivalence        H0: |m(C) - m(M)| >= MARGIN |m(M) - m(0)|     paired tests (one_sided.py)
    equivalence-share  H0: |share of pairs with m(C) > m(M) - 1/2| >= SHARE_MARGIN  binomial tests

Rejecting H0 shows equivalence (Schuirmann 1987), where a test for a difference only fails to show
one. Shi et al. 2024 (arXiv:2410.13032, section 3.1) state the second hypothesis, as a test for a
difference; their published code compares a mean difference with the margin, where the share of
pairs belongs. Ties (within rounding) count one half to either side. The margin is measured on the
same pairs, so each test is of the mean of margin ± difference, pair by pair. Differences lean where
few prompts fail: the t-tests of pico's induction circuit, moved to the margin, called it equivalent
12 % of the time (docs/decisions/0017-levels.md).
"""

import math

import numpy as np
from scipy.stats import binom

from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bootstrap import Values
from circuitkit.statistics.bound import Bound
from circuitkit.statistics.clusters import Clusters
from circuitkit.statistics.gaps import dust_of
from circuitkit.statistics.one_sided import p_positive
from circuitkit.statistics.shares import effective_n, share_of
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.questions import ENOUGH
from circuitkit.validation.verdict import Finding

MARGIN = 0.2
SHARE_MARGIN = 0.2


class Equivalence(Criterion):
    """The mean paired difference of circuit and model, as a share of the gap."""

    name = "equivalence"
    question = ENOUGH
    measures = CRITERIA["equivalence"]
    summary = "mean of m(C) - m(M) as a share of the gap; p of two one-sided tests"
    default = Bound(min=-MARGIN, max=MARGIN)

    def measure(self, case: Case) -> Finding:
        full, empty = case.ends()
        [circuit] = case.values([case.circuit])
        gap = full - empty
        p = p_equivalent(circuit - full, gap, case.validation.clusters)
        value = case.share_of_gap(circuit - full)  # f - 1
        return Finding(value, p=p, tested=Bound(-MARGIN, MARGIN), same_as="faithfulness")


class ShareEquivalence(Criterion):
    """The share of pairs on which the circuit's metric is above the model's."""

    name = "equivalence-share"
    question = ENOUGH
    measures = CRITERIA["equivalence-share"]
    summary = "share of pairs with m(C) > m(M); p of two one-sided binomial tests"

    def measure(self, case: Case) -> Finding:
        full, empty = case.ends()
        [circuit] = case.values([case.circuit])
        above = above_zero(circuit - full, dust_of(full, empty))
        tested = Bound(0.5 - SHARE_MARGIN, 0.5 + SHARE_MARGIN)
        clusters = case.validation.clusters
        n = int(effective_n(above, clusters))
        p = p_even(float(above.mean()) * n, n)
        return Finding(share_of(above, clusters), p=p, tested=tested)


def p_equivalent(difference: Values, gap: Values, clusters: Clusters | None = None) -> float:
    """Return the larger p-value of the two tests that the mean lies beyond MARGIN of the gap."""
    margin = MARGIN * gap * np.sign(gap.mean())
    sides = (margin - difference, margin + difference)
    return max(p_positive(side, gap, clusters=clusters) for side in sides)


def above_zero(difference: Values, scale: float) -> Values:
    """Return 1 for each pair above zero, 0 for each below, one half for ties within `scale`."""
    return np.where(np.abs(difference) <= scale, 0.5, (difference > 0).astype(np.float64))


def p_even(above: float, n: int) -> float:
    """Return the larger p-value of the two tests that the share lies beyond 1/2 ± SHARE_MARGIN."""
    too_low = binom.sf(math.floor(above) - 1, n, 0.5 - SHARE_MARGIN)
    too_high = binom.cdf(math.ceil(above), n, 0.5 + SHARE_MARGIN)
    return float(max(too_low, too_high))
