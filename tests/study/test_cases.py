"""From a circuit to its case: what is refused, and how it is found again."""

from dataclasses import replace

import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.circuits.recipe import Recipe
from circuitkit.circuits.selection import prune_dead_ends, select_above, select_greedy, select_top
from circuitkit.discovery import eap
from circuitkit.errors import CriterionError, GraphError
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import Splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.study import cases, refinding
from circuitkit.study.cases import case_of, judge, require_unseen
from circuitkit.study.recipe import with_provenance
from circuitkit.study.refinding import finder
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Subject
from circuitkit.validation.case import HeldOut, LateHeldOut
from tests.conftest import random_pairs

METRIC = LogitDifference()
PARTS = [random_pairs(n, seed=seed) for seed, n in ((0, 8), (1, 17), (2, 8))]


@pytest.fixture(scope="module")
def subject(toy):
    return Subject("toy", "", METRIC, toy, Splits(*(tokenize_pairs(part) for part in PARTS)))


@pytest.fixture(scope="module")
def scores(subject):
    return eap.score_edges(subject.model, subject.splits.discovery, METRIC)


def found(subject, selected, **settings):
    circuit = prune_dead_ends(selected)
    asked = Settings(method="eap", **settings)
    return with_provenance(circuit, subject, asked, n_selected=selected.n_edges)


@pytest.fixture(scope="module")
def circuit(subject, scores):
    return found(subject, select_top(scores, 70), seed=4)


def with_validation(subject, raw):
    pairs = tokenize_pairs(raw)
    return replace(subject, splits=replace(subject.splits, validation=pairs))


def test_the_case_is_that_of_the_subject_and_the_settings(subject, circuit):
    case = case_of(subject, circuit, Settings(ablation="zero", seed=9, memory=10**9))
    assert case.validation is subject.splits.validation
    assert case.discovery is subject.splits.discovery
    assert (case.ablation, case.seed, case.memory) == ("zero", 9, 10**9)
    assert case.circuit is circuit
    assert set(case.ablations) >= {"zero", "mean", "resample"}
    assert case.select(5).edges == select_top(circuit.scores, 5).edges
    assert case_of(subject, Circuit.full(circuit.graph), Settings()).select is None


@pytest.mark.parametrize(
    "again",
    [
        lambda p: p,
        lambda p: replace(p, answers=[1], wrong_answers=[2]),
        lambda p: replace(p, clean=p.corrupted, corrupted=[0] * len(p.clean)),
        lambda p: replace(p, clean=[0] * len(p.clean), corrupted=p.clean),
    ],
)
def test_a_prompt_that_found_the_circuit_never_judges_it(subject, circuit, again):
    raw = [*PARTS[1], again(PARTS[0][3])]
    longer = PromptPair([3] * 12, [4] * 12, [1], [2])  # so that the padding is another
    with pytest.raises(
        CriterionError,
        match=r"got 1 of 19 that share a prompt with them, as \[.*\"split\": \"validation\"",
    ):
        case_of(with_validation(subject, [*raw, longer]), circuit, Settings())
    with pytest.raises(CriterionError, match="share a prompt"):
        judge(with_validation(subject, raw), circuit, Settings(seed=77))


def test_other_prompts_may_judge_and_so_may_any_where_the_first_are_not_known(subject, circuit):
    require_unseen(circuit, subject.splits.validation)
    assert len(circuit.provenance.discovery_prompts) == 16
    require_unseen(Circuit.full(circuit.graph), subject.splits.discovery)


def test_a_prompt_that_begins_like_one_of_discovery_is_another(subject, circuit):
    whole = PARTS[0][0]
    short = replace(
        whole, clean=whole.clean[:-1], corrupted=whole.corrupted[:-1], template="shorter"
    )
    require_unseen(circuit, tokenize_pairs([short, *PARTS[1]]))


def test_under_another_tokenizer_the_same_text_is_other_tokens(circuit):
    shifted = [
        replace(
            p, clean=[(t + 1) % 37 for t in p.clean], corrupted=[(t + 1) % 37 for t in p.corrupted]
        )
        for p in PARTS[0]
    ]
    require_unseen(circuit, tokenize_pairs(shifted))  # which the digests cannot know
    assert circuit.provenance.tokenizer_digest == ""  # so the command line asks for the same one


def test_a_circuit_of_another_architecture_is_refused(subject):
    other = Circuit.full(ComponentGraph(n_layers=2, n_heads=4, d_model=20))
    with pytest.raises(GraphError, match="3 layers, 4 heads.*got a circuit of .2 layers"):
        case_of(subject, other, Settings())


def test_a_circuit_is_found_again_as_it_was_found(subject, scores):
    discovery = subject.splits.discovery
    cut = float(scores.values.abs().flatten().sort().values[-60])
    cases = {
        "top": (select_top(scores, 70), {"n_edges": 70}),
        "of a size that was searched for": (select_top(scores, 70), {}),
        "signed": (select_top(scores, 70, signed=True), {"signed": True}),
        "greedy": (select_greedy(scores, 40), {"selection": "greedy", "n_edges": 40}),
        "above a threshold": (select_above(scores, cut), {"threshold": cut}),
    }
    for name, (selected, settings) in cases.items():
        circuit = found(subject, selected, **settings)
        find, reason = finder(subject, circuit, Settings(method="atp", seed=1))
        assert (reason, find(discovery, 0).edges) == ("", circuit.edges), name


def test_the_size_is_kept_on_other_pairs(subject, scores):
    cut = float(scores.values.abs().flatten().sort().values[-60])
    other = subject.splits.validation
    rescored = eap.score_edges(subject.model, other, METRIC)
    assert select_above(rescored, cut).n_edges != 60
    for settings in ({}, {"threshold": cut}):
        find, _ = finder(subject, found(subject, select_top(scores, 60), **settings), Settings())
        assert find(other, 0).edges == prune_dead_ends(select_top(rescored, 60)).edges


def test_a_seed_is_passed_on(subject, circuit, monkeypatch):
    seen = []

    def work_of(subject, settings):
        seen.append((settings.seed, settings.checkpoint))
        return original(subject, settings)

    original = refinding.work_of
    monkeypatch.setattr(refinding, "work_of", work_of)
    find, _ = finder(subject, circuit, Settings())
    find(subject.splits.discovery, 31)
    assert seen[-1] == (31, None)


def test_why_a_circuit_cannot_be_found_again_is_said(subject, circuit):
    by_hand = replace(
        circuit, provenance=replace(circuit.provenance, recipe=Recipe(method="by hand"))
    )
    find, reason = finder(subject, by_hand, Settings())
    assert find is None
    assert "method 'by hand' is unknown" in reason
    slow = with_provenance(circuit, subject, Settings(method="exact"), n_selected=70)
    find, reason = finder(subject, slow, Settings(), limit=0.0)
    assert find is None
    assert "takes too long" in reason
    minimal = with_provenance(circuit, subject, Settings(minimal=True), n_selected=70)
    with pytest.raises(CriterionError, match="takes too long"):
        _ = case_of(subject, minimal, Settings()).refound
    assert finder(subject, minimal, Settings(), limit=60.0)[0] is not None


def test_the_ranking_of_the_case_is_that_of_the_circuit(subject, scores):
    signed = found(subject, select_top(scores, 70, signed=True), signed=True)
    greedy = found(subject, select_greedy(scores, 40), selection="greedy")
    assert case_of(subject, signed, Settings()).select(9).edges == (
        select_top(scores, 9, signed=True).edges
    )
    assert case_of(subject, greedy, Settings()).select(9).edges == select_greedy(scores, 9).edges


def test_the_verdict_is_on_the_criteria_asked_for(subject, circuit):
    verdict = judge(subject, circuit, Settings(criteria=("edges", "edge-share")))
    assert [check.criterion for check in verdict.checks] == ["edges", "edge-share"]
    assert verdict.check("edges").value.value == circuit.n_edges


def test_held_out_pairs_are_drawn_when_a_criterion_asks_and_once(subject, circuit, monkeypatch):
    drawn = []
    pairs = HeldOut(subject.splits.validation, subject.ablations)
    monkeypatch.setattr(cases, "_held_out", lambda *of: drawn.append(of) or {"wordings": pairs})
    case = case_of(subject, circuit, Settings())
    judge(subject, circuit, Settings(criteria=("edge-share", "completeness")))
    assert case.identity == replace(case, progress=print).identity
    assert drawn == []
    assert (len(case.held_out), list(case.held_out)) == (1, ["wordings"])
    assert case.held_out["wordings"] is pairs
    assert drawn == [(subject, circuit)]


def test_cases_with_other_held_out_pairs_are_told_apart(subject, circuit):
    case = case_of(subject, circuit, Settings())
    other = replace(case, held_out=LateHeldOut(dict))
    assert case.identity != other.identity
