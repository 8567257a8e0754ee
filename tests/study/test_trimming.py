"""Minimal circuits: what is dropped, and what is not looked at."""

from dataclasses import replace

import pytest

from circuitkit.bench.calibration.faults import faulty, subject_on
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.selection import prune_dead_ends
from circuitkit.errors import MethodError
from circuitkit.gradients.circuit_slopes import edge_slopes
from circuitkit.interventions.work import Work
from circuitkit.study import trimming
from circuitkit.study.edge_effects import EdgeEffects
from circuitkit.study.settings import Settings
from circuitkit.study.trimming import discovery_case, trimmed
from circuitkit.work.progress import silent
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


def test_slopes_are_those_of_the_edges_they_stand_beside(subject, too_much):
    """Edges have an order of their own, which is not that of the mask's rows."""
    settings = Settings(ablation="resample")
    case = discovery_case(subject, too_much, settings)
    state = EdgeEffects(case)
    found = dict(zip(too_much.edges, state.slopes(too_much).tolist(), strict=True))
    work = Work(subject.ablations["resample"])
    [slopes] = edge_slopes(subject.model, case.choosing, [too_much], subject.metric, work)
    named = dict(zip(too_much.graph.edge_names, slopes.abs().tolist(), strict=True))
    assert len({round(value, 9) for value in found.values()}) > 2
    for edge, value in found.items():
        assert value * state.gap == pytest.approx(named[edge], rel=1e-6, abs=1e-9)


def test_large_circuits_are_ranked_by_slopes_and_lose_what_they_may_evenly(
    subject, too_much, monkeypatch, instance
):
    monkeypatch.setattr(trimming, "MANY", 4)
    found = trimmed(subject, too_much, Settings(ablation="resample")).circuit
    assert set(found.edges) >= set(instance.true_edges)
    assert found.n_edges < too_much.n_edges
    case = discovery_case(subject, Circuit.full(subject.model.graph), Settings(ablation="resample"))
    state = trimming._Trimming(case, silent)
    paces = [state._pace(case.circuit), state._pace(too_much)]
    assert 0 < paces[0] < paces[1] == 1


def test_the_reason_says_what_was_left_to_do(subject, too_much, monkeypatch):
    done = trimmed(subject, too_much, Settings(ablation="resample"))
    assert done.reason == "100% of what is left does enough to be needed"
    monkeypatch.setattr(trimming, "ENOUGH_NEEDED", 2.0)  # never done: it stops where no edge may go
    stuck = trimmed(subject, too_much, Settings(ablation="resample"))
    assert stuck.reason.startswith("without more it would ")
    assert set(stuck.circuit.edges) == set(done.circuit.edges)


def test_a_whole_small_graph_is_trimmed_though_nothing_lies_outside_to_compare_with():
    instance = planted("planted-skip-trigram:plain:1")
    subject = subject_on(instance.model(), instance.task, 48)
    whole = prune_dead_ends(Circuit.full(subject.model.graph))
    found = trimmed(subject, whole, Settings(ablation="resample")).circuit
    assert set(found.edges) == set(instance.truth(subject.model).edges)
