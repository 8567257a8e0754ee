import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.validation.faithfulness import FaithfulnessCriterion
from circuitkit.validation.wang import WangFaithfulness


def test_it_is_the_distance_to_the_model_under_mean_ablation_as_a_share_of_the_gap(case):
    graph = case.model.graph
    circuit, full, empty = evaluate_circuits(
        case.model,
        case.validation,
        [case.circuit, Circuit.full(graph), Circuit.empty(graph)],
        ablation=case.ablations["mean"],
        metric=case.metric,
    ).mean(1)
    finding = WangFaithfulness().measure(case)
    assert case.ablation == "resample"
    assert finding.value.value == pytest.approx(abs(full - circuit) / abs(full - empty))
    assert finding.note == f"F(M) - F(C) = {full - circuit:.3g} logits"


def test_under_the_mean_ablation_it_is_one_minus_faithfulness(new_case):
    case = new_case(ablation="mean")
    f = FaithfulnessCriterion().measure(case).value
    wang = WangFaithfulness().measure(case).value
    assert wang.value == pytest.approx(abs(1 - f.value))
    if f.high < 1:
        assert (wang.low, wang.high) == pytest.approx((1 - f.high, 1 - f.low), abs=0.02)


def test_too_good_is_as_far_off_as_too_bad(told):
    def tell(share):
        return lambda c, *_: [share if 0 < c.n_edges < 75 else c.n_edges / 75] * 17

    values = [WangFaithfulness().measure(told(tell(share))).value.value for share in (0.7, 1.3)]
    assert values == pytest.approx([0.3, 0.3])
