from circuitkit.circuits.circuit import Circuit
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.validation.size import EdgeCount, EdgeShare
from circuitkit.validation.verdict import outcome_of


def test_sizes_are_counts_without_an_interval(new_case, small):
    circuit = Circuit.of_edges(small.graph, list(small.graph.edge_names[:15]))
    case = new_case(circuit=circuit)
    assert small.graph.n_edges == 75
    assert EdgeCount().measure(case).value == Estimate(15.0, 15.0, 15.0, 1)
    assert EdgeShare().measure(case).value == Estimate(0.2, 0.2, 0.2, 1)
    assert EdgeShare().measure(case).note == "15 of 75 edges"
    assert outcome_of(EdgeShare().measure(case), EdgeShare.default) == "refuted"


def test_a_sixth_is_too_much_and_a_seventh_is_not(new_case, small):
    outcomes = []
    for n in (12, 10):
        case = new_case(circuit=Circuit.of_edges(small.graph, list(small.graph.edge_names[:n])))
        outcomes.append(outcome_of(EdgeShare().measure(case), EdgeShare.default))
    assert outcomes == ["refuted", "supported"]
