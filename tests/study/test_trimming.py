"""Minimal circuits: what is dropped, and what is not looked at."""

from dataclasses import replace

import pytest

from circuitkit.bench.calibration.faults import faulty, subject_on
from circuitkit.errors import MethodError
from circuitkit.study.settings import Settings
from circuitkit.study.trimming import trimmed
from circuitkit.zoo.planted import planted


@pytest.fixture(scope="module")
def instance():
    return planted("planted-ioi:plain:0")


@pytest.fixture(scope="module")
def subject(instance):
    return subject_on(instance.model(), instance.task, 32)


@pytest.fixture(scope="module")
def too_much(instance, subject):
    return faulty(instance.truth(subject.model), seed=1)["plus-30%"]


def test_irrelevant_edges_go_and_true_ones_stay(instance, subject, too_much):
    found = trimmed(subject, too_much, Settings(ablation="resample")).circuit
    assert too_much.n_edges > len(instance.true_edges)
    assert set(found.edges) == set(instance.true_edges)


def test_the_validation_pairs_are_not_looked_at(subject, too_much):
    settings = Settings(ablation="resample")
    blind = replace(subject, splits=replace(subject.splits, validation=subject.splits.reference))
    found = trimmed(blind, too_much, settings).circuit
    assert found.edges == trimmed(subject, too_much, settings).circuit.edges


def test_edges_that_stand_in_for_each_other_do_not_all_go():
    instance = planted("planted-induction:backup:0")
    subject = subject_on(instance.model(), instance.task, 32)
    true = instance.truth(subject.model)
    found = trimmed(subject, true, Settings(ablation="resample")).circuit
    assert set(found.edges) == set(true.edges)


def test_too_few_pairs_are_refused(subject, too_much):
    few = replace(subject.splits, discovery=subject.splits.discovery.select(range(31)))
    with pytest.raises(MethodError, match="at least 32 discovery pairs, got 31"):
        trimmed(replace(subject, splits=few), too_much, Settings())
