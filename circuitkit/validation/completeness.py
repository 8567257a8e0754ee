"""Completeness: does the circuit hold what takes over when parts of it are knocked out?

    worst over K of  |F(C minus K) - F(M minus K)| / |m(M) - m(0)|

A circuit may be faithful and still lack the backups that the model falls back on; taking the same
components K out of both shows them. K runs over classes, random sets and greedy sets
(knock_outs.py), the empty set included; the worst is chosen on discovery pairs and judged on
validation pairs. Wang et al. 2022 (arXiv:2211.00593, section 4), there in logits.
"""

import numpy as np

from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bound import Bound
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion, magnitude
from circuitkit.validation.knock_outs import (
    component_classes,
    greedy_sets,
    incompleteness,
    inner_components,
    random_sets,
)
from circuitkit.validation.questions import ALL
from circuitkit.validation.verdict import Finding


class Completeness(Criterion):
    """The largest difference between circuit and model when both lose the same components."""

    name = "completeness"
    question = ALL
    measures = CRITERIA["completeness"]
    summary = "worst |F(C minus K) - F(M minus K)| over sets of components K, as a share of the gap"
    default = Bound(max=0.4)

    def measure(self, case: Case) -> Finding:
        inner = inner_components(case.circuit)
        sets = {
            "nothing": (),
            **component_classes(case),
            **random_sets(inner, seed=case.seed),
            **greedy_sets(case, inner),
        }
        gaps = np.abs(incompleteness(case, list(sets.values()), choosing=True).mean(1))
        worst = list(sets)[int(gaps.argmax())]
        [change] = incompleteness(case, [sets[worst]])
        members = ", ".join(sets[worst]) or "no component"
        note = f"worst of {len(sets)} sets: {worst} ({members})"
        same_as = "" if sets[worst] else "faithfulness"  # |F(C) - F(M)|: how far f is from 1
        return Finding(magnitude(case.share_of_gap(change)), note, same_as=same_as)
