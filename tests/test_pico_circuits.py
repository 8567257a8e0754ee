"""The shipped model and tasks together: what the README promises, measured again."""

import re

import pytest

from circuitkit.errors import MethodError
from circuitkit.prompts.splits import sample_splits
from circuitkit.reporting.content import verdict_sentences
from circuitkit.study.pipeline import study
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Subject
from circuitkit.task import find_task
from circuitkit.validation.criteria import CRITERIA
from circuitkit.zoo import load_model

N_PAIRS = 40
JUDGED_BY = ("faithfulness", "edge-share")  # all criteria on pico: `circuitkit run` in CI


@pytest.fixture(scope="module")
def pico():
    return load_model("pico")


def study_task(name, model, n_pairs=N_PAIRS, criteria=JUDGED_BY, **settings):
    task = find_task(name)
    splits = sample_splits(task, model.tokenizer, n=n_pairs, seed=1)
    subject = Subject(task.name, task.description, task.metric, model, splits, "test")
    return study(subject, Settings(n_random=3, criteria=criteria, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ioi", "factual-recall"])
def test_a_small_circuit_is_faithful_on_held_out_prompts(name, pico):
    record = study_task(name, pico)
    validation = record.validation
    accuracy = validation.baseline.accuracy
    assert accuracy.value > 0.95
    assert accuracy.low > 0.85  # 35 independent pairs, all of them right, show no more than 0.8999
    assert record.circuit.n_edges <= 0.15 * record.graph.n_edges
    assert validation.faithfulness[0].ablation == "mean"
    assert validation.faithfulness[0].value.value >= 0.8
    best_random = max(max(point.random) for point in validation.curve.points[:-3])
    assert validation.faithfulness[0].value.low > best_random
    assert {f.ablation for f in validation.faithfulness} == {"mean", "zero", "resample"}


@pytest.mark.slow
def test_a_circuit_that_is_not_faithful_enough_is_refuted_with_the_reason(pico):
    """EAP on induction: the last tokens of both prompts are the same, so it misses the queries."""
    record = study_task("induction", pico)
    assert record.validation.baseline.accuracy.value > 0.95
    assert record.validation.baseline.accuracy.low > 0.85
    assert record.info.n_edges_selected == int(0.15 * record.graph.n_edges)
    assert record.validation.verdict.outcome == "refuted"
    sentence, reason = verdict_sentences(record)
    assert "the circuit keeps must be at least 0.8, got" in sentence
    assert re.search(r"first reach 0\.8 at \d+ \(\d", reason)


def test_a_circuit_of_fixed_size_has_no_more_edges_than_asked_for(pico):
    record = study_task("ioi", pico, 20, n_edges=7)
    assert record.info.n_edges_selected == 7
    assert 0 < record.circuit.n_edges <= 7


def test_edges_that_lead_nowhere_are_no_circuit(pico):
    with pytest.raises(MethodError, match="must lead from the input to the logits"):
        study_task("ioi", pico, n_edges=2)


def test_every_number_of_a_study_is_the_same_the_second_time():
    model = load_model("planted-ioi:decoys:0")
    first, second = (study_task("planted-ioi", model, 24, (), n_edges=12) for _ in range(2))
    assert len(first.validation.verdict.checks) == len(CRITERIA)
    assert first.validation == second.validation
