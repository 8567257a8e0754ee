import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.faithfulness import FaithfulnessCriterion
from circuitkit.validation.judge import judge_circuit
from circuitkit.validation.wang import WangFaithfulness, WangMean


@pytest.mark.parametrize(
    ("criterion", "ablation"), [(WangFaithfulness(), "resample"), (WangMean(), "mean")]
)
def test_it_is_the_distance_to_the_model_as_a_share_of_the_gap(case, criterion, ablation):
    graph = case.model.graph
    circuit, full, empty = evaluate_circuits(
        case.model,
        case.validation,
        [case.circuit, Circuit.full(graph), Circuit.empty(graph)],
        ablation=case.ablations[ablation],
        metric=case.metric,
    ).mean(1)
    finding = criterion.measure(case)
    assert case.ablation == "resample"
    assert finding.value.value == pytest.approx(abs(full - circuit) / abs(full - empty))
    assert finding.note == f"{ablation} ablation; F(M) - F(C) = {full - circuit:.3g} logits"


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_under_the_verdicts_ablation_it_is_one_minus_faithfulness(new_case, ablation):
    case = new_case(ablation=ablation)
    f = FaithfulnessCriterion().measure(case).value
    finding = WangFaithfulness().measure(case)
    assert finding.same_as == "faithfulness"
    assert finding.value.value == pytest.approx(abs(1 - f.value))
    assert (WangMean().measure(case).same_as == "faithfulness") == (ablation == "mean")


def test_a_claim_under_one_ablation_is_not_refuted_by_another(told):
    """Kept under resampling, lost under the mean: reported, not judged."""

    def tell(c, choosing, ablation):
        share = {"resample": 0.99, "mean": 0.5}[ablation]
        return [share if 0 < c.n_edges < 75 else c.n_edges / 75] * 17

    names = ["wang-faithfulness", "wang-mean"]
    verdict = judge_circuit(told(tell), Thresholds(), only=names)
    assert [check.outcome for check in verdict.checks] == ["supported", "reported"]
    assert verdict.check("wang-mean").value.value == pytest.approx(0.5)


def test_too_good_is_as_far_off_as_too_bad(told):
    def tell(share):
        return lambda c, *_: [share if 0 < c.n_edges < 75 else c.n_edges / 75] * 17

    values = [WangFaithfulness().measure(told(tell(share))).value.value for share in (0.7, 1.3)]
    assert values == pytest.approx([0.3, 0.3])
