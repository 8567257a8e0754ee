"""CPR and CMD: by hand, and as the MIB benchmark's own code gives them (tests/data)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.circuits.selection import prune_dead_ends, select_top
from circuitkit.errors import CriterionError, VanishingGapError
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.validation.areas import CMD, CPR, FRACTIONS, areas_of, measure_areas
from circuitkit.zoo import load_model

DATA = Path(__file__).parents[1] / "data" / "tiny-gpt2"
RECORDED = json.loads((DATA / "mib_f64.json").read_text())
RUNS = [name for name in RECORDED if name.startswith("answers") and "/" in name]
METRIC = LogitDifference()


@pytest.fixture(scope="module")
def model():
    return load_model(DATA / "model", dtype="float64")


@pytest.fixture(scope="module")
def gap_pairs():
    tokens = np.load(DATA / "model" / "tokens.npz")
    rows = zip(tokens["clean"], tokens["corrupted"], RECORDED["answers_gap"], strict=True)
    return tokenize_pairs(
        [PromptPair(clean.tolist(), bad.tolist(), [a], [b]) for clean, bad, (a, b) in rows]
    )


def test_a_perfect_ranking_has_nearly_one_and_zero():
    areas = areas_of([1.0] * len(FRACTIONS))
    assert areas.cpr == pytest.approx(0.999)
    assert areas.cmd == pytest.approx(0.0)


def test_areas_by_hand():
    f = [0.0] * 9 + [1.0]  # nothing until the whole graph: a triangle from 0.5 to 1
    areas = areas_of(f)
    assert areas.cpr == pytest.approx(0.25)
    assert areas.cmd == pytest.approx(0.749)
    assert areas_of([2.0] * 10).cmd == pytest.approx(0.999)  # too good is as far off as too bad


@pytest.mark.parametrize("name", RUNS)
def test_integration_is_that_of_the_benchmark(name):
    recorded = RECORDED[name]
    assert tuple(recorded["percentages"]) == FRACTIONS
    areas = areas_of(recorded["faithfulnesses"])
    assert areas.cpr == pytest.approx(recorded["CPR_area_under"], abs=1e-12)
    assert areas.cmd == pytest.approx(recorded["CMD_area_from_1"], abs=1e-12)


@pytest.mark.parametrize("name", RECORDED["scores"])
def test_circuits_of_recorded_scores_have_the_recorded_areas(model, gap_pairs, name):
    graph, recorded = model.graph, RECORDED[name]
    values = -torch.tensor(RECORDED["scores"][name], dtype=torch.float64)  # of a loss
    scores = EdgeScores(graph, torch.where(graph.edge_mask, values, 0.0))
    signed = name.endswith("absolute=False")

    def select(n_edges):
        # MIB ranks signed scores of the loss, where the best edges are lowest
        ranked = EdgeScores(graph, -scores.values) if signed else scores
        return prune_dead_ends(select_top(ranked, n_edges, signed=signed))

    areas = measure_areas(model, gap_pairs, select, metric=METRIC)
    np.testing.assert_allclose(areas.faithfulness, recorded["faithfulnesses"], atol=1e-8)
    assert areas.cpr == pytest.approx(recorded["CPR_area_under"], abs=1e-8)
    assert areas.cmd == pytest.approx(recorded["CMD_area_from_1"], abs=1e-8)


def test_a_vanishing_gap_is_refused(toy, pairs):
    same = [PromptPair(p.clean, p.clean, p.answers, p.wrong_answers) for p in pairs.pairs]
    with pytest.raises(VanishingGapError):
        measure_areas(
            toy,
            tokenize_pairs(same),
            lambda n: Circuit.full(toy.graph),
            metric=METRIC,
            ablation=ResampleAblation(),
        )


@pytest.mark.parametrize("criterion", [CPR(), CMD()])
def test_the_criteria_have_the_values_of_the_areas(case, criterion):
    areas = measure_areas(case.model, case.validation, case.select, metric=METRIC)
    finding = criterion.measure(case)
    assert finding.value.value == pytest.approx(getattr(areas, criterion.name), rel=1e-9)
    assert finding.value.low < finding.value.value < finding.value.high


def test_the_criteria_are_under_resampling_whatever_the_verdict_is(case, new_case):
    assert CPR().measure(new_case(ablation="mean")).value == CPR().measure(case).value


def test_without_a_ranking_there_is_no_area(new_case):
    for criterion in (CPR(), CMD()):
        with pytest.raises(CriterionError, match=f"{criterion.name}: the circuit must have scores"):
            criterion.measure(new_case(select=None))


def test_too_good_a_circuit_is_as_far_from_the_model(told, case):
    def tell(c, choosing, ablation):
        return np.linspace(-0.1, 0.1, 17) + (1.5 if 0 < c.n_edges < 75 else c.n_edges / 75)

    sizes = [int(fraction * 75) for fraction in FRACTIONS]
    f = [0.0 if n == 0 else 1.0 if n == 75 else 1.5 for n in sizes]
    held = told(tell, select=case.select)
    assert CMD().measure(held).value.value == pytest.approx(areas_of(f).cmd)
    assert CPR().measure(held).value.value == pytest.approx(areas_of(f).cpr)
