"""What is asked around an edit, and what the answers add up to."""

import numpy as np
import pytest

from circuitkit.control.editing.facts import Fact
from circuitkit.control.editing.measures import Answers, Outcome, n_gram_entropy, outcome, summary
from circuitkit.control.editing.measures import unedited as before_edits
from circuitkit.control.editing.questions import drawn_facts, questions_for
from circuitkit.control.editing.sweep import AtLayer, Traced, correlation_with_tracing, layers_named
from circuitkit.errors import AnswerError, MethodError, PromptError
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from circuitkit.zoo.pico.train_dictionaries import pico_prompts

FACT = Fact("The capital of France is", (15, 21), " Rome", " Paris")


@pytest.fixture(scope="module")
def drawn():
    return drawn_facts(find_task("factual-recall"))


def answers(*rows):
    return Answers(*np.array(rows, dtype=np.float64).T)


def outcome_of(before, after, kind="neighbourhood"):
    subjects = {kind: tuple(range(len(after.target)))}
    return Outcome(FACT, {kind: before}, {kind: after}, subjects, (4.0, 3.0), np.array([0.1, 0.3]))


def test_questions_are_other_wordings_other_subjects_and_other_facts(drawn):
    found = questions_for(drawn, "The capital of France is", "Rome")
    assert found.fact == FACT
    assert len(found.paraphrases) == 8
    assert {fact.true for fact in found.paraphrases} == {" Paris"}
    assert {fact.subject_text for fact in found.paraphrases + found.others} == {"France"}
    assert {fact.true for fact in found.others} == {" French", " Europe"}
    assert "France" not in {fact.subject_text for fact in found.neighbours}
    assert " Rome" not in {fact.true for fact in found.neighbours}
    assert len(found.pairs) == 9


def test_facts_that_the_task_does_not_have_are_refused(drawn):
    with pytest.raises(PromptError, match="must be a prompt of the task"):
        questions_for(drawn, "The capital of Atlantis is", "Rome")
    with pytest.raises(AnswerError, match="another answer than the true one"):
        questions_for(drawn, "The capital of France is", "Paris")
    with pytest.raises(PromptError, match="every pair must be text with the role 'subject'"):
        drawn_facts(find_task("ioi"))


def test_an_edit_that_changes_nothing_is_measured_as_nothing(drawn):
    pico = load_model("pico")
    questions = questions_for(drawn, "The capital of France is", "Rome")
    base = before_edits(pico, questions, pico_prompts().held_out())
    found = {each.name: each for each in summary([outcome(base, pico)])}
    assert found["efficacy"].value == 0
    assert found["efficacy"].low is None
    assert found["neighbourhood"].value == 1
    assert found["KL on unrelated text"].value == pytest.approx(0, abs=1e-6)
    assert found["fluency change"].value == 0
    assert found["same subject"].value == 1


def test_neighbourhood_counts_true_answers_above_the_target_and_its_change():
    before = answers((0.1, 0.8, 1), (0.1, 0.8, 1), (0.1, 0.8, 1), (0.1, 0.8, 1))
    after = answers((0.1, 0.8, 1), (0.7, 0.2, 0), (0.3, 0.3, 0), (0.0, 0.9, 1))
    found = {each.name: each for each in summary([outcome_of(before, after)])}
    assert found["neighbourhood"].value == pytest.approx(2.5 / 4)
    assert found["neighbourhood change"].value == pytest.approx(-1.5 / 4)
    assert found["neighbourhood magnitude"].value == pytest.approx((0.7 - 0.5 + 0 + 0.9) / 4)
    assert found["neighbourhood"].low < 2.5 / 4 < found["neighbourhood"].high
    assert found["fluency change"].value == -1
    assert found["KL on unrelated text"].value == pytest.approx(0.2)


def test_several_facts_are_the_units_of_the_interval():
    rows = answers(*[(0.1, 0.8, 1)] * 5)
    found = {each.name: each for each in summary([outcome_of(rows, rows)] * 4)}
    assert found["neighbourhood"].n == 4


def test_fluency_weighs_bigrams_by_two_thirds_and_trigrams_by_four():
    assert n_gram_entropy((1, 1, 1, 1)) == 0
    assert n_gram_entropy((1, 2, 3, 4, 5)) == pytest.approx((2 / 3 * 2 + 4 / 3 * np.log2(3)) / 2)


def test_layers_are_named_or_refused():
    pico = load_model("pico")
    assert layers_named("all", pico) == layers_named("traced", pico) == (0, 1, 2, 3)
    assert layers_named("2", pico) == (2,)
    for wrong in ("first", "-1"):
        with pytest.raises(MethodError, match="--layer: must be traced, all or a number from 0 to"):
            layers_named(wrong, pico)
    with pytest.raises(MethodError, match="the layer must be from 0 to 3, got 4"):
        layers_named("4", pico)


def test_tracing_peaks_where_most_comes_back_and_refused_layers_count_for_nothing():
    traced = Traced((0.1, 0.7, 0.2), 1.0)
    assert traced.peak == 1
    refused = [AtLayer(layer, None, None, "why") for layer in range(3)]
    assert correlation_with_tracing(traced, refused, "paraphrase") is None
