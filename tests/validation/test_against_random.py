import numpy as np
import pytest
from scipy.stats import beta

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError
from circuitkit.validation.against_random import (
    N_RANDOM,
    PartialNecessity,
    Sufficiency,
    rank_test,
)
from circuitkit.validation.verdict import outcome_of

SPREAD = np.linspace(-0.1, 0.1, 17)


@pytest.mark.parametrize(
    ("own", "k"), [(5.0, 0), (4.0, 1), (3.5, 1), (3.0, 3), (2.5, 3), (1.0, 4), (0.0, 4)]
)
def test_p_counts_those_that_do_at_least_as_well(own, k):
    finding = rank_test(np.array([own, 4.0, 3.0, 1.0, 3.0]))
    assert finding.p == (k + 1) / 5
    assert finding.value.value == k / 4
    assert finding.value.n == 4
    assert finding.note == f"{k} of 4"


def test_the_interval_is_that_of_clopper_and_pearson():
    k, n = 3, 39
    value = rank_test(np.array([0.5, *[1.0] * k, *[0.0] * (n - k)])).value
    assert value.low == pytest.approx(beta.ppf(0.025, k, n - k + 1))
    assert value.high == pytest.approx(beta.ppf(0.975, k + 1, n - k))


@pytest.mark.parametrize("own", [-1e-12, 1.0, -1.0, -40.0])
def test_what_rounding_parts_is_a_tie(own):
    other = own - 1e-6 * max(1, abs(own))
    assert rank_test(np.array([own, other, own - 1.0])).note == "1 of 2"
    assert rank_test(np.array([own, own - 1e-3 * max(1, abs(own)), own - 1.0])).note == "0 of 2"


def test_at_most_one_in_39_may_do_as_well():
    def outcome(k):
        statistics = np.array([0.5, *[1.0] * k, *[0.0] * (N_RANDOM - k)])
        return outcome_of(rank_test(statistics), Sufficiency.default)

    assert [outcome(k) for k in (0, 1, 2, 8)] == ["supported", "supported", "undecided", "refuted"]


def needing(circuit, size):
    """What is kept of these edges, in a metric that runs from 1 to 3."""

    def tell(c, choosing, ablation):
        return 1 + 2 * (c.edge_mask & circuit.edge_mask).sum().item() / size + SPREAD

    return tell


def test_a_circuit_that_holds_all_that_matters_is_sufficient_and_necessary(told, case):
    held = told(needing(case.circuit, case.circuit.n_edges))
    for criterion in (Sufficiency(), PartialNecessity()):
        finding = criterion.measure(held)
        assert (finding.value.value, finding.p) == (0.0, 1 / (N_RANDOM + 1))
        assert outcome_of(finding, criterion.default) == "supported"


def test_a_circuit_of_what_does_not_matter_is_neither(told, case):
    rest = case.circuit.complement
    held = told(needing(rest, rest.n_edges))
    for criterion in (Sufficiency(), PartialNecessity()):
        finding = criterion.measure(held)
        assert finding.value.value == 1.0
        assert outcome_of(finding, criterion.default) == "refuted"


def test_too_good_is_no_more_sufficient_than_too_bad(told, case):
    def tell(c, choosing, ablation):  # the circuit overshoots, all others are near the model
        if c.n_edges in (0, 75):
            return c.n_edges / 75 + SPREAD
        return (1.9 if c.edges == case.circuit.edges else 0.9) + SPREAD

    assert Sufficiency().measure(told(tell)).value.value == 1.0


def test_necessity_takes_out_as_many_other_edges(told, case):
    taken = []

    def tell(c, choosing, ablation):
        taken.append(c.complement)
        return c.n_edges / 75 + SPREAD

    finding = PartialNecessity().measure(told(tell))
    own = case.circuit
    others = [c for c in taken if 0 < c.n_edges < 75 and c.edges != own.edges]
    assert {c.n_edges for c in others} == {own.n_edges}
    assert len({c.edges for c in others}) == N_RANDOM
    assert not any((c.edge_mask & own.edge_mask).any() for c in others)
    assert finding.value.value == 1.0  # each costs as much


def test_necessity_is_not_judged_where_no_set_as_large_lies_outside(told, small):
    for n, fits in ((37, True), (38, False), (75, False)):
        circuit = Circuit.of_edges(small.graph, list(small.graph.edge_names[:n]))
        held = told(needing(circuit, n), circuit)
        if fits:
            PartialNecessity().measure(held)
            continue
        with pytest.raises(CriterionError, match=f"got {75 - n} and {n}"):
            PartialNecessity().measure(held)
