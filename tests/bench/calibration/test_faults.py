import json

import pytest

from circuitkit.bench.calibration.false_alarms import Rate
from circuitkit.bench.calibration.faults import (
    CAUGHT_BY,
    CaseResult,
    faulty,
    planted_cases,
    subject_on,
    tried,
    untrained_pico,
    without_neediest,
)
from circuitkit.bench.calibration.page import write_calibration
from circuitkit.circuits.circuit import Circuit
from circuitkit.zoo.planted import planted


@pytest.fixture(scope="module")
def ioi():
    instance = planted("planted-ioi:plain:0")
    return instance.truth(instance.model())


def test_each_fault_differs_from_the_truth_as_it_says(ioi):
    circuits = faulty(ioi, seed=3)
    true = set(ioi.edges)
    assert circuits["true"].edges == ioi.edges
    assert set(circuits["minus-edge"].edges) < true
    assert circuits["minus-edge"].n_edges == len(true) - 1
    assert set(circuits["plus-30%"].edges) > true
    assert circuits["plus-30%"].n_edges == len(true) + 3  # 30 % of 9, rounded up
    assert circuits["random"].n_edges == len(true)
    assert set(circuits["random"].edges) != true


@pytest.mark.parametrize("name", ["planted-ioi:plain:0", "planted-predecessor:plain:0"])
def test_the_truth_is_supported_and_each_fault_is_caught_by_its_criterion(name):
    cases = planted_cases(name, n=64, ablation="resample")
    assert {case.fault for case in cases} == {"true", "minus-edge", "plus-30%", "random"}
    assert [case for case in cases if not case.is_right] == []


def test_a_missing_backup_edge_is_caught_by_completeness_alone():
    instance = planted("planted-induction:backup:0")
    model = instance.model()
    true = instance.truth(model)
    subject = subject_on(model, instance.task, 32)
    backup = instance.components["backup"]
    fewer = [edge for edge in true.edges if Circuit.ends(edge)[0] != backup]
    assert len(fewer) < true.n_edges
    case = tried(subject, "x", "minus-edge", Circuit.of_edges(model.graph, fewer), "resample")
    assert case.is_right
    assert "completeness" in case.refuted_by
    assert "faithfulness" not in case.refuted_by


def test_an_untrained_model_is_refuted_by_ability(monkeypatch):
    subject = subject_on(untrained_pico(), "factual-recall", 32)
    case = tried(subject, "pico", "untrained", Circuit.full(subject.model.graph), "mean")
    assert case.outcome == "refuted"
    assert "ability-share" in case.refuted_by
    assert case.is_right


def test_the_neediest_edge_of_a_circuit_is_dropped(ioi):
    instance = planted("planted-ioi:plain:0")
    subject = subject_on(instance.model(), instance.task, 32)
    padded = ioi.with_edges(ioi.edge_mask | ioi.graph.mask_of(["input->a0.h0<k>", "a0.h0->logits"]))
    [dropped] = set(padded.edges) - set(without_neediest(subject, padded).edges)
    assert dropped in ioi.edges


def test_a_fault_is_caught_only_by_the_criterion_that_should_catch_it():
    def case(fault, outcome, *refuted):
        return CaseResult("x", "mean", fault, outcome, refuted, ())

    assert case("true", "supported").is_right
    assert not case("true", "undecided").is_right
    assert case("plus-30%", "refuted", "minimality").is_right
    assert not case("plus-30%", "refuted", "faithfulness").is_right
    assert not case("random", "supported").is_right
    assert all(names for names in CAUGHT_BY.values())


def test_the_page_counts_what_was_right_and_keeps_the_numbers(tmp_path):
    cases = [
        CaseResult("one", "mean", "true", "supported", (), ()),
        CaseResult("two", "mean", "true", "refuted", ("minimality",), ()),
        CaseResult("one", "mean", "random", "refuted", ("faithfulness",), ("hold-out",)),
    ]
    rates = [Rate("sufficiency", 20, 400), Rate("necessity", 33, 400)]
    page, data = write_calibration(cases, rates, tmp_path, command="cmd", versions="v 1")
    text = page.read_text()
    assert "| true | 1 | 1 | 0 | 1 | 2 |" in text
    assert "inside the band: 1 of 2." in text
    assert "| sufficiency | 20 | 400 | 5.0% | 10 to 32 | yes |" in text
    assert "faithfulness (undecided: hold-out)" in text
    assert json.loads(data.read_text())["rates"][1]["alarms"] == 33
