"""What every criterion must do, whatever it measures."""

import inspect
import re
import sys

import numpy as np
import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError, MemoryBudgetError
from circuitkit.interventions.budget import circuits_per_batch
from circuitkit.metrics import KLDivergence
from circuitkit.statistics.bound import Bound
from circuitkit.validation.criteria import CRITERIA, Thresholds
from circuitkit.validation.judge import MIN_TO_JUDGE, judge_circuit
from circuitkit.validation.questions import QUESTIONS
from tests.conftest import fingerprint

ASKED = Thresholds({name: Bound(min=-1e6, max=1e6) for name in CRITERIA})  # what all would pass


@pytest.fixture(params=CRITERIA.values(), ids=lambda criterion: criterion.name)
def criterion(request):
    return request.param


def numbers(finding):
    value = finding.value
    return [value.value, value.low, value.high, value.n, -1 if finding.p is None else finding.p]


def test_the_value_is_finite_and_inside_its_interval(criterion, case):
    finding = criterion.measure(case)
    assert np.isfinite(numbers(finding)).all()
    slack = 1e-9 * abs(finding.value.value) + 1e-12
    assert finding.value.low - slack <= finding.value.value <= finding.value.high + slack
    assert finding.p is None or 0 <= finding.p <= 1
    assert finding.value.n >= 1


def test_the_same_case_gives_the_same_finding_in_less_memory_and_is_left_alone(
    criterion, case, new_case
):
    first = criterion.measure(case)
    again = new_case(memory=next(budget for k in range(12, 40) if fits_some(budget := 2**k, case)))
    model, circuit, mask = again.model, again.circuit, again.circuit.edge_mask.clone()
    before, pairs = fingerprint(model), (again.validation.digest, again.discovery.digest)
    np.testing.assert_allclose(numbers(criterion.measure(again)), numbers(first), atol=1e-9)
    assert fingerprint(model) == before
    assert again.circuit is circuit
    assert torch.equal(circuit.edge_mask, mask)
    assert (again.validation.digest, again.discovery.digest) == pairs


def fits_some(budget, case):
    try:
        n_circuits, n_pairs = circuits_per_batch(case.model, case.validation, 40, budget)
    except MemoryBudgetError:
        return False
    return n_circuits * n_pairs >= 5 * len(case.validation)


@pytest.fixture(scope="module")
def odd_cases(case, new_case):
    """Cases at the edge of what can be judged; what each has computed is kept for all criteria."""
    graph = case.model.graph
    return {
        "empty": new_case(circuit=Circuit.empty(graph)),
        "full": new_case(circuit=Circuit.full(graph)),
        "one edge": new_case(circuit=Circuit.of_edges(graph, ["input->m0"])),
        "less is better": new_case(metric=KLDivergence()),
        "two pairs": new_case(validation=case.validation.select([0, 1])),
    }


@pytest.mark.parametrize("odd", ["empty", "full", "one edge", "less is better", "two pairs"])
def test_an_odd_case_is_judged_or_refused_with_the_reason(criterion, odd_cases, odd):
    try:
        assert np.isfinite(numbers(criterion.measure(odd_cases[odd]))).all()
    except CriterionError as error:
        assert re.search(r"must|needs", str(error))  # noqa: PT017


def test_too_few_pairs_never_pass(criterion, case, new_case):
    few = new_case(validation=case.validation.select(range(MIN_TO_JUDGE - 1)))
    verdict = judge_circuit(few, ASKED, only=[criterion.name])
    assert verdict.outcome == "undecided"
    assert verdict.check(criterion.name).value is None
    assert "too few pairs to judge: 15" in verdict.sentence


def test_it_says_what_it_is(criterion):
    assert criterion.name == criterion.name.strip().lower()
    assert 10 < len(criterion.summary) <= 100
    assert criterion.question in QUESTIONS.values()
    assert 10 <= len(criterion.measures) <= 70
    assert inspect.getdoc(type(criterion)).endswith(".")
    assert len(inspect.getdoc(sys.modules[type(criterion).__module__]).splitlines()) >= 1
