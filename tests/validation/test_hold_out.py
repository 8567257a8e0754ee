import pytest

from circuitkit.errors import VanishingGapError
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.validation.case import HeldOut
from circuitkit.validation.faithfulness import measure_faithfulness
from circuitkit.validation.hold_out import HoldOut
from tests.conftest import random_pairs


def test_it_is_the_lowest_faithfulness_over_the_kinds(case):
    [own] = measure_faithfulness(
        case.model,
        case.validation,
        [case.circuit],
        ablation=case.ablations["resample"],
        metric=case.metric,
    )
    found = {"prompts": own.value}
    for kind, held in case.held_out.items():
        [measured] = measure_faithfulness(
            case.model,
            held.pairs,
            [case.circuit],
            ablation=held.ablations["resample"],
            metric=case.metric,
        )
        found[kind] = measured.value
    finding = HoldOut().measure(case)
    lowest = min(found.values(), key=lambda value: value.low)
    value = finding.value
    assert (value.value, value.low) == pytest.approx((lowest.value, lowest.low), rel=1e-12)
    assert found["wordings"] != found["answers"]
    for kind, value in found.items():
        assert f"{kind}: {value} (n = {value.n})" in finding.note


def test_each_kind_is_ablated_by_its_own_reference(new_case):
    case = new_case(ablation="mean")
    assert "(n = 16)" in HoldOut().measure(case).note  # that of validation lacks these templates


def test_a_task_without_other_kinds_is_judged_on_other_prompts(new_case, case):
    finding = HoldOut().measure(new_case(held_out={}))
    assert finding.value.n == len(case.validation)
    assert finding.note.startswith("prompts: ")


def test_held_out_pairs_that_the_model_cannot_do_are_refused(new_case, case):
    held = case.held_out["wordings"]
    hard = tokenize_pairs(random_pairs(16, seed=9, lengths=(6, 8)))
    with pytest.raises(VanishingGapError):
        HoldOut().measure(new_case(held_out={"wordings": HeldOut(hard, held.ablations)}))
