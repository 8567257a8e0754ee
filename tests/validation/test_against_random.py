import numpy as np
import pytest
from scipy.stats import beta, binom

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.random_circuits import select_random
from circuitkit.errors import NotApplicableError
from circuitkit.validation.against_random import (
    N_RANDOM,
    PartialNecessity,
    Sufficiency,
    rank_test,
)
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.judge import judge_circuit
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


def needing(edges, size):
    """What is kept of these edges, in a metric that runs from 1 to 3."""

    def tell(c, choosing, ablation):
        return 1 + 2 * (c.edge_mask & edges.edge_mask).sum().item() / size + SPREAD

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


def test_necessity_is_the_lesser_of_what_is_kept_alone_and_lost_without(told, case):
    def ends(c):
        return {0: 0.0, 75: 1.0}.get(c.n_edges)

    def enough_not_needed(c, choosing, ablation):  # another way does the task as well
        own = c.edges == case.circuit.edges or c.n_edges > 40
        return (ends(c) if ends(c) is not None else float(own)) + SPREAD

    def needed_not_enough(c, choosing, ablation):  # all breaks without it, and with it alone
        whole = c.n_edges > 40 and c.edges != case.circuit.complement.edges
        return (ends(c) if ends(c) is not None else float(whole)) + SPREAD

    for tell, kept, lost in ((enough_not_needed, 1, 0), (needed_not_enough, 0, 1)):
        finding = PartialNecessity().measure(told(tell))
        assert finding.value.value == 1.0  # every random set is as clean: nothing either way
        assert f"alone it keeps {kept}, without it {lost} is lost" in finding.note


def test_a_random_circuit_is_rejected_one_time_in_twenty_whatever_the_edges_do(told, small):
    """Few edges matter, in pairs: removal of many sets breaks much, as in planted models.

    The old rule, a rank among sets outside of the circuit, rejects 12 to 16 % there.
    """
    needed = [set(range(a, a + 3)) for a in (0, 20, 40)]
    numbers = {edge: n for n, edge in enumerate(small.graph.edge_names)}

    def tell(c, choosing, ablation):
        held = {numbers[edge] for edge in c.edges}
        parts = [len(group & held) / 3 for group in needed]
        return np.prod(parts) + 0.3 * max(parts) + 0.001 * len(held) + SPREAD

    scores = Circuit.empty(small.graph).scores
    alarms = 0
    for seed in range(160):
        drawn = select_random(scores, 11, seed=10**6 + seed)
        alarms += PartialNecessity().measure(told(tell, drawn, seed=seed)).p <= 0.05
    assert alarms <= binom.ppf(0.995, 160, 0.05)


def test_where_no_rank_can_be_rare_the_criterion_does_not_apply(told, small):
    full = Circuit.full(small.graph)
    for criterion in (Sufficiency(), PartialNecessity()):
        with pytest.raises(NotApplicableError, match="more than 39 sets of 75 edges .* got 1 in"):
            criterion.measure(told(needing(full, 75), full))
        verdict = judge_circuit(told(needing(full, 75), full), Thresholds(), only=[criterion.name])
        check = verdict.check(criterion.name)
        assert (check.outcome, check.is_judged) == ("reported", False)
        assert check.note.startswith("does not apply: ")
        assert check.note.endswith("its bound was at most 0.05")
    most = Circuit.of_edges(small.graph, list(small.graph.edge_names[:60]))
    assert PartialNecessity().measure(told(needing(most, 60), most)).p == 1 / 40
