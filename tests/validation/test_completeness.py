import itertools

import numpy as np
import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.validation import completeness
from circuitkit.validation.completeness import Completeness
from circuitkit.validation.knock_outs import inner_components
from circuitkit.validation.verdict import outcome_of


@pytest.fixture(scope="module")
def two_heads(small):
    """A circuit of two components, so that all four sets of them are few."""
    edges = ["input->a0.h0<v>", "a0.h0->m1", "a0.h0->logits", "input->m1", "m1->logits"]
    return Circuit.of_edges(small.graph, edges)


def test_it_is_the_worst_set_of_all_where_the_circuit_has_two_components(new_case, two_heads):
    case = new_case(circuit=two_heads)
    inner = inner_components(two_heads)
    assert inner == ("a0.h0", "m1")
    sets = [k for n in range(3) for k in itertools.combinations(inner, n)]
    graph = case.model.graph

    def minus(circuit, k):
        kept = [edge for edge in circuit.edges if edge.partition("->")[0] not in k]
        return Circuit.of_edges(graph, kept)

    full, empty = Circuit.full(graph), Circuit.empty(graph)
    circuits = [minus(c, k) for k in sets for c in (two_heads, full)]

    def gaps(pairs):
        values = evaluate_circuits(
            case.model,
            pairs,
            [*circuits, full, empty],
            ablation=case.ablations["resample"],
            metric=case.metric,
        ).mean(1)
        *knocked, m, zero = values.tolist()
        return [
            abs(c - w) / abs(m - zero) for c, w in zip(knocked[::2], knocked[1::2], strict=True)
        ]

    worst = int(np.argmax(gaps(case.choosing)))
    finding = Completeness().measure(case)
    assert finding.value.value == pytest.approx(gaps(case.validation)[worst])
    assert f"({', '.join(sets[worst]) or 'no component'})" in finding.note


def test_a_lost_backup_is_found_where_faithfulness_is_perfect(told, small):
    """The model answers by a0.h0, or else by a0.h1; the circuit holds a0.h0 alone."""
    circuit = Circuit.of_edges(small.graph, ["input->a0.h0<q>", "a0.h0->logits"])
    spread = np.linspace(-0.05, 0.05, 17)

    def tell(c, choosing, ablation):
        live = {edge.partition("->")[0] for edge in c.edges}
        return float(bool({"a0.h0", "a0.h1"} & live)) + (spread[:7] if choosing else spread)

    finding = Completeness().measure(told(tell, circuit))
    assert finding.value.value == pytest.approx(1.0)
    assert "a0.h0" in finding.note
    assert outcome_of(finding, Completeness.default) == "refuted"
    both = Circuit.of_edges(small.graph, ["a0.h0->logits", "a0.h1->logits"])
    finding = Completeness().measure(told(tell, both))
    assert finding.value.value == pytest.approx(0.0)
    assert outcome_of(finding, Completeness.default) == "supported"


def test_nothing_is_one_of_the_sets_and_the_worst_is_judged_on_other_pairs(told, case):
    def tell(c, choosing, ablation):
        if c.edges == case.circuit.edges:
            return [-6.0] * 7 if choosing else [0.9] * 17
        if not choosing and 0 < c.n_edges < case.circuit.n_edges:
            return [9.0] * 17  # worse on the pairs that judge
        return [float(c.n_edges > 0)] * (7 if choosing else 17)

    finding = Completeness().measure(told(tell))
    assert "nothing (no component)" in finding.note
    assert finding.value.value == pytest.approx(0.1)


def test_greedy_sets_are_among_those_tried(case, monkeypatch):
    monkeypatch.setattr(completeness, "component_classes", lambda case: {})
    monkeypatch.setattr(completeness, "random_sets", lambda inner, seed: {})
    assert "worst of 5 sets: " in Completeness().measure(case).note
