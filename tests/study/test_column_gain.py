"""Edges at columns on a planted model, whose positions are known, and what they gain."""

from dataclasses import replace

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.whole_edges import at_every_column, everywhere
from circuitkit.discovery.at_columns import require_columns, score_at_columns
from circuitkit.discovery.exact import ExactEdges
from circuitkit.discovery.methods import method_named
from circuitkit.errors import MethodError, PromptError
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.edge_columns import column_graph
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.study.cases import case_of
from circuitkit.study.column_gain import gain_of_columns
from circuitkit.study.refinding import find_again
from circuitkit.study.search import find
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, subject_of
from circuitkit.validation.judge import judge_circuit
from circuitkit.zoo.planted.build import planted

NAME = "planted-induction"
HOW = Settings(method="eap", n_edges=40, columns="positions", ablation="resample")
SOME = ("faithfulness", "edge-share", "minimality", "necessity", "random", "stability", "cpr")


@pytest.fixture(scope="module")
def subject():
    return subject_of(Request(task=NAME, model=NAME, n=32, dtype="float64"))


@pytest.fixture(scope="module")
def found(subject):
    return find(subject, HOW)


def test_what_the_mover_asks_is_needed_at_the_last_position_alone(subject):
    pairs, model = subject.splits.discovery.select(range(8)), subject.model
    made = planted(NAME)
    graph = column_graph(model.graph, pairs, "positions")
    last = graph.columns[-1]
    assert graph.read_at == (last,)
    truth = at_every_column(made.truth(model), graph)
    mover = made.components["mover"]
    asked = [edge for edge in truth.edges if f"->{mover}<q>" in edge]
    elsewhere = [edge for edge in asked if not edge.endswith(f"@{last}")]
    assert len(elsewhere) == len(graph.columns) - 1
    circuits = [made.truth(model), truth.without_edges(elsewhere), truth.without_edges(asked)]
    whole, at_last, nowhere = evaluate_circuits(
        model, pairs, circuits, ablation=ResampleAblation(), metric=subject.metric
    )
    torch.testing.assert_close(at_last, whole, rtol=1e-9, atol=1e-9)
    assert (whole - nowhere).mean() > 1
    work = Work(ResampleAblation())
    scores = score_at_columns(ExactEdges(), model, pairs, subject.metric, work, graph).by_edge()
    by_name = dict(zip(graph.edge_names, scores.tolist(), strict=True))
    assert by_name[asked[-1]] > 1
    assert max(abs(by_name[edge]) for edge in elsewhere) < 1e-9


def test_a_circuit_at_columns_is_found_judged_and_found_again(subject, found):
    assert found.circuit.provenance.recipe.columns == "positions"
    verdict = judge_circuit(case_of(subject, found.circuit, HOW), HOW.thresholds, only=SOME)
    values = {check.criterion: check.value for check in verdict.checks}
    assert all(values[name] is not None for name in SOME)
    n, of = found.circuit.n_edges, found.circuit.graph.n_edges
    assert values["edge-share"].value == pytest.approx(n / of)
    whole = subject.model.graph  # at ten positions; the logits read at one
    assert of == 10 * whole.n_edges - 9 * len(whole.senders)
    again = find_again(found.circuit, loaded=subject.model)
    assert (again.graph, again.edges) == (found.circuit.graph, found.circuit.edges)


def test_whole_edges_of_equal_size_keep_less_and_as_much_takes_more(subject, found):
    said = gain_of_columns(case_of(subject, found.circuit, HOW), found.scores)
    n = found.circuit.n_edges
    assert said[0].startswith(f"At columns, {n} edges keep")
    assert "whole edges" in said[0].lower()
    assert "times as many" in said[1] or "keeps as much" in said[1]
    whole = everywhere(found.circuit)
    assert gain_of_columns(case_of(subject, whole, HOW), whole.scores) == ()


def test_a_circuit_at_columns_is_not_judged_on_pairs_with_others(subject, found):
    graph = replace(found.circuit.graph, columns=(*found.circuit.graph.columns, "99"))
    other = Circuit.full(graph)
    with pytest.raises(PromptError, match="columns: prompts must have 11 tokens"):
        case_of(subject, other, HOW).values([other])


def test_a_method_of_whole_edges_is_refused_before_any_work():
    with pytest.raises(MethodError, match="--edges-at roles: must go with a method that can tell"):
        require_columns(method_named("acdc"), "roles")
    require_columns(method_named("acdc"), "")
    require_columns(method_named("exact"), "roles")
