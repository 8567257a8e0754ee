import numpy as np
import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError
from circuitkit.metrics import KLDivergence
from circuitkit.validation.controls import (
    N_RANDOM,
    N_SHUFFLED,
    Complement,
    ConnectedControl,
    ProfileControl,
    RandomControl,
    ShuffledControl,
    margin_over,
    shuffled,
)
from circuitkit.validation.verdict import outcome_of

SPREAD = np.linspace(-0.1, 0.1, 17)


def test_the_complement_keeps_what_the_circuit_does_not_hold(told, case):
    def tell(c, choosing, ablation):
        return {0: 1.0, 75: 3.0}.get(c.n_edges, 1.5 if c.edges == rest.edges else 9.0) + SPREAD

    rest = case.circuit.complement
    assert Complement().measure(told(tell)).value.value == pytest.approx(0.25)


def test_the_margin_is_over_the_best_control(told, case, small):
    names = small.graph.edge_names
    controls = [Circuit.of_edges(small.graph, list(names[:n])) for n in (3, 5, 4)]
    f = {0: 0.0, 75: 2.0, 3: 0.2, 4: 0.4, 5: 1.0, case.circuit.n_edges: 1.5}
    finding = margin_over(told(lambda c, *_: f[c.n_edges] + SPREAD), controls)
    assert finding.value.value == pytest.approx(0.25)
    assert finding.note == "theirs: mean 0.27, best 0.5"


def test_intervals_are_of_paired_differences(told, case, small):
    wild = np.random.default_rng(0).normal(0, 3, 17)

    def tell(c, *_):
        return {0: 0.0, 75: 40.0, 3: 20.0}.get(c.n_edges, 30.0) + wild

    control = Circuit.of_edges(small.graph, list(small.graph.edge_names[:3]))
    value = margin_over(told(tell), [control]).value
    half = 3 / 17  # of unlike pairs that nobody saw; the wild spread of each run is in neither
    assert (value.low, value.high) == pytest.approx((0.25 - half, 0.25 + half), abs=1e-6)


@pytest.mark.parametrize("end", [Circuit.empty, Circuit.full])
def test_a_circuit_that_is_its_own_control_does_not_beat_it(new_case, small, end):
    for criterion in (RandomControl(), ProfileControl(), ConnectedControl()):
        with pytest.raises(CriterionError, match="must be more faithful on some pairs"):
            criterion.measure(new_case(circuit=end(small.graph)))


def test_random_controls_are_as_many_as_said_and_of_their_kind(told, case):
    kinds = {}
    for criterion in (RandomControl(), ProfileControl(), ConnectedControl()):
        seen = set()

        def tell(c, choosing, ablation, seen=seen):
            seen.add(c.edges)
            return c.n_edges / 75 + SPREAD + 0.3 * (c.edges == case.circuit.edges)

        finding = criterion.measure(told(tell))
        assert finding.value.value == pytest.approx(0.3)
        assert outcome_of(finding, RandomControl.default) == "supported"
        kinds[criterion.name] = seen
        assert len(seen) == N_RANDOM + 3  # all different, with the circuit and both ends
        assert {len(edges) for edges in seen} == {0, 75, case.circuit.n_edges}
    assert len(set().union(*kinds.values())) == 3 * N_RANDOM + 3


def test_answers_are_exchanged_and_prompts_are_not(case):
    pairs = case.validation
    there = shuffled(pairs, 1)
    assert torch.equal(there.clean, pairs.clean)
    assert torch.equal(there.corrupted, pairs.corrupted)
    together = torch.cat([pairs.labels.answers, pairs.labels.wrong_answers], 1).tolist()
    after = torch.cat([there.labels.answers, there.labels.wrong_answers], 1).tolist()
    assert sorted(after) == sorted(together)
    assert after != together
    assert after != torch.cat([*vars(shuffled(pairs, 2).labels).values()][:2], 1).tolist()


def test_shuffled_controls_are_found_on_discovery_pairs_with_exchanged_answers(told, case):
    seen = []

    def find(pairs, seed):
        seen.append(pairs)
        return Circuit.of_edges(case.model.graph, ["input->m0"])

    def tell(c, *_):
        return {0: 0.0, 75: 1.0, 1: 0.3}.get(c.n_edges, 0.8) + SPREAD

    finding = ShuffledControl().measure(told(tell, find=find))
    assert finding.value.value == pytest.approx(0.5)
    assert len(seen) == N_SHUFFLED
    for pairs in seen:
        assert pairs.pairs == case.discovery.pairs
        assert not torch.equal(pairs.labels.answers, case.discovery.labels.answers)


def test_a_metric_that_reads_no_answers_has_no_shuffled_control(new_case):
    with pytest.raises(CriterionError, match="the metric must read the answers, got 'kl'"):
        ShuffledControl().measure(new_case(metric=KLDivergence()))
