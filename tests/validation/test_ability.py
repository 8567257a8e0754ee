from dataclasses import replace

import numpy as np
import pytest

from circuitkit.errors import CriterionError
from circuitkit.metrics import Accuracy, KLDivergence, ProbabilityDifference
from circuitkit.prompts.batch import Labels
from circuitkit.validation.ability import Ability, AbilityShare
from circuitkit.validation.verdict import outcome_of


def exchanged(pairs):
    """The same pairs, with what is right and what is wrong the other way round."""
    labels = Labels(pairs.labels.wrong_answers, pairs.labels.answers)
    return replace(pairs, labels=labels)


def with_prompts(pairs, *, clean, corrupted):
    return replace(pairs, clean=clean, corrupted=corrupted)


def test_a_model_that_does_the_task_is_able(case):
    finding = Ability().measure(case)
    full, empty = case.ends()  # under resampling the empty circuit is the corrupted run
    assert finding.value.value == pytest.approx((full - empty).mean())
    assert finding.note.startswith("accuracy 1 ")
    assert outcome_of(finding, Ability.default) == "supported"


def test_a_model_that_does_the_reverse_is_not(case, new_case):
    finding = Ability().measure(new_case(validation=exchanged(case.validation)))
    assert finding.value.value == pytest.approx(-Ability().measure(case).value.value)
    assert outcome_of(finding, Ability.default) == "refuted"


@pytest.mark.parametrize("metric", [None, ProbabilityDifference()])
def test_preferring_the_wrong_answer_is_no_ability_however_small_the_gap(case, new_case, metric):
    pairs = case.validation
    there = exchanged(with_prompts(pairs, clean=pairs.corrupted, corrupted=pairs.clean))
    changed = new_case(validation=there, metric=metric or case.metric)
    with pytest.raises(CriterionError, match="right answers do not beat wrong ones"):
        Ability().measure(changed)


def test_a_gain_of_nothing_is_no_ability(case, new_case):
    same = with_prompts(
        case.validation, clean=case.validation.clean, corrupted=case.validation.clean
    )
    with pytest.raises(CriterionError, match="not better on clean"):
        Ability().measure(new_case(validation=same, metric=Accuracy()))
    assert np.isfinite(Ability().measure(case).value.low)


def test_the_share_counts_pairs_on_which_the_clean_prompt_does_better(case, new_case):
    full, empty = case.ends()
    finding = AbilityShare().measure(case)
    assert finding.value.value == pytest.approx((full > empty).mean())
    reverse = AbilityShare().measure(new_case(validation=exchanged(case.validation)))
    assert reverse.value.value == pytest.approx((full < empty).mean())
    assert outcome_of(reverse, AbilityShare.default) == "refuted"


def test_a_metric_of_which_less_is_better_counts_the_other_way(new_case):
    assert AbilityShare().measure(new_case(metric=KLDivergence())).value.value == 1


def test_a_model_that_cannot_tell_the_prompts_apart_is_refuted_not_left_open(case, new_case):
    pairs = case.validation
    same = with_prompts(pairs, clean=pairs.clean, corrupted=pairs.clean)
    finding = AbilityShare().measure(new_case(validation=same))
    assert finding.value.value == pytest.approx(0.5, abs=1 / len(pairs))
    assert outcome_of(finding, AbilityShare.default) == "refuted"
