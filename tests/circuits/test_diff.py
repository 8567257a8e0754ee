"""What two circuits share, on one small enough to count by hand."""

from dataclasses import replace

import pytest

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.diff import diff_circuits, origin_of
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.circuits.recipe import Recipe
from circuitkit.errors import GraphError

GRAPH = ComponentGraph(n_layers=2, n_heads=3, d_model=8)
A = Circuit.of_edges(GRAPH, ["a1.h0->logits", "input->a0.h2<v>", "a0.h2->m0"])
B = Circuit.of_edges(GRAPH, ["m0->logits", "input->a0.h2<k>", "a0.h2->m0", "a1.h0->logits"])


def test_edges_fall_into_those_of_both_of_a_alone_and_of_b_alone():
    diff = diff_circuits(A, B)
    assert diff.both == ("a0.h2->m0", "a1.h0->logits")
    assert diff.only_a == ("input->a0.h2<v>",)
    assert diff.only_b == ("input->a0.h2<k>", "m0->logits")


def test_each_part_is_in_edge_order():
    for part in vars(diff_circuits(Circuit.full(GRAPH), B)).values():
        assert list(part) == sorted(part, key=GRAPH.edge_number)


def test_swapping_the_circuits_swaps_what_only_one_has():
    one, other = diff_circuits(A, B), diff_circuits(B, A)
    assert (other.both, other.only_a, other.only_b) == (one.both, one.only_b, one.only_a)


def test_jaccard_is_the_share_of_all_edges_that_both_have():
    assert diff_circuits(A, B).jaccard == 2 / 5
    assert diff_circuits(A, A).jaccard == 1
    assert diff_circuits(A, Circuit.empty(GRAPH)).jaccard == 0
    assert diff_circuits(Circuit.empty(GRAPH), Circuit.empty(GRAPH)).jaccard == 1


@pytest.mark.parametrize(
    "other",
    [
        ComponentGraph(n_layers=2, n_heads=4, d_model=8),
        ComponentGraph(n_layers=2, n_heads=3, d_model=8, parallel_attn_mlp=True),
    ],
)
def test_circuits_of_different_architectures_are_refused(other):
    with pytest.raises(GraphError, match="must be of one architecture"):
        diff_circuits(A, Circuit.empty(other))


def test_the_origin_is_what_the_circuit_says_and_no_more():
    def of(**said):
        return origin_of(replace(A, provenance=Provenance(**said)))

    assert of(recipe=Recipe("eap", seed=3), model="pico") == "eap, seed 3, model pico"
    assert of(model="pico") == "model pico"
    assert of(recipe=Recipe("eap")) == "eap, seed 0"
    assert of() == "origin not said"
