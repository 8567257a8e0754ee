import numpy as np
import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError, MethodError, PromptError, VanishingGapError
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.validation.criterion import N_REFOUND, exact, magnitude


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
    monkeypatch.setattr(case, "run", None)
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
    case = new_case()
    case.ablations = {**case.ablations, "mean": alien}
    with pytest.raises(CriterionError, match="under mean ablation: .*template"):
        case.values([case.circuit], ablation="mean")
    case.ablation = "mean"
    with pytest.raises(PromptError):
        case.values([case.circuit])


def test_what_is_made_once_is_made_once(new_case):
    case = new_case()
    assert case.once("a", lambda: 1) == case.once("a", lambda: 2) == 1
    assert case.once("b", lambda: 3) == 3


def test_seeds_of_cases_do_not_meet(new_case):
    one, other = new_case(seed=1).seeds(40), new_case(seed=2).seeds(40)
    assert len(set(one) | set(other)) == 80


def test_ends_are_the_model_and_nothing(case):
    graph = case.model.graph
    full, empty = case.ends(choosing=True)
    again = case.values([Circuit.full(graph), Circuit.empty(graph)], choosing=True)
    assert (np.stack([full, empty]) == again).all()
    assert len(full) == len(case.choosing)
