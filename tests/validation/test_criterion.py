from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError, MethodError, PromptError, VanishingGapError
from circuitkit.interventions.ablation import NoiseAblation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import KLDivergence, LogitDifference, LogProbability
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.validation import bench
from circuitkit.validation.case import N_REFOUND, Case
from circuitkit.validation.criterion import exact, magnitude
from circuitkit.zoo import load_model
from tests.conftest import save_toy


@pytest.mark.parametrize(
    ("signed", "folded"),
    [
        (Estimate(0.3, 0.1, 0.4, 9), Estimate(0.3, 0.1, 0.4, 9)),
        (Estimate(-0.3, -0.4, -0.1, 9), Estimate(0.3, 0.1, 0.4, 9)),
        (Estimate(-0.1, -0.4, 0.2, 9), Estimate(0.1, 0.0, 0.4, 9)),
        (Estimate(0.1, -0.2, 0.4, 9), Estimate(0.1, 0.0, 0.4, 9)),
        (Estimate(0.1, 0.0, 0.4, 9), Estimate(0.1, 0.0, 0.4, 9)),
    ],
)
def test_the_interval_of_a_magnitude_is_folded_at_zero(signed, folded):
    assert magnitude(signed) == folded


def test_an_exact_value_is_its_own_interval():
    assert exact(0.4) == Estimate(0.4, 0.4, 0.4, 1)


def test_values_are_those_of_running_each_circuit_alone(new_case, random_circuit):
    case = new_case()
    circuits = [random_circuit(share, 1) for share in (0.2, 0.7)]
    case.values(circuits[1:])  # the second time it is known
    for name, choosing, pairs in (
        ("resample", False, case.validation),
        ("mean", False, case.validation),
        ("resample", True, case.choosing),
    ):
        found = case.values([*circuits, circuits[0]], choosing=choosing, ablation=name)
        for row, circuit in zip(found, [*circuits, circuits[0]], strict=True):
            [alone] = evaluate_circuits(
                case.model, pairs, [circuit], ablation=case.ablations[name], metric=case.metric
            )
            np.testing.assert_allclose(row, alone, rtol=1e-12, atol=1e-12)


def test_what_was_run_is_not_run_again(new_case, random_circuit, monkeypatch):
    case = new_case()
    first = case.values([random_circuit(0.3, 2)])
    monkeypatch.setattr(bench, "evaluate_circuits", None)
    assert (case.values([random_circuit(0.3, 2)]) == first).all()


def test_sets_are_chosen_on_some_discovery_pairs_alone(new_case, case):
    assert case.choosing.pairs == case.discovery.pairs
    many = new_case(discovery=case.discovery.select([*range(7)] * 5))
    assert len(many.choosing) == 32


def test_faithfulness_and_shares_are_ratios_of_means_of_the_same_pairs(case, random_circuit):
    full, empty = case.ends()
    circuit = random_circuit(0.6, 3)
    [values] = case.values([circuit])
    by_hand = (values.mean() - empty.mean()) / (full.mean() - empty.mean())
    assert case.faithfulness([circuit])[0] == pytest.approx(by_hand)
    assert case.share_of_gap(values - empty).value == pytest.approx(by_hand)
    under_zero = case.ends(ablation="zero")[1]
    assert np.abs(under_zero - empty).max() > 0.1


def test_a_share_of_a_negative_gap_keeps_its_meaning(told):
    def tell(circuit, choosing, ablation):  # less is better: 0 for the model, 4 for nothing
        return np.linspace(0.9, 1.1, 17) * (4 - 4 * circuit.n_edges / circuit.graph.n_edges)

    case = told(tell)
    half = case.values([case.circuit])[0] - case.ends()[1]
    share = case.circuit.n_edges / case.circuit.graph.n_edges
    assert case.share_of_gap(half).value == pytest.approx(share)
    assert case.faithfulness([case.circuit])[0] == pytest.approx(share)


def test_a_gap_that_vanishes_is_refused(told):
    rng = np.random.default_rng(0)
    with pytest.raises(VanishingGapError):
        told(lambda *_: rng.normal(size=17)).ends()


def test_circuits_are_found_again_on_other_samples_with_other_seeds(new_case, case):
    asked = []

    def find(pairs, seed):
        asked.append((seed, tuple(p.contents() for p in pairs.pairs)))
        return case.circuit

    refound = new_case(find=find)
    assert len(refound.refound) == N_REFOUND == len({seed for seed, _ in asked})
    known = {p.contents() for p in case.discovery.pairs}
    assert all(len(sample) == len(case.discovery) for _, sample in asked)
    assert all(known.issuperset(sample) for _, sample in asked)
    assert len({sample for _, sample in asked}) == N_REFOUND
    assert any(len(set(sample)) < len(sample) for _, sample in asked)  # with replacement


def test_a_circuit_that_cannot_be_found_again_is_refused_with_the_reason(new_case):
    def fail(pairs, seed):
        raise MethodError("method 'acdc': its circuit must have an edge")

    with pytest.raises(CriterionError, match="could not be found again: method 'acdc'"):
        _ = new_case(find=fail).refound
    with pytest.raises(CriterionError, match="must be found again .* it does not say how"):
        _ = new_case(find=None).refound


def test_another_ablation_that_does_not_fit_the_pairs_refuses_a_criterion_not_the_case(new_case):
    alien = new_case().held_out["wordings"].ablations["mean"]  # of templates of other lengths
    case = new_case(ablations={**new_case().ablations, "mean": alien})
    with pytest.raises(CriterionError, match="under mean ablation: .*template"):
        case.values([case.circuit], ablation="mean")
    with pytest.raises(PromptError):
        replace(case, ablation="mean").values([case.circuit])


def test_what_is_made_once_is_made_once(new_case):
    case = new_case()
    assert case.once("a", lambda: 1) == case.once("a", lambda: 2) == 1
    assert case.once("b", lambda: 3) == 3
    told = {"m0": np.array([1.0, 2.0])}
    assert case.once("a", lambda: 4, told) == case.once("a", lambda: 5, dict(told)) == 4
    assert case.once("a", lambda: 6, {"m0": np.array([1.0, 3.0])}) == 6  # made from something else
    assert case.once("a", lambda: 7, {"m1": told["m0"]}) == 7


def test_a_case_cannot_be_changed(new_case):
    with pytest.raises(FrozenInstanceError):
        new_case().metric = KLDivergence()


@pytest.fixture(scope="module")
def others(new_case, small, random_circuit, tmp_path_factory):
    """Another content for every field of a case, which no result of the first may outlive."""
    case = new_case()
    wordings = case.held_out["wordings"]
    seeded = load_model(save_toy(tmp_path_factory.mktemp("other"), 2, n_layers=2, n_heads=3))
    roles = tuple({"A": (0, 1)} for _ in case.validation.roles)
    return {
        "model": seeded,
        "circuit": random_circuit(0.4, 7),
        "metric": LogProbability(),
        "validation": case.validation.select(range(16, -1, -1)),
        "discovery": case.discovery.select([6, 5, 4, 3, 2]),
        "ablations": {**case.ablations, "resample": case.ablations["zero"]},
        "ablation": "zero",
        "seed": 4,
        "find": lambda pairs, seed: case.circuit,
        "select": lambda n: case.circuit,
        "held_out": {"wordings": wordings},
        "roles": replace(case.validation, roles=roles),
    }


def told_by(case):
    """What a case measures: on its pairs, on those that choose, under all ablations."""
    circuits = [Circuit.full(case.model.graph), case.circuit, Circuit.empty(case.model.graph)]
    rows = [
        case.values(circuits, choosing=choosing, ablation=ablation)
        for choosing in (False, True)
        for ablation in ("", "zero", "resample")
    ]
    rows.append(case.values(circuits, metric=KLDivergence()))
    return rows


FIELDS = sorted({each.name for each in fields(Case)} - {"bench", "memory", "progress"} | {"roles"})


@pytest.mark.parametrize("name", FIELDS)
def test_a_case_with_another_field_has_the_values_of_a_case_built_anew(new_case, others, name):
    first = new_case()
    told_by(first)
    first.once("made", lambda: "of the first")
    change = {"validation" if name == "roles" else name: others[name]}
    replaced, anew = replace(first, **change), new_case(**change)
    assert replaced.bench is first.bench is not anew.bench
    for row, expected in zip(told_by(replaced), told_by(anew), strict=True):
        np.testing.assert_allclose(row, expected, rtol=1e-12, atol=1e-12)
    assert replaced.once("made", lambda: "of the second") == "of the second"
    for row, expected in zip(told_by(first), told_by(new_case()), strict=True):
        np.testing.assert_allclose(row, expected, rtol=1e-12, atol=1e-12)


def test_noise_is_made_again_where_the_roles_differ(new_case, random_circuit):
    ablations = {"noise": NoiseAblation(["A"])}
    case = new_case(ablations=ablations, ablation="noise")
    circuit = random_circuit(0.4, 7)
    elsewhere = tuple({"A": roles["B"]} for roles in case.validation.roles)
    moved = replace(case.validation, roles=elsewhere)
    before = case.values([circuit])
    assert np.abs(replace(case, validation=moved).values([circuit]) - before).max() > 1e-3


def test_another_budget_or_progress_runs_nothing_again(new_case, monkeypatch):
    case = new_case()
    values = case.values([case.circuit])
    case.once("made", lambda: "once")
    monkeypatch.setattr(bench, "evaluate_circuits", None)
    other = replace(case, memory=2**30, progress=lambda done, total: None)
    assert (other.values([case.circuit]) == values).all()
    assert other.once("made", lambda: "again") == "once"
    same = replace(case, validation=case.validation.select(range(len(case.validation))))
    assert (same.values([case.circuit]) == values).all()  # told by contents, not by the object


def test_a_digest_is_worked_out_once_for_each_object(new_case, monkeypatch):
    case, asked = new_case(), []
    digest = PromptPairs.digest
    monkeypatch.setattr(
        PromptPairs, "digest", property(lambda pairs: asked.append(pairs) or digest.fget(pairs))
    )
    for circuit in (case.circuit, case.circuit.complement):
        case.values([circuit], ablation="mean")
    assert sum(pairs is case.validation for pairs in asked) == 1
    assert sum(pairs is case.ablations["mean"].reference for pairs in asked) == 1


def test_a_metric_with_settings_is_told_from_another_of_its_class(new_case):
    class Scaled(LogitDifference):
        def __init__(self, scale):
            self.scale = scale

        def values(self, logits, labels):
            return self.scale * super().values(logits, labels)

    case = new_case(metric=Scaled(1.0))
    once = case.values([case.circuit])
    np.testing.assert_allclose(replace(case, metric=Scaled(2.0)).values([case.circuit]), 2 * once)


def test_seeds_of_cases_do_not_meet(new_case):
    one, other = new_case(seed=1).seeds(40), new_case(seed=2).seeds(40)
    assert len(set(one) | set(other)) == 80


def test_ends_are_the_model_and_nothing(case):
    graph = case.model.graph
    full, empty = case.ends(choosing=True)
    again = case.values([Circuit.full(graph), Circuit.empty(graph)], choosing=True)
    assert (np.stack([full, empty]) == again).all()
    assert len(full) == len(case.choosing)
