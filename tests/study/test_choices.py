"""The default: what it finds, what it looks at, and what it can afford."""

from dataclasses import replace

import pytest

from circuitkit.bench.calibration.faults import subject_on
from circuitkit.errors import MethodError
from circuitkit.metrics import Accuracy
from circuitkit.study import choices
from circuitkit.study.choices import find_by_default
from circuitkit.study.search import find
from circuitkit.study.settings import Settings
from circuitkit.validation.verdict import SUPPORTED
from circuitkit.zoo.planted import planted

PLENTY = 3600.0


@pytest.fixture(scope="module")
def instance():
    return planted("planted-ioi:decoys:0")


@pytest.fixture(scope="module")
def subject(instance):
    return subject_on(instance.model(), instance.task, 48)


@pytest.fixture(scope="module")
def found(subject):
    return find_by_default(subject, Settings.by_default("resample", budget=PLENTY))


@pytest.fixture
def slow(monkeypatch):
    """Return a function that makes a forward pass of one pair take so many seconds."""

    def slow(seconds):
        monkeypatch.setattr(choices, "seconds_per_pass", lambda model, pairs: seconds)

    return slow


def test_the_default_finds_a_planted_circuit_and_no_decoy(instance, subject, found):
    assert set(found.circuit.edges) == set(instance.truth(subject.model).edges)


def test_what_was_chosen_is_a_recipe_that_finds_the_same_without_a_clock(subject, found):
    assert (found.settings.method, found.settings.minimal) == ("eap-ig", True)
    assert found.settings.n_edges >= found.circuit.n_edges
    assert found.circuit.provenance.recipe.scoring_ablation == "resample"
    assert find(subject, found.settings).circuit.edges == found.circuit.edges


def test_reasons_say_method_start_and_why_trimming_stopped(found):
    method, start, trimmed = found.reasons
    assert method == "Edges are scored by eap-ig under resample ablation, which judges, too."
    assert start.startswith(f"Trimming starts from the {found.settings.n_edges} best edges: ")
    assert f"{found.circuit.n_edges} are left: " in trimmed


def test_the_validation_pairs_are_not_looked_at(subject, found):
    splits = replace(subject.splits, validation=subject.splits.reference)
    settings = Settings.by_default("resample", budget=PLENTY)
    blind = find_by_default(replace(subject, splits=splits), settings)
    assert blind.circuit.edges == found.circuit.edges


def test_what_is_given_is_kept(subject):
    settings = Settings.by_default("resample", n_edges=30, minimal=False, scoring_ablation="mean")
    found = find_by_default(subject, settings)
    assert (found.settings.n_edges, found.settings.minimal) == (30, False)
    assert found.settings.scoring_ablation == "mean"
    assert found.circuit.provenance.recipe.selection.n_selected == 30
    assert "as asked" in found.reasons[0]
    assert "as asked" in found.reasons[1]


def test_what_is_too_dear_is_left_out_and_said(subject, slow):
    each = 60 / (48 * (choices.PASSES["eap-ig"] + choices.PASSES_OF_SIZES) + 50)
    slow(each)  # enough for EAP-IG and the sizes, not for trimming
    plan = choices.affordable(subject, Settings.by_default("resample", budget=60.0))
    assert (plan.settings.method, plan.settings.minimal) == ("eap-ig", False)
    assert plan.reasons[1].startswith("Nothing is trimmed: it would take about")
    slow(60 / (48 * (choices.PASSES["eap"] + choices.PASSES_OF_SIZES) + 50))
    plan = choices.affordable(subject, Settings.by_default("resample", budget=60.0))
    assert plan.settings.method == "eap"
    assert "eap-ig would take about" in plan.reasons[0]
    found = find_by_default(subject, Settings.by_default("resample", budget=60.0))
    assert "edges are taken: the best" in found.reasons[2]
    assert found.settings.n_edges < choices.LEAST_START


def test_a_budget_too_small_for_anything_is_refused_before_scoring(subject, slow, monkeypatch):
    slow(1.0)
    monkeypatch.setattr(choices, "discover", lambda *args: pytest.fail("scored"))
    with pytest.raises(MethodError, match=r"--budget: must be enough for one method.*got 60 s"):
        find_by_default(subject, Settings.by_default("resample", budget=60.0))


def test_the_budget_is_that_of_the_device_where_none_is_given(subject):
    assert choices.budget_of(subject, Settings.by_default()) == choices.BUDGETS["cpu"]
    assert choices.budget_of(subject, Settings.by_default(budget=7.0)) == 7.0


def test_a_metric_without_a_gradient_is_scored_exactly(subject):
    settings = Settings.by_default("resample", budget=PLENTY)
    plan = choices.affordable(replace(subject, metric=Accuracy()), settings)
    assert plan.settings.method == "exact"


def test_few_pairs_are_not_trimmed_on(subject):
    few = replace(subject.splits, discovery=subject.splits.discovery.select(range(31)))
    plan = choices.affordable(
        replace(subject, splits=few), Settings.by_default("resample", budget=PLENTY)
    )
    assert not plan.settings.minimal
    assert "31 discovery pairs are too few" in plan.reasons[1]


@pytest.mark.parametrize(("good", "taken"), [(1, 100), (2, 193), (0, 100)])
def test_another_start_is_tried_where_a_criterion_fails(subject, monkeypatch, good, taken):
    """`good` says which start meets all criteria: the first, the second, or none."""
    looked = []

    def look(subject, found, bench):
        looked.append(found.settings.n_edges)
        verdict = REAL(subject, found, bench)
        if len(looked) == good:
            return verdict
        checks = tuple(replace(check, outcome="undecided") for check in verdict.checks)
        return replace(verdict, outcome="undecided", checks=checks)

    REAL = choices.on_discovery_pairs
    monkeypatch.setattr(choices, "on_discovery_pairs", look)
    found = find_by_default(subject, Settings.by_default("resample", budget=PLENTY))
    assert looked == [100, 193][: good or 2]
    assert found.settings.n_edges == taken
    said = " ".join(found.reasons)
    assert ("On discovery pairs already" in said) == (good == 0)
    assert ("From 193 edges" in said) == (good != 1)


def test_a_start_that_is_given_is_not_doubled(subject, monkeypatch):
    monkeypatch.setattr(
        choices,
        "on_discovery_pairs",
        lambda *args: replace(REAL(*args), outcome="undecided"),
    )
    found = find_by_default(subject, Settings.by_default("resample", n_edges=60, budget=PLENTY))
    assert found.settings.n_edges == 60


REAL = choices.on_discovery_pairs


def test_the_discovery_check_is_the_one_that_judges(subject, found):
    from circuitkit.validation.bench import Bench

    assert choices.on_discovery_pairs(subject, found, Bench()).outcome == SUPPORTED
