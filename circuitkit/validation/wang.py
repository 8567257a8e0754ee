"""Wang's faithfulness: how far the circuit's metric is from the model's.

    |F(M) - F(C)| / |F(M) - F(0)|        under mean ablation within each template

F is the metric's mean over pairs. Wang et al. 2022 (arXiv:2211.00593, section 4) give the numerator
in logits; as a share of what ablating everything costs, models and tasks compare. Under the mean
ablation this is |1 - f|, with the interval of the difference itself.
"""

from circuitkit.statistics.bound import Bound
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion, magnitude
from circuitkit.validation.questions import ENOUGH
from circuitkit.validation.verdict import Finding

MEAN = "mean"


class WangFaithfulness(Criterion):
    """Distance of the circuit's metric from the model's under mean ablation."""

    name = "wang-faithfulness"
    question = ENOUGH
    measures = "distance to the model under mean ablation"
    summary = "|F(M) - F(C)| under mean ablation, as a share of the gap"
    default = Bound(max=0.2)

    def measure(self, case: Case) -> Finding:
        full, _ = case.ends(ablation=MEAN)
        [circuit] = case.values([case.circuit], ablation=MEAN)
        lost = full - circuit
        note = f"F(M) - F(C) = {lost.mean():.3g} {case.metric.unit}"
        same_as = "faithfulness" if case.ablation == MEAN else ""
        value = magnitude(case.share_of_gap(lost, ablation=MEAN))
        return Finding(value, note, same_as=same_as)
