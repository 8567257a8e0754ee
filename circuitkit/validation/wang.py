"""Wang's faithfulness: how far the circuit's metric is from the model's.

    |F(M) - F(C)| / |F(M) - F(0)|

F is the metric's mean over pairs, under the ablation that the claim is about: a claim made under
one ablation is not refuted by another. This is |1 - f|, with the interval of the difference itself.
Wang et al. 2022 (arXiv:2211.00593, section 4) ablate to the mean within each template, and give the
numerator in logits: `wang-mean` is theirs, as a share of what ablating everything costs, so that
models and tasks compare.
"""

from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bound import Bound
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion, magnitude
from circuitkit.validation.questions import ENOUGH
from circuitkit.validation.verdict import Finding

MEAN = "mean"


class WangFaithfulness(Criterion):
    """Distance of the circuit's metric from the model's."""

    name = "wang-faithfulness"
    question = ENOUGH
    measures = CRITERIA["wang-faithfulness"]
    summary = "|F(M) - F(C)| under the verdict's ablation, as a share of the gap"
    default = Bound(max=0.2)

    def measure(self, case: Case) -> Finding:
        return _distance(case, case.ablation)


class WangMean(Criterion):
    """The same under mean ablation, whatever the verdict's: Wang's own definition."""

    name = "wang-mean"
    question = ENOUGH
    measures = CRITERIA["wang-mean"]
    summary = "|F(M) - F(C)| under mean ablation, as a share of the gap"

    def measure(self, case: Case) -> Finding:
        return _distance(case, MEAN)


def _distance(case: Case, ablation: str) -> Finding:
    full, _ = case.ends(ablation=ablation)
    [circuit] = case.values([case.circuit], ablation=ablation)
    lost = full - circuit
    note = f"{ablation} ablation; F(M) - F(C) = {lost.mean():.3g} {case.metric.unit}"
    same_as = "faithfulness" if case.ablation == ablation else ""
    return Finding(magnitude(case.share_of_gap(lost, ablation=ablation)), note, same_as=same_as)
