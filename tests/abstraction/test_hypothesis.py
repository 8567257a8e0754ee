"""Hypotheses as classes: what follows from what, and what is refused before any run."""

import pytest

from circuitkit.abstraction.hypothesis import (
    Hypothesis,
    ReadPrompt,
    algorithm_of,
    own_alignment,
    variable,
)
from circuitkit.errors import HypothesisError

PROMPT = ReadPrompt(("<s>", "ant", "bee", "ant"), {"END": (3, 4), "list": (1, 3)}, "list")


class Doubled(Hypothesis):
    """Of a number, the double and then the answer; written in another order than it follows."""

    name = "doubled"

    @variable
    def double(self, length):
        return None if length == 7 else 2 * length

    @variable
    def length(self, prompt):
        return len(prompt.words)

    def answer(self, prompt, double):
        return f"{prompt['END']} {double}"


def test_variables_stand_behind_what_they_follow_from():
    assert algorithm_of(Doubled()).variables == ("length", "double")


def test_a_given_variable_is_not_worked_out_and_what_follows_from_it_is():
    algorithm = algorithm_of(Doubled())
    assert algorithm.answer(PROMPT) == "ant 8"
    assert algorithm.answer(PROMPT, {"length": 5}) == "ant 10"
    assert algorithm.answer(PROMPT, {"double": 5}) == "ant 5"


def test_nothing_follows_from_a_value_of_which_nothing_is_said():
    algorithm = algorithm_of(Doubled())
    assert algorithm.values(PROMPT, {"length": 7})["answer"] is None
    assert algorithm.values(PROMPT, {"length": None})["double"] is None


def test_a_role_is_read_as_its_words():
    assert PROMPT["list"] == "ant bee"
    with pytest.raises(HypothesisError, match=r"role 'S2': must be one of END, list, got a prompt"):
        PROMPT["S2"]


class NoAnswer(Hypothesis):
    @variable
    def word(self, prompt):
        return prompt["END"]


class NoVariable(Hypothesis):
    def answer(self, prompt):
        return "ant"


class Unknown(NoAnswer):
    def answer(self, prompt, wrod):
        return "ant"


class Ring(Hypothesis):
    @variable
    def one(self, other):
        return other

    @variable
    def other(self, one):
        return one

    def answer(self, one):
        return one


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NoAnswer, "hypothesis 'NoAnswer': must have a method `answer`, got word"),
        (NoVariable, "must have a method marked `@variable`, got answer"),
        (Unknown, "arguments of `answer` must be `prompt` or variables, got wrod"),
        (Ring, "no variable may follow from itself, got one, other, answer in a ring"),
    ],
)
def test_a_class_that_is_no_algorithm_is_refused(kind, message):
    with pytest.raises(HypothesisError, match=message):
        algorithm_of(kind())


def test_a_variable_can_be_taken_away_by_a_subclass():
    class Other(Doubled):
        double = None

        def answer(self, length):
            return str(length)

    assert algorithm_of(Other()).variables == ("length",)


def test_code_that_raises_or_answers_no_text_is_named():
    class Raises(Doubled):
        @variable
        def length(self, prompt):
            return prompt.words[9]

    class Number(Doubled):
        def answer(self, double):
            return double

    class Lists(Doubled):
        @variable
        def length(self, prompt):
            return [1]

    with pytest.raises(HypothesisError, match="`length` must work without error, got IndexError"):
        algorithm_of(Raises()).answer(PROMPT)
    with pytest.raises(HypothesisError, match="`answer` must return text, or None, got 8"):
        algorithm_of(Number()).answer(PROMPT)
    with pytest.raises(HypothesisError, match="`length` must work without error, got TypeError"):
        algorithm_of(Lists()).answer(PROMPT)


def test_where_a_hypothesis_says_its_variables_are_is_a_strangers_code():
    class Raises(Doubled):
        def aligned(self, model):
            return {}[model]

    class Numbers(Doubled):
        alignment = {"length": 3}

    class Named(Doubled):
        alignment = {"length": "post 2 at END"}

    with pytest.raises(HypothesisError, match="`aligned` must work without error, got KeyError"):
        own_alignment(Raises(), "pico")
    with pytest.raises(HypothesisError, match="must name places as text, got 3 for 'length'"):
        own_alignment(Numbers(), "pico")
    assert own_alignment(Named(), "pico") == {"length": "post 2 at END"}
