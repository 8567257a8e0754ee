from dataclasses import replace

import numpy as np
import pytest

from circuitkit.errors import CriterionError
from circuitkit.metrics import Accuracy, ProbabilityDifference
from circuitkit.prompts import Labels
from circuitkit.validation.ability import Ability
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
