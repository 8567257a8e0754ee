from dataclasses import asdict, replace

import numpy as np
import pytest

from circuitkit.errors import CriterionError, SampleWarning
from circuitkit.statistics.bound import Bound
from circuitkit.validation.criteria import CRITERIA, Thresholds
from circuitkit.validation.judge import (
    MIN_TO_JUDGE,
    judge_circuit,
    questioned,
    warn_if_too_few,
)
from circuitkit.validation.questions import QUESTIONS

OPEN = Thresholds({name: Bound() for name in CRITERIA})


def at(told, f, spread=0.02, n=17, **changes):
    """A case whose circuit has this faithfulness."""
    noise = np.random.default_rng(0).normal(0, spread, n)
    noise -= noise.mean()

    def tell(c, *_):
        if c.n_edges in (0, 75):
            return np.full(n, float(c.n_edges > 0))
        return f + noise

    return told(tell, **changes)


def judged(case, *names, **bounds):
    thresholds = OPEN.with_bounds({name.replace("_", "-"): b for name, b in bounds.items()})
    return judge_circuit(case, thresholds, only=names or [n.replace("_", "-") for n in bounds])


def test_all_criteria_are_judged_in_their_order_and_progress_is_told(case):
    steps = []
    verdict = judge_circuit(case, OPEN, progress=lambda done, n: steps.append((done, n)))
    assert [check.criterion for check in verdict.checks] == list(CRITERIA)
    assert {check.outcome for check in verdict.checks} == {"reported"}
    assert verdict.outcome == "undecided"
    assert "no criterion has a bound" in verdict.sentence
    assert steps == [(i, 29) for i in range(30)]


@pytest.mark.parametrize(
    ("f", "outcome"), [(1.0, "supported"), (0.5, "refuted"), (0.8, "undecided")]
)
def test_the_verdict_follows_the_bound(told, f, outcome):
    verdict = judged(at(told, f), faithfulness=Bound(min=0.8))
    assert verdict.outcome == outcome
    value = verdict.check("faithfulness").value
    assert value.value == pytest.approx(f)
    assert f"keep {value.value:.0%} of the behaviour" in verdict.sentence
    assert "under resample ablation" in verdict.sentence
    assert "on 17 prompts that did not find it" in verdict.sentence


def test_what_cannot_be_measured_leaves_the_verdict_open(told):
    case = at(told, 1.0, find=None)
    bounds = {"faithfulness": Bound(min=0.8), "stability": Bound(min=0.8)}
    verdict = judged(case, **bounds)  # it cannot be found again here
    assert verdict.outcome == "undecided"
    assert verdict.check("stability").value is None
    assert verdict.sentence.startswith("Undecided: ")
    assert "it is open whether it holds elsewhere: overlap with circuits found" in verdict.sentence
    assert "could not be measured (circuit: must be found again" in verdict.sentence
    verdict = judged(case, faithfulness=Bound(min=0.8), stability=Bound())
    assert verdict.outcome == "supported"
    assert verdict.check("stability").outcome == "reported"


def test_pairs_under_the_least_number_judge_nothing(told, case):
    for n, outcome in ((MIN_TO_JUDGE - 1, "undecided"), (MIN_TO_JUDGE, "supported")):
        few = at(told, 1.0, n=n, validation=case.validation.select(range(n)))
        assert judged(few, faithfulness=Bound(min=0.8)).outcome == outcome


def with_clusters(pairs, n_clusters):
    names = tuple(f"fact {i % n_clusters}" for i in range(len(pairs)))
    return replace(pairs, cluster_names=names)


def test_many_pairs_in_few_clusters_judge_nothing_and_nothing_is_run(told, case):
    def never(*_):
        raise AssertionError("a circuit was run")

    few = told(never, validation=with_clusters(case.validation, 15))
    verdict = judge_circuit(few, Thresholds())
    assert verdict.outcome == "undecided"
    assert all(check.value is None for check in verdict.checks)
    assert verdict.sentence.startswith(
        "Undecided: nothing was measured: too few independent pairs to judge: the 17 pairs are 15 "
        "clusters, at least 16 are needed; "
    )
    assert verdict.sentence.count("too few") == 1


def test_the_sentence_says_how_many_prompts_are_independent(told, case):
    enough = at(told, 0.95, validation=with_clusters(case.validation, 16))
    verdict = judged(enough, faithfulness=Bound(min=0.8))
    assert "on 17 prompts, 16 of them independent, that did not find it" in verdict.sentence


def test_many_pairs_that_are_few_are_told_before_long_work(case):
    with pytest.warns(SampleWarning, match="are 1 cluster, at least 16 .* will be undecided"):
        warn_if_too_few(with_clusters(case.validation, 1))
    warn_if_too_few(case.validation)
    warn_if_too_few(case.validation.select(range(3)))  # that is seen at once


def test_other_clusters_make_another_case(case):
    other = replace(case, validation=with_clusters(case.validation, 16))
    assert other.identity != case.identity


def test_more_pairs_are_advised_where_they_would_decide(told):
    def note(f):
        return (
            judged(at(told, f, spread=0.3), faithfulness=Bound(min=0.8)).check("faithfulness").note
        )

    assert note(0.9).startswith("about ")
    assert note(0.9).split("; ")[0].endswith(" pairs would decide")
    assert 18 < int(note(0.9).split()[1]) < 17 * 50
    assert note(0.8001).startswith("it is too close to its bound for any number of pairs")
    assert note(3.0).startswith("resample ablation")  # decided


def test_pairs_are_not_advised_where_others_than_pairs_were_counted(case, new_case):
    empty_half = iter([*[case.circuit] * 4, *[case.circuit.complement] * 4])
    held = new_case(find=lambda pairs, seed: next(empty_half))
    check = judged(held, stability=Bound(min=0.45)).check("stability")
    assert check.outcome == "undecided"
    assert check.value.n == 8
    assert check.note == "lowest 0"


def test_the_same_holds_for_tests(told):
    check = judged(at(told, 1.15, spread=0.5), equivalence=Bound(-0.2, 0.2)).check("equivalence")
    assert check.outcome == "undecided"
    assert check.p > 0.05
    assert check.note == ""


def test_an_unknown_criterion_is_refused(case):
    with pytest.raises(CriterionError, match="must be among ability, .* got truth"):
        judge_circuit(case, OPEN, only=["faithfulness", "truth"])


def answers(verdict):
    return {answer.question: answer for answer in verdict.questions}


def test_every_criterion_answers_one_question_and_each_question_is_asked(case):
    verdict = judge_circuit(case, OPEN)
    asked = [name for answer in verdict.questions for name in answer.checks]
    assert sorted(asked) == sorted(CRITERIA)
    assert [answer.question for answer in verdict.questions] == list(QUESTIONS)
    assert {answer.outcome for answer in verdict.questions} == {"not asked"}


def test_checks_that_are_one_measurement_count_once(new_case):
    names = ["faithfulness", "wang-faithfulness", "hold-out", "equivalence", "edge-share", "edges"]
    bounds = Thresholds({name: Bound(min=-9, max=90) for name in CRITERIA})
    alone = new_case(held_out={}, ablation="mean")
    verdict = judge_circuit(alone, bounds, only=names)
    same = {check.criterion: check.same_as for check in verdict.checks}
    assert same == {
        "faithfulness": "",
        "wang-faithfulness": "faithfulness",
        "hold-out": "faithfulness",
        "equivalence": "faithfulness",
        "edge-share": "",
        "edges": "edge-share",
    }
    assert (verdict.n_judged, verdict.n_measurements) == (6, 2)
    assert answers(verdict)["elsewhere"].repeats == ("hold-out",)
    value = {check.criterion: check.value for check in verdict.checks}
    assert value["hold-out"] == value["faithfulness"]
    assert value["wang-faithfulness"].value == pytest.approx(abs(value["faithfulness"].value - 1))
    assert value["equivalence"].value == pytest.approx(value["faithfulness"].value - 1)


def test_a_check_repeats_nothing_that_was_not_measured_beside_it(new_case):
    bounds = Thresholds({name: Bound(min=-9, max=90) for name in CRITERIA})
    verdict = judge_circuit(new_case(held_out={}), bounds, only=["hold-out", "edges"])
    assert [check.same_as for check in verdict.checks] == ["", ""]
    assert verdict.n_measurements == 2


def test_another_ablation_or_other_prompts_are_measurements_of_their_own(new_case, case):
    bounds = Thresholds({name: Bound(min=-9, max=90) for name in CRITERIA})
    names = ["faithfulness", "wang-faithfulness", "wang-mean", "hold-out"]
    verdict = judge_circuit(new_case(ablation="resample"), bounds, only=names)
    assert verdict.check("wang-faithfulness").same_as == "faithfulness"
    assert verdict.check("wang-mean").same_as == ""
    of = verdict.check("hold-out")
    is_own = of.value == verdict.check("faithfulness").value
    assert of.same_as == ("faithfulness" if is_own else "")


def test_completeness_repeats_faithfulness_where_no_set_is_worse_than_none(told):
    def tell(c, *_):  # the circuit is half as good as the model; without parts both are nothing
        return np.linspace(0.9, 1.1, 17 if not _[0] else 7) * {75: 1.0, 0: 0.0}.get(c.n_edges, 0.5)

    bounds = {"faithfulness": Bound(min=0.1), "completeness": Bound(max=0.9)}
    case = told(lambda c, *_: tell(c, *_), made={"component classes": {}})
    verdict = judged(case, **bounds)
    worst_is_none = "nothing (no component)" in verdict.check("completeness").note
    assert worst_is_none
    assert verdict.check("completeness").same_as == "faithfulness"


def test_a_verdict_from_before_there_were_questions_gets_them(told):
    verdict = judged(at(told, 0.95), faithfulness=Bound(min=0.8), edge_share=Bound(max=0.5))
    old = replace(
        verdict,
        questions=(),
        checks=tuple(replace(c, question="", measures="") for c in verdict.checks),
    )
    assert asdict(questioned(old)) == asdict(verdict)
