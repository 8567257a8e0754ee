from circuitkit.bench.calibration.faults import subject_on
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.study.cases import case_of
from circuitkit.study.settings import Settings
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.judge import judge_circuit
from circuitkit.validation.size import EdgeCount, EdgeShare
from circuitkit.validation.verdict import outcome_of
from circuitkit.zoo.planted import planted


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


def test_nine_edges_are_small_in_a_small_graph_but_never_most_of_it(new_case, small):
    tiny = ComponentGraph(n_layers=1, n_heads=2, d_model=8)
    least = ComponentGraph(n_layers=1, n_heads=1, d_model=8)
    bounds = [EdgeShare().bound_on(graph, EdgeShare.default).max for graph in (tiny, least)]
    assert bounds == [0.6, 0.6]
    assert Thresholds().most_edges(least) == int(0.6 * least.n_edges)
    seventeen = ComponentGraph(n_layers=1, n_heads=4, d_model=8, has_mlps=False)
    assert seventeen.n_edges == 17
    assert EdgeShare().bound_on(seventeen, EdgeShare.default) == Bound(max=9 / 17)
    assert Thresholds().most_edges(seventeen) == 9
    assert EdgeShare().bound_on(small.graph, EdgeShare.default) == EdgeShare.default  # 75 edges
    assert EdgeShare().bound_on(seventeen, Bound(max=0.2)) == Bound(max=0.2)
    assert EdgeShare().bound_on(seventeen, Bound()).is_open


def test_the_verdict_names_the_bound_that_fits_the_graph():
    instance = planted("planted-skip-trigram:positions:1")
    model = instance.model()
    subject = subject_on(model, instance.task, 32)
    case = case_of(subject, instance.truth(model), Settings(ablation="resample"))
    check = judge_circuit(case, Thresholds(), only=["edge-share"]).check("edge-share")
    assert (check.outcome, check.rule) == ("supported", "at most 0.529")
