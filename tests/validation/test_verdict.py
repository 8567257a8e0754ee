from dataclasses import replace

import pytest

from circuitkit.cli.actions.shown import show_verdict
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.validation.verdict import (
    Finding,
    answer_rows,
    check_of,
    outcome_of,
    reach_verdict,
    unmeasured,
)

LEAST, MOST = Bound(min=0.8), Bound(max=0.2)
GOOD = Estimate(0.9, 0.85, 0.95, 50)


@pytest.mark.parametrize(
    ("value", "bound", "outcome"),
    [
        (Estimate(0.9, 0.8, 0.95, 50), LEAST, "supported"),
        (Estimate(0.9, 0.79, 0.95, 50), LEAST, "undecided"),
        (Estimate(0.7, 0.6, 0.8, 50), LEAST, "undecided"),
        (Estimate(0.6, 0.5, 0.79, 50), LEAST, "refuted"),
        (Estimate(0.1, 0.05, 0.2, 50), MOST, "supported"),
        (Estimate(0.1, 0.05, 0.21, 50), MOST, "undecided"),
        (Estimate(0.4, 0.21, 0.5, 50), MOST, "refuted"),
        (Estimate(0.0, -0.1, 0.1, 50), Bound(min=-0.2, max=0.2), "supported"),
        (Estimate(0.1, -0.1, 0.3, 50), Bound(min=-0.2, max=0.2), "undecided"),
        (Estimate(-0.4, -0.5, -0.3, 50), Bound(min=-0.2, max=0.2), "refuted"),
        (GOOD, Bound(), "reported"),
    ],
)
def test_the_interval_decides_not_the_point(value, bound, outcome):
    assert outcome_of(Finding(value), bound) == outcome


@pytest.mark.parametrize(
    ("p", "value", "outcome"),
    [
        (0.05, Estimate(0.03, 0.0, 0.4, 39), "supported"),
        (0.051, Estimate(0.03, 0.0, 0.4, 39), "undecided"),
        (0.9, Estimate(0.6, 0.4, 0.8, 39), "refuted"),
    ],
)
def test_a_test_supports_by_its_p_and_is_refuted_by_its_interval(p, value, outcome):
    assert outcome_of(Finding(value, p=p), Bound(max=0.05)) == outcome


def test_a_test_does_not_support_a_value_that_is_outside():
    value = Estimate(0.0256, 0.001, 0.13, 39)
    assert outcome_of(Finding(value, p=0.05), Bound(max=0.05)) == "supported"
    assert outcome_of(Finding(value, p=0.05), Bound(max=0.01)) == "undecided"


def test_a_test_decides_only_the_bound_that_it_is_about():
    inside, wide = Estimate(0.0, -0.05, 0.05, 39), Estimate(0.0, -0.15, 0.15, 39)
    tested = Bound(min=-0.2, max=0.2)
    for value, p, bound, outcome in (
        (wide, 0.01, tested, "supported"),
        (inside, 0.2, tested, "undecided"),
        (wide, 0.01, Bound(-0.1, 0.1), "undecided"),
        (inside, 0.2, Bound(-0.1, 0.1), "supported"),
        (wide, 0.01, Bound(), "reported"),
    ):
        finding = Finding(value, p=p, tested=tested)
        assert outcome_of(finding, bound) == outcome
        assert ("p ≤" in check_of("equivalence", finding, bound).rule) == (bound == tested)


def test_a_test_without_a_bound_has_no_rule():
    finding = Finding(Estimate(0.0, 0.0, 0.1, 39), p=0.03)
    assert check_of("sufficiency", finding, Bound()).rule == "–"


def test_alpha_is_the_level_of_the_test():
    finding = Finding(Estimate(0.0, 0.0, 0.1, 39), p=0.03)
    assert outcome_of(finding, Bound(max=0.05, alpha=0.01)) == "undecided"
    assert "p ≤ 0.01" in check_of("sufficiency", finding, Bound(max=0.05, alpha=0.01)).rule


def verdict_of(**values):
    return reach_verdict(
        [check_of(name, Finding(value), bound) for name, (value, bound) in values.items()], "facts"
    )


def test_one_refuted_check_refutes_the_whole():
    bad = Estimate(0.4, 0.3, 0.5, 50)
    verdict = verdict_of(one=(GOOD, LEAST), two=(bad, LEAST), three=(bad, Bound()))
    assert verdict.outcome == "refuted"
    assert verdict.sentence == "Refuted: facts, but two must be at least 0.8, got 0.4 [0.3, 0.5]."


def test_one_open_question_leaves_the_whole_open():
    verdict = verdict_of(one=(GOOD, LEAST), two=(Estimate(0.8, 0.7, 0.9, 50), LEAST))
    assert verdict.outcome == "undecided"
    assert "two must be" in verdict.sentence
    assert "one must be" not in verdict.sentence


def test_a_criterion_without_a_bound_decides_nothing():
    assert verdict_of(one=(GOOD, LEAST), two=(GOOD, Bound())).outcome == "supported"
    assert verdict_of(two=(GOOD, Bound())).outcome == "undecided"


def test_what_could_not_be_measured_is_never_a_pass():
    checks = [check_of("one", Finding(GOOD), LEAST), unmeasured("two", LEAST, "no pairs")]
    verdict = reach_verdict(checks, "facts")
    assert verdict.outcome == "undecided"
    assert "no pairs" in verdict.sentence
    assert unmeasured("two", Bound(), "no pairs").outcome == "reported"


def test_a_supported_verdict_names_what_it_survived():
    verdict = verdict_of(one=(GOOD, LEAST), two=(GOOD, LEAST))
    assert verdict.sentence == "Supported: facts; it holds in one, two."
    assert verdict.check("two").value == GOOD


BAD, OPEN = Estimate(0.4, 0.3, 0.5, 50), Estimate(0.8, 0.7, 0.9, 50)


def asking(name, question, value, bound=LEAST, **more):
    return replace(check_of(name, Finding(value), bound), question=question, **more)


def test_a_question_is_answered_by_all_its_checks_and_by_no_other():
    verdict = reach_verdict(
        [
            asking("a", "able", GOOD),
            asking("b", "enough", GOOD),
            asking("c", "enough", BAD),
            asking("d", "luck", GOOD),
            asking("e", "luck", OPEN),
            asking("f", "elsewhere", BAD, Bound()),
            asking("g", "all", GOOD),
            asking("h", "all", BAD, Bound()),
        ],
        "facts",
    )
    found = {answer.question: (answer.outcome, answer.checks) for answer in verdict.questions}
    assert found == {
        "able": ("supported", ("a",)),
        "enough": ("refuted", ("b", "c")),
        "all": ("supported", ("g", "h")),
        "luck": ("undecided", ("d", "e")),
        "elsewhere": ("not asked", ("f",)),
    }
    assert list(found) == ["able", "enough", "all", "luck", "elsewhere"]
    assert verdict.outcome == "refuted"


def test_the_sentence_speaks_of_questions_in_plain_words():
    good = [asking("a", "able", GOOD), asking("b", "needed", GOOD)]
    supported = reach_verdict(good, "facts")
    assert (
        supported.sentence == "Supported: facts; the model can do the task; its parts are needed."
    )
    bad = asking("c", "all", BAD, measures="what is lost")
    assert reach_verdict([*good, bad], "facts").sentence == (
        "Refuted: facts, but it lacks what takes over for its parts: what is lost must be at "
        "least 0.8, got 0.4 [0.3, 0.5]."
    )
    unclear = asking("d", "luck", OPEN, measures="the lead")
    assert reach_verdict([*good, unclear], "facts").sentence == (
        "Undecided: facts; it is open whether it is luck: the lead must be at least 0.8, got 0.8 "
        "[0.7, 0.9]."
    )


def test_a_measurement_is_named_once_where_it_fails():
    checks = [
        asking("a", "enough", BAD, measures="first"),
        asking("b", "enough", BAD, measures="second", same_as="a"),
    ]
    verdict = reach_verdict(checks, "facts")
    assert "first must be" in verdict.sentence
    assert "second" not in verdict.sentence
    assert answer_rows(verdict) == (("Is the circuit enough?", "refuted", "a", "b as a"),)


def test_only_checks_with_a_threshold_stand_behind_an_answer():
    checks = [asking("a", "able", GOOD), asking("b", "able", GOOD, Bound())]
    assert answer_rows(reach_verdict(checks, "facts"))[0][2] == "a"
    assert answer_rows(reach_verdict(checks[1:], "facts"))[0][1:3] == ("not asked", "b")


@pytest.mark.parametrize(
    ("value", "p", "text"),
    [
        (Estimate(43.0, 43.0, 43.0, 1), None, "43"),
        (Estimate(1234.0, 1234.0, 1234.0, 1), None, "1,234"),
        (Estimate(0.0898, 0.0898, 0.0898, 1), None, "0.0898"),
        (GOOD, 5.06e-162, "0.9 [0.85, 0.95], p < 0.001"),
        (GOOD, 0.0015, "0.9 [0.85, 0.95], p = 0.0015"),
    ],
)
def test_counts_are_whole_and_tiny_p_values_are_not_spelled_out(value, p, text):
    assert check_of("one", Finding(value, p=p), LEAST).got == text


def test_the_terminal_shows_the_questions_before_the_checks_and_the_sentence_last(capsys):
    checks = [
        asking("faithfulness", "enough", GOOD, measures="the share kept"),
        asking("hold-out", "elsewhere", GOOD, measures="elsewhere", same_as="faithfulness"),
        asking("kl", "enough", GOOD, Bound(), measures="the distance"),
    ]
    verdict = reach_verdict(checks, "facts")
    show_verdict(verdict, verbose=True)
    said = " ".join(capsys.readouterr().out.split())
    shown = [
        "Is the circuit enough? supported faithfulness: 0.9 [0.85, 0.95], n = 50; must be at least "
        "0.8: supported (the share kept)",
        "kl: 0.9 [0.85, 0.95], n = 50 (the distance)",
        "Does it hold elsewhere? supported hold-out: ",
        "(elsewhere, the same measurement as faithfulness)",
        verdict.sentence,
    ]
    places = [said.find(each) for each in shown]
    assert -1 not in places
    assert places == sorted(places)
    assert said.endswith(verdict.sentence)
    show_verdict(verdict)
    assert "kl:" not in capsys.readouterr().out
