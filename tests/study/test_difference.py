"""The effect of swapping one circuit for another, against numbers computed one by one."""

from dataclasses import replace

import pytest

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.circuits.random_circuits import select_random
from circuitkit.errors import CriterionError, GraphError, VanishingGapError
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.splits import Splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.statistics import bootstrap
from circuitkit.study.difference import measure_difference, unseen_pairs
from circuitkit.study.subject import Subject
from circuitkit.task import Task
from tests.conftest import random_pairs


class Drawn(Task):
    name = "drawn"

    def pairs(self, rng):
        raise NotImplementedError


@pytest.fixture(scope="module")
def subject(toy):
    """The toy on twelve pairs, whose answers are what the clean run has more of."""
    raw = random_pairs(12, lengths=(7,))
    pairs = tokenize_pairs(raw)
    ends = [Circuit.full(toy.graph), Circuit.empty(toy.graph)]
    full, empty = evaluate_circuits(
        toy, pairs, ends, ablation=ResampleAblation(), metric=LogitDifference()
    )
    turned = [
        pair if better else replace(pair, answers=pair.wrong_answers, wrong_answers=pair.answers)
        for pair, better in zip(raw, full > empty, strict=True)
    ]
    pairs = tokenize_pairs(turned)
    return Subject("toy", "", LogitDifference(), toy, Splits(pairs, pairs, pairs), source=Drawn())


@pytest.fixture(scope="module")
def circuits(toy):
    return [select_random(Circuit.full(toy.graph).scores, 150, seed=seed) for seed in (1, 2)]


def found_by(circuit, *digests):
    return replace(circuit, provenance=Provenance(discovery_prompts=digests))


def test_faithfulness_and_difference_are_ratios_of_means_to_the_models_own_gap(subject, circuits):
    swap = measure_difference(subject, *circuits, ablation="resample")
    m = {}
    graph = subject.model.graph
    named = zip("M0AB", [Circuit.full(graph), Circuit.empty(graph), *circuits], strict=True)
    for name, circuit in named:
        values = evaluate_circuits(
            subject.model,
            subject.splits.validation,
            [circuit],
            ablation=ResampleAblation(),
            metric=LogitDifference(),
        )
        m[name] = float(values.mean())
    gap = m["M"] - m["0"]
    assert swap.gap.value == pytest.approx(gap)
    assert swap.a.value == pytest.approx((m["A"] - m["0"]) / gap)
    assert swap.b.value == pytest.approx((m["B"] - m["0"]) / gap)
    assert swap.difference.value == pytest.approx((m["B"] - m["A"]) / gap)
    assert abs(swap.difference.value) > 0.01  # else its sign is not tested
    assert (swap.a.n, swap.n_left_out, swap.unit) == (12, 0, "logits")


def test_swapping_back_changes_the_sign(subject, circuits):
    there = measure_difference(subject, *circuits, ablation="resample")
    back = measure_difference(subject, *reversed(circuits), ablation="resample")
    assert back.difference.value == pytest.approx(-there.difference.value)
    assert (back.a, back.b) == (there.b, there.a)


def test_the_difference_is_of_pairs(subject, circuits, monkeypatch):
    """Its interval holds it, and is narrower than what two separate samples would give."""
    monkeypatch.setattr(bootstrap, "UNSEEN", 0.0)  # what twelve pairs cannot have shown
    a = circuits[0]
    nearly_a = a.with_edges(a.edge_mask.clone())
    nearly_a.edge_mask[tuple(a.edge_mask.nonzero()[0])] = False
    swap = measure_difference(subject, a, nearly_a, ablation="resample")
    width = swap.difference.high - swap.difference.low
    assert swap.difference.low <= swap.difference.value <= swap.difference.high
    assert width < (swap.a.high - swap.a.low) / 2


def test_a_circuit_in_place_of_itself_changes_nothing(subject, circuits):
    swap = measure_difference(subject, circuits[0], circuits[0], ablation="resample")
    assert swap.a == swap.b
    assert (swap.difference.value, swap.difference.low, swap.difference.high) == (0, 0, 0)


def test_the_whole_model_in_place_of_nothing_changes_everything(subject):
    graph = subject.model.graph
    swap = measure_difference(
        subject, Circuit.empty(graph), Circuit.full(graph), ablation="resample"
    )
    assert (swap.a.value, swap.b.value, swap.difference.value) == (0, 1, 1)


def test_pairs_that_found_either_circuit_are_left_out_and_counted(subject, circuits):
    digests = subject.splits.validation.pair_digests()
    a, b = found_by(circuits[0], digests[3][0]), found_by(circuits[1], digests[7][1])
    swap = measure_difference(subject, a, b, ablation="resample")
    assert (swap.n_left_out, swap.difference.n) == (2, 10)
    kept = [pair.clean for pair in unseen_pairs(subject, a, b).pairs]
    every = [pair.clean for pair in subject.splits.validation.pairs]
    assert kept == [clean for row, clean in enumerate(every) if row not in (3, 7)]


@pytest.mark.parametrize("who", ["A", "B"])
def test_pairs_of_a_file_that_found_a_circuit_are_refused(subject, circuits, who):
    given = replace(subject, source=None)
    seen = found_by(circuits[0], subject.splits.validation.pair_digests()[0][1])
    sides = (seen, circuits[1]) if who == "A" else (circuits[1], seen)
    with pytest.raises(CriterionError, match=rf"1 of 12 that share a prompt with those of {who},"):
        unseen_pairs(given, *sides)


def test_a_draw_that_is_mostly_seen_is_refused(subject, circuits):
    digests = [pair[0] for pair in subject.splits.validation.pair_digests()]
    a, b = found_by(circuits[0], *digests[:4]), found_by(circuits[1], *digests[4:7])
    with pytest.raises(CriterionError, match="7 of 12 .* those of A and B"):
        unseen_pairs(subject, a, b)
    assert len(unseen_pairs(subject, a, found_by(circuits[1], *digests[4:6]))) == 6


def test_a_circuit_of_another_architecture_is_refused(subject, circuits):
    other = Circuit.empty(ComponentGraph(n_layers=3, n_heads=3, d_model=20))
    for sides in ((other, circuits[0]), (circuits[0], other), (other, other)):
        with pytest.raises(GraphError):
            measure_difference(subject, *sides, ablation="resample")


def test_a_vanishing_gap_is_refused(subject, circuits):
    raw = subject.splits.validation.pairs
    same = tokenize_pairs([replace(pair, corrupted=pair.clean) for pair in raw])
    with pytest.raises(VanishingGapError):
        measure_difference(
            replace(subject, splits=Splits(same, same, same)), *circuits, ablation="resample"
        )
