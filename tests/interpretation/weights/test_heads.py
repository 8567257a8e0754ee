"""What a card says of a head's weights."""

from dataclasses import replace

import pytest

from circuitkit.errors import DecompositionError
from circuitkit.interpretation.cards import cards_of
from circuitkit.interpretation.weights import heads as file
from circuitkit.interpretation.weights.heads import N_PAIRS, head_weights
from circuitkit.interpretation.weights.products import ov_circuit, qk_circuit
from circuitkit.zoo.planted import planted

NAME = "planted-induction:plain:1"


@pytest.fixture(scope="module")
def source():
    return planted(NAME)


@pytest.fixture(scope="module")
def model(source):
    return source.model()


def test_a_planted_copier_copies_and_composes_with_the_head_it_needs(source, model):
    previous, mover = source.components["previous"], source.components["mover"]
    edges = [f"{previous}->{mover}<{read}>" for read in "qkv"]
    found, note = head_weights(model, mover, [*edges, "input->" + mover + "<v>"])
    assert note == ""
    assert found.copying == pytest.approx(1)
    assert [pair.first for pair in found.writes] == [pair.second for pair in found.writes]
    assert [each.edge for each in found.composes][0] == f"{previous}->{mover}<k>"
    assert len(found.composes) == 3  # the input is no head
    assert found.composes[0].z > 10 > found.composes[1].z


def test_pairs_are_the_exact_largest_entries_by_name(source, model):
    head = source.components["mover"]
    found, _ = head_weights(model, head, ())
    written, read = ov_circuit(model, head), qk_circuit(model, head)
    for pairs, circuit in ((found.writes, written), (found.finds, read)):
        largest = circuit.full().flatten().sort(descending=True).values[:N_PAIRS]
        positive = [value for value in largest.tolist() if value > 0]
        assert [pair.value for pair in pairs] == pytest.approx(positive)
    assert found.composes == ()


def test_a_head_of_zeros_lists_nothing(source, model):
    idle = next(h for h in model.graph.head_places if h not in source.components.values())
    found, _ = head_weights(model, idle, ())
    assert (found.copying, found.matching, found.writes, found.finds) == (0.0, 0.0, (), ())


def test_a_large_vocabulary_is_said_and_its_scores_are_there(source, model, monkeypatch):
    head = source.components["mover"]
    whole, _ = head_weights(model, head, ())
    monkeypatch.setattr(file, "MOST_ENTRIES", ov_circuit(model, head).n_pairs - 1)
    found, note = head_weights(model, head, ())
    assert found == replace(whole, writes=(), finds=())
    assert f"{ov_circuit(model, head).n_pairs:,} token pairs of a head none are listed" in note


def test_what_weights_cannot_say_is_noted_once(interpreted, monkeypatch):
    found = interpreted(NAME)

    def none(model, head):
        raise DecompositionError("embedding: another width")

    monkeypatch.setattr(file, "ov_circuit", none)
    notes = []
    cards = cards_of(found.evidence, found.roles, notes)
    assert notes == ["Weights: left out. embedding: another width"]
    assert all(card.weights is None for card in cards)


def test_cards_of_heads_have_weights_and_those_of_mlps_none(interpreted):
    found = interpreted("planted-facts:decoys:0")
    cards = cards_of(found.evidence, found.roles)
    assert {card.component[0] for card in cards if card.weights is None} == {"m"}
    assert {card.component[0] for card in cards if card.weights is not None} == {"a"}
