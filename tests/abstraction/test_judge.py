"""Verdicts: which numbers make a variable stand, open or refuted, and what is said of it."""

from dataclasses import replace

import pytest

from circuitkit.abstraction.judge import (
    Accuracy,
    Control,
    HypothesisResult,
    VariableResult,
)
from circuitkit.statistics.shares import share_estimate


def result(changed, kept, *controls):
    stays = None if kept is None else share_estimate(kept, 100)
    accuracy = Accuracy(share_estimate(changed, 100), share_estimate(changed, 100), stays)
    found = tuple(Control(f"c{i}", 1.0, weaker, "a control") for i, weaker in enumerate(controls))
    return VariableResult("v", "post 0 at END", accuracy, found, 0)


@pytest.mark.parametrize(
    ("changed", "kept", "controls", "outcome"),
    [
        (100, 100, (0.3, 0.1), "stands"),
        (100, None, (0.3,), "stands"),
        (90, 90, (0.3,), "stands"),
        (89, 100, (0.3,), "refuted"),
        (100, 89, (0.3,), "refuted"),  # what should stay and does not
        (100, 100, (0.3, 0.97), "open"),  # as far as the lower end, 0.964
        (100, 100, (0.3, 0.96), "stands"),
        (89, 100, (1.0,), "refuted"),
    ],
)
def test_the_lower_of_both_kinds_and_the_controls_decide(changed, kept, controls, outcome):
    assert result(changed, kept, *controls).outcome == outcome


def of(*variables):
    return HypothesisResult("h", "It is one.", "m", "t", 100, 99, variables)


def test_one_refuted_variable_refutes_and_one_that_stands_suffices():
    good, bad, open_ = result(100, 100, 0.2), result(50, 100, 0.2), result(100, 100, 1.0)
    assert of(good, bad, open_).outcome == "refuted"
    assert of(open_, good).outcome == "stands"
    assert of(open_).outcome == "open"


def test_the_sentence_says_what_would_have_refuted_it():
    good, open_ = result(100, 100, 0.2), replace(result(100, 100, 1.0), variable="w")
    said = of(good, open_).sentence
    assert said.startswith("h stands in m. `v` at post 0 at END: 1 [0.964, 1] of the answers")
    assert "the best control, `c0`, reaches 0.20. Nothing is shown of `w`." in said
    assert said.endswith("a control as good would have left it open.")
    said = of(result(100, 20, 0.2)).sentence
    assert "0.2 [0.127, 0.292] were kept; 0.20 is below 0.9" in said
    assert "the control `c0` reaches 1.00: a control" in of(open_).sentence


def test_scripts_get_every_number():
    found = of(result(100, None, 0.2)).as_dict()
    (own,) = found["variables"]
    assert found["outcome"] == own["outcome"] == "stands"
    assert own["stays"] is None
    assert own["changes"]["low"] == pytest.approx(0.9638, abs=1e-4)
    assert own["controls"]["c0"]["weaker"] == 0.2
    assert found["threshold"] == 0.9


def test_what_fails_in_other_wordings_is_refuted_and_says_so():
    good = result(100, 100, 0.2)
    same = replace(good, wordings=good.accuracy)
    assert same.outcome == "stands"
    other = replace(good, wordings=result(100, 70).accuracy)
    assert other.outcome == "refuted"
    assert "but in other wordings 0.7 [0.6, 0.788], below 0.9" in other.reason
    assert other.as_dict()["wordings"]["stays"]["value"] == 0.7
