import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.random_circuits import select_random
from circuitkit.circuits.selection import select_top
from circuitkit.discovery import eap
from circuitkit.errors import BaselineError, VanishingGapError
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.model.recording import record
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.validation.baseline import measure_baseline, require_able
from circuitkit.validation.curve import Ladder, measure_curve, sizes_for
from circuitkit.validation.faithfulness import (
    FaithfulnessCriterion,
    NodeFaithfulness,
    measure_faithfulness,
)
from tests.conftest import VOCAB, random_pairs


@pytest.fixture(scope="module")
def doable(toy):
    """Pairs whose answer is this model's own, and whose wrong answer gains most by corruption."""
    raw = random_pairs(12)
    pairs = tokenize_pairs(raw)
    clean = record(toy, pairs.clean_batch)[1]
    change = clean - record(toy, pairs.corrupted_batch)[1]
    return tokenize_pairs(
        [
            PromptPair(
                p.clean,
                p.corrupted,
                [int(top)],
                [int(row.argmin())],
                template=p.template,
            )
            for p, row, top in zip(raw, change, clean.argmax(-1), strict=True)
        ]
    )


def measure(toy, pairs, circuits, metric):
    return measure_faithfulness(toy, pairs, circuits, ablation=ResampleAblation(), metric=metric)


def test_the_model_is_one_and_the_empty_circuit_zero(toy, doable, metric):
    ends = [Circuit.full(toy.graph), Circuit.empty(toy.graph)]
    full, empty = measure(toy, doable, ends, metric)
    assert (full.value.value, empty.value.value) == pytest.approx((1, 0), abs=1e-12)
    assert full.value.low == pytest.approx(1 - 3 / 12)  # three in twelve may be unlike any seen
    assert full.per_pair == pytest.approx([1] * 12)


def test_it_is_a_ratio_of_means_not_a_mean_of_ratios(toy, doable, metric):
    scores = eap.score_edges(toy, doable, metric)
    circuit = select_top(scores, 60)
    [found] = measure(toy, doable, [circuit], metric)
    ends = [circuit, Circuit.full(toy.graph), Circuit.empty(toy.graph)]
    c, m, zero = evaluate_circuits(toy, doable, ends, ablation=ResampleAblation(), metric=metric)
    by_hand = float((c.mean() - zero.mean()) / (m.mean() - zero.mean()))
    assert found.value.value == pytest.approx(by_hand, abs=1e-12)
    assert found.per_pair == pytest.approx(((c - zero) / (m - zero)).tolist())
    assert abs(sum(found.per_pair) / 12 - by_hand) > 1e-4
    assert found.value.low < by_hand < found.value.high
    assert found.circuit.value == pytest.approx(float(c.mean()))


def test_it_is_never_clamped(toy, doable, metric):
    scores = eap.score_edges(toy, doable, metric)
    n_edges = toy.graph.n_edges
    without_worst = [select_top(scores, n_edges - k, signed=True) for k in range(1, 30)]
    opposing = [Circuit(toy.graph, scores.values < -cut, scores) for cut in (0, 0.01, 0.1)]
    values = [f.value.value for f in measure(toy, doable, without_worst + opposing, metric)]
    assert max(values[:29]) > 1
    assert min(values[29:]) < 0


def test_a_vanishing_denominator_is_refused(toy, metric):
    same = [
        PromptPair(p.clean, p.clean, p.answers, p.wrong_answers, template=p.template)
        for p in random_pairs()
    ]
    with pytest.raises(VanishingGapError, match="must differ, got a difference of"):
        measure(toy, tokenize_pairs(same), [Circuit.full(toy.graph)], metric)


def test_a_gap_lost_in_noise_is_refused_too(toy, pairs, metric):
    with pytest.raises(VanishingGapError, match="denominator"):
        measure(toy, pairs, [Circuit.full(toy.graph)], metric)


def test_the_curve_ends_at_one_and_selected_circuits_beat_random_ones(toy, doable, metric):
    scores = eap.score_edges(toy, doable, metric)
    sizes = sizes_for(toy.graph.n_edges)
    curve = measure_curve(
        toy,
        doable,
        Ladder(
            select=lambda n: select_top(scores, n, signed=True),
            draw=lambda n, seed: select_random(scores, n, seed=seed),
            sizes=sizes,
            n_random=3,
        ),
        metric,
        Work(ResampleAblation()),
    )
    assert [point.n_edges for point in curve.points] == list(sizes)
    assert curve.points[-1].n_edges == toy.graph.n_edges
    assert curve.points[-1].faithfulness.value == pytest.approx(1)
    assert curve.points[-1].random == pytest.approx((1, 1, 1))
    middle = curve.points[len(sizes) // 2]
    assert middle.faithfulness.value > middle.random_mean
    assert len(set(middle.random)) == 3


def test_sizes_grow_and_stay_inside_the_graph():
    assert sizes_for(479)[-1] == 479
    assert sizes_for(5) == (1, 2, 5)


# the baseline


def test_a_model_that_does_the_task_passes(toy, doable, metric):
    baseline = measure_baseline(toy, doable, metric)
    assert baseline.fault == ""
    require_able(baseline, "toy", "doable")
    assert baseline.gap.value == pytest.approx(baseline.clean.value - baseline.corrupted.value)


def test_a_model_that_cannot_do_the_task_is_reported_as_such(toy, pairs, metric):
    baseline = measure_baseline(toy, pairs, metric)
    with pytest.raises(BaselineError, match="model 'toy' on task 'noise': must be able"):
        require_able(baseline, "toy", "noise")


def test_preferring_the_wrong_answer_is_a_fault_even_if_clean_beats_corrupted(toy, metric):
    raw = random_pairs(12)
    logits = record(toy, tokenize_pairs(raw).clean_batch)[1]
    corrupted = record(toy, tokenize_pairs(raw).corrupted_batch)[1]
    chosen = []
    for p, clean_row, corrupted_row in zip(raw, logits, corrupted, strict=True):
        clean_gap = clean_row[:, None] - clean_row
        gain = clean_gap - (corrupted_row[:, None] - corrupted_row)
        gain[clean_gap >= 0] = -torch.inf  # the wrong answer is preferred, yet corruption hurts
        best = int(gain.argmax())
        answer, wrong = divmod(best, VOCAB)
        chosen.append(PromptPair(p.clean, p.corrupted, [answer], [wrong], template=p.template))
    baseline = measure_baseline(toy, tokenize_pairs(chosen), metric)
    assert baseline.gap.low > 0
    assert baseline.preference is not None
    assert baseline.preference.value == 0
    assert "do not beat wrong ones" in baseline.fault


# the criteria


def test_the_criterion_is_the_faithfulness_of_the_case(case):
    [measured] = measure_faithfulness(
        case.model,
        case.validation,
        [case.circuit],
        ablation=case.ablations["resample"],
        metric=case.metric,
    )
    finding = FaithfulnessCriterion().measure(case)
    assert finding.value.value == pytest.approx(measured.value.value)
    assert finding.value.low == pytest.approx(measured.value.low, abs=0.01)
    assert finding.note.startswith("resample ablation; with 17 pairs a difference under")


def test_node_faithfulness_is_that_of_all_edges_between_the_components(case):
    nodes = case.circuit.between_components
    finding = NodeFaithfulness().measure(case)
    assert nodes.n_edges > case.circuit.n_edges
    assert finding.note == f"{nodes.n_edges} edges"
    assert finding.value.value == pytest.approx(float(case.faithfulness([nodes])[0]))
