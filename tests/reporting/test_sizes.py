"""The circuits of the slider are those that the curve measured."""

from dataclasses import replace

import pytest
import torch

from circuitkit.circuits.recipe import Recipe, Selection
from circuitkit.circuits.selection import prune_dead_ends, select_greedy, select_top
from circuitkit.reporting import sizes as sizes_module
from circuitkit.reporting.explorer import explorer_data
from circuitkit.reporting.sizes import drawn_circuit, layout_weights, sizes_of

from .conftest import SCORES


def selected(record, **settings):
    origin = replace(record.circuit.provenance, recipe=Recipe(selection=Selection(**settings)))
    return replace(record, circuit=replace(record.circuit, provenance=origin))


def edges_of_size(record, n):
    return next(size.edges for size in sizes_of(record) if size.n_asked == n and not size.is_own)


@pytest.mark.parametrize("n", [1, 6, 67])
def test_the_circuit_of_a_size_is_the_best_edges_without_dead_ends(record, n):
    expected = prune_dead_ends(select_top(record.circuit.scores, n))
    assert edges_of_size(record, n) == set(expected.edges)


def with_points(record, *sizes):
    point = record.validation.curve.points[1]
    points = tuple(replace(point, n_edges=n) for n in sizes)
    curve = replace(record.validation.curve, points=points)
    return replace(record, validation=replace(record.validation, curve=curve))


def test_the_run_s_own_selection_is_used(record):
    scores = record.circuit.scores
    point = with_points(record, 4)
    greedy = set(prune_dead_ends(select_greedy(scores, 4)).edges)
    signed = set(prune_dead_ends(select_top(scores, 4, signed=True)).edges)
    top = set(prune_dead_ends(select_top(scores, 4)).edges)
    assert edges_of_size(selected(point, rule="greedy"), 4) == greedy
    assert edges_of_size(selected(point, signed=True), 4) == signed
    assert edges_of_size(selected(point, rule="top", signed=False), 4) == top
    assert len({frozenset(each) for each in (greedy, signed, top)}) > 1


def test_the_circuit_itself_is_one_of_them_with_the_verdict_s_faithfulness(record):
    own = [size for size in sizes_of(record) if size.is_own]
    assert len(own) == 1
    assert own[0].edges == set(SCORES)
    assert own[0].faithfulness == record.validation.faithfulness[0].value
    assert own[0].title == "This circuit, 6 edges"
    assert own[0].worth == "faithfulness 0.88 [0.81, 0.94]"


def test_sizes_grow_and_say_what_was_dropped_and_what_chance_gives(record):
    found = sizes_of(record)
    assert [size.n_kept for size in found] == sorted(size.n_kept for size in found)
    assert found[0].title == "1 edge, 1 of them dead ends"
    six = next(size for size in found if size.n_asked == 6)
    assert six.worth == "faithfulness 0.88 [0.81, 0.94]; random circuits 0.208"
    bare = replace(record, validation=replace(record.validation, faithfulness=()))
    own = next(size for size in sizes_of(bare) if size.is_own)
    assert own.worth == "faithfulness was not measured"


def test_sizes_with_too_many_edges_are_not_drawn_whole_and_say_so(record, monkeypatch):
    monkeypatch.setattr(sizes_module, "MAX_EDGES", 10)
    found = sizes_of(record)
    drawn = drawn_circuit(record, found)
    assert set(drawn.edges) == set(SCORES)
    last = explorer_data(record, found, drawn)["sizes"][-1]
    assert last["undrawn"] == f" 6 of its {found[-1].n_kept} edges are drawn."
    assert sorted(drawn.edges[at] for at in last["edges"]) == sorted(SCORES)


def test_of_a_very_large_circuit_the_strongest_edges_are_drawn(record, monkeypatch):
    monkeypatch.setattr(sizes_module, "MAX_EDGES", 0)
    monkeypatch.setattr(sizes_module, "MAX_DRAWN", 2)
    drawn = drawn_circuit(record, sizes_of(record))
    assert set(drawn.edges) == {"a0.h2->a1.h0<q>", "a1.h0->logits"}


def test_the_circuit_s_edges_are_the_heaviest_in_the_layout(record):
    found = sizes_of(record)
    drawn = drawn_circuit(record, found)
    weights = layout_weights(found, drawn)
    assert set(weights) == set(drawn.edges)
    others = [weights[edge] for edge in drawn.edges if edge not in SCORES]
    assert min(weights[edge] for edge in SCORES) > max(others)
    assert min(others) >= 1


def test_equal_scores_give_the_same_drawing_twice(record):
    scores = replace(record.circuit.scores, values=torch.ones_like(record.circuit.scores.values))
    even = replace(record, circuit=replace(record.circuit, scores=scores))
    first, second = (drawn_circuit(even, sizes_of(even)).edges for _ in range(2))
    assert first == second
