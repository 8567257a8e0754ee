"""Planted truth: the algorithm of every planted model is told from a wrong one, exactly."""

from dataclasses import replace

import pytest

from circuitkit.abstraction.judge import REFUTED, STANDS, THRESHOLD
from circuitkit.abstraction.judge_hypothesis import Plan, judge_hypothesis
from circuitkit.abstraction.shipped.planted import RIGHT, WRONG, InductionByWord
from circuitkit.errors import HypothesisError
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import BLUEPRINTS

ALONE = Plan(controls=False)


def named(kinds):
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.name)


def test_every_planted_model_has_a_right_hypothesis_and_a_wrong_one():
    for kinds in (RIGHT, WRONG):
        assert {kind.task for kind in kinds} == set(BLUEPRINTS)


@named(RIGHT)
def test_the_true_algorithm_gives_every_answer(kind, planted_splits):
    model, splits = planted_splits(kind.task)
    found = judge_hypothesis(model, kind(), splits, plan=ALONE)
    assert found.n_right == found.n_prompts
    for each in found.variables:
        assert each.accuracy.changes.value == 1.0, each
        assert each.accuracy.stays is None or each.accuracy.stays.value == 1.0, each
    assert found.outcome == STANDS


@named(WRONG)
def test_a_wrong_algorithm_with_the_right_answers_is_refuted_at_every_variable(
    kind, planted_splits
):
    model, splits = planted_splits(kind.task)
    found = judge_hypothesis(model, kind(), splits, plan=ALONE)
    assert {each.outcome for each in found.variables} == {REFUTED}
    assert max(each.accuracy.weaker for each in found.variables) < THRESHOLD


def test_the_right_algorithm_at_the_wrong_head_is_refuted(planted_splits):
    model, splits = planted_splits("planted-induction")
    own = InductionByWord().aligned(model.name)
    found = judge_hypothesis(
        model, InductionByWord(), splits, alignment={**own, "sought": "a1.h0<q> at END"}, plan=ALONE
    )
    assert [each.outcome for each in found.variables] == [STANDS, REFUTED]
    assert found.outcome == REFUTED
    assert "`sought` at a1.h0<q> at END: 0 [" in found.sentence


def test_heads_are_named_by_their_roles_in_whichever_slots_they_stand(planted_splits):
    _, splits = planted_splits("planted-induction")
    model = load_model("planted-induction:plain:3", dtype="float64")
    own = InductionByWord()
    assert own.aligned(model.name) != own.aligned("planted-induction")
    assert judge_hypothesis(model, own, splits, plan=ALONE).outcome == STANDS


def test_the_search_finds_the_true_place_and_beats_the_same_search_in_random_weights(
    planted_splits,
):
    model, splits = planted_splits("planted-induction")
    plan = Plan(search=True, sites=("q",))
    own = InductionByWord().aligned(model.name)
    found = judge_hypothesis(
        model, InductionByWord(), splits, alignment={"before": own["before"]}, plan=plan
    )
    sought = found.variables[1]
    assert sought.place == own["sought"]
    assert sought.found_by == "search"
    assert sought.outcome == STANDS
    controls = {control.name: control for control in sought.controls}
    assert list(controls) == ["shuffled", "copied", "elsewhere", "untrained"]
    assert controls["untrained"].weaker < 0.5
    assert controls["elsewhere"].weaker == 0.0
    assert "the median of 7 other places" in controls["elsewhere"].what


def test_what_decides_the_answer_alone_stays_open_where_the_answer_is_given(planted_splits):
    model, splits = planted_splits("planted-facts")
    at_subject = next(kind for kind in WRONG if kind.task == "planted-facts")
    found = judge_hypothesis(
        model, at_subject(), splits, alignment={"fact": "post 1 at END"}, plan=ALONE
    )
    (fact,) = found.variables
    assert fact.accuracy.weaker == 1.0
    assert [control.name for control in fact.reached_by] == ["copied"]
    assert found.outcome == "open"
    assert found.sentence.startswith("Nothing is shown of planted-facts-at-subject")


class Disagrees(InductionByWord):
    name = "disagrees"

    def answer(self, prompt, sought):
        return prompt.words[1]


class Silent(InductionByWord):
    name = "silent"

    def answer(self, prompt, before, sought):
        return None


@pytest.mark.parametrize("kind", [Disagrees, Silent])
def test_an_answer_that_is_not_the_labels_is_refused_with_the_first_prompt(kind, planted_splits):
    model, splits = planted_splits("planted-induction")
    pattern = r"must give a right answer on every prompt, got .* on prompt [12], '<s> .*is right"
    with pytest.raises(HypothesisError, match=pattern):
        judge_hypothesis(model, kind(), splits)


@pytest.mark.parametrize(
    ("alignment", "message"),
    [
        ({"before": "a0.h0 at all"}, "every variable must have an alignment, got none for sought"),
        (
            {"before": "a0.h0 at all", "sought": "a1.h0<q> at END", "place": "m0 at END"},
            "an alignment must be of one of its variables, before, sought, got 'place'",
        ),
        ({"before": "a0.h0 at all", "sought": "a7.h0 at END"}, "the place must exist in model"),
        ({"before": "a0.h0 at all", "sought": "a1.h0 at S2"}, "the role must be one of all, END"),
        ({"before": "a0.h0 at all", "sought": "a1.h0<pattern> at END"}, "the place must exist"),
        ({"before": "a0.h0", "sought": "a1.h0<q> at END"}, "must be written as 'post 2 at END'"),
    ],
)
def test_an_alignment_that_does_not_fit_is_refused(alignment, message, planted_splits):
    model, splits = planted_splits("planted-induction")
    with pytest.raises(HypothesisError, match=message):
        judge_hypothesis(model, InductionByWord(), splits, alignment=alignment)


def test_a_search_too_knows_the_variables(planted_splits):
    model, splits = planted_splits("planted-induction")
    with pytest.raises(HypothesisError, match="one of its variables, before, sought, got 'place'"):
        judge_hypothesis(
            model,
            InductionByWord(),
            splits,
            alignment={"place": "a0.h0 at END"},
            plan=Plan(search=True),
        )


def test_too_few_prompts_and_a_model_that_fails_the_task_are_refused(planted_splits):
    model, splits = planted_splits("planted-induction", 10)
    with pytest.raises(HypothesisError, match="at least 16 prompts rightly, got 10 of 10"):
        judge_hypothesis(model, InductionByWord(), splits)
    _, splits = planted_splits("planted-induction")
    other = load_model("planted-predecessor", dtype="float64")
    with pytest.raises(HypothesisError, match=r"at least 16 prompts rightly, got \d of 64"):
        judge_hypothesis(other, InductionByWord(), splits)


def test_other_wordings_are_judged_and_left_out_where_they_are_too_few(planted_splits):
    model, splits = planted_splits("planted-induction")
    own = InductionByWord()
    more = replace(ALONE, wordings=splits.discovery)
    found = judge_hypothesis(model, own, splits, plan=more)
    assert {each.wordings.weaker for each in found.variables} == {1.0}
    few = replace(ALONE, wordings=splits.discovery.select(range(8)))
    found = judge_hypothesis(model, own, splits, plan=few)
    assert {each.wordings for each in found.variables} == {None}
    assert found.outcome == STANDS
