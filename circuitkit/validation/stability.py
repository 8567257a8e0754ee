"""Stability: is the same circuit found again on other samples?

    stability       mean Jaccard overlap  |A and B| / |A or B|  of C with circuits found again
    rank-stability  mean Spearman correlation of |score| over all edges

Each is found on a bootstrap sample of the discovery pairs, with a seed of its own, by the same
method and at the same size. The interval is over the samples, as are the counts n.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import spearmanr

from circuitkit.circuits.diff import diff_circuits
from circuitkit.errors import CriterionError
from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bootstrap import Estimate, mean_estimate
from circuitkit.validation.case import N_REFOUND, Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.questions import ELSEWHERE
from circuitkit.validation.verdict import Finding


class Stability(Criterion):
    """Overlap with circuits found on bootstrap samples."""

    name = "stability"
    question = ELSEWHERE
    measures = CRITERIA["stability"]
    summary = f"mean Jaccard overlap with circuits found on {N_REFOUND} bootstrap samples"

    def measure(self, case: Case) -> Finding:
        overlaps = [diff_circuits(case.circuit, found).jaccard for found in case.refound]
        return Finding(_within(mean_estimate(overlaps), 0.0), f"lowest {min(overlaps):.2g}")


class RankStability(Criterion):
    """Correlation of the edges' ranks with those found on bootstrap samples."""

    name = "rank-stability"
    question = ELSEWHERE
    measures = CRITERIA["rank-stability"]
    summary = f"mean Spearman correlation of |score| with those of {N_REFOUND} bootstrap samples"

    def measure(self, case: Case) -> Finding:
        own = case.circuit.scores.by_edge().abs().numpy()
        others = []
        if np.ptp(own) > 0:
            others = [found.scores.by_edge().abs().numpy() for found in case.refound]
        if not others or min(np.ptp(other) for other in others) == 0:
            raise CriterionError(
                "rank-stability: the edges must have different scores, got equal ones. There is no "
                "ranking to compare. Judge a circuit that `circuitkit discover` wrote."
            )
        found = mean_estimate([float(spearmanr(own, other)[0]) for other in others])
        return Finding(_within(found, -1.0))


def _within(found: Estimate, least: float) -> Estimate:
    """Return the estimate with an interval that holds possible values alone; the most is 1."""
    return replace(found, low=max(found.low, least), high=min(found.high, 1.0))
