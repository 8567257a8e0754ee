import numpy as np
import pytest
from scipy.stats import skew, t, ttest_1samp

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.statistics.bound import Bound
from circuitkit.validation import minimality
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.judge import judge_circuit
from circuitkit.validation.knock_outs import component_classes
from circuitkit.validation.minimality import (
    N_REFERENCE,
    Minimality,
    edge_effects,
    holm,
    p_above,
    p_below,
    reference_effects,
    reference_level,
    rejected_above,
    rejected_below,
)
from circuitkit.validation.verdict import outcome_of

RNG = np.random.default_rng(0)


def test_holm_rejects_until_the_first_that_fails():
    """Wikipedia's example: 0.01, 0.04, 0.03, 0.005 at 0.05 reject the first and the last."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005]), 0.05).tolist() == [True, False, False, True]
    assert holm(np.array([0.01, 0.02, 0.022, 0.009]), 0.05).tolist() == [True] * 4
    assert holm(np.array([0.06, 0.001]), 0.05).tolist() == [False, True]
    assert holm(np.array([0.2]), 0.05).tolist() == [False]
    assert holm(np.array([0.025, 0.05]), 0.05).tolist() == [True, True]  # at most, not under


def test_holm_keeps_its_level_where_bonferroni_would_and_rejects_no_less():
    ps = RNG.uniform(size=(4000, 5))
    assert np.mean([holm(p, 0.05).any() for p in ps]) == pytest.approx(0.05, abs=0.012)
    for p in RNG.uniform(0, 0.03, size=(50, 5)):
        assert (holm(p, 0.05) >= (p <= 0.01)).all()


def even(changes):
    """Return data of the same means that lean to neither side: the plain t-test is exact enough."""
    return np.concatenate([changes, 2 * changes.mean(1, keepdims=True) - changes], axis=1)


def test_p_above_nothing_is_the_two_sided_t_test_where_data_are_not_skewed():
    changes = even(RNG.normal(0.2, 1, (6, 11)))
    np.testing.assert_allclose(p_above(changes, 0.0), ttest_1samp(changes, 0, axis=1).pvalue)
    np.testing.assert_allclose(p_above(-changes, 0.0), p_above(changes, 0.0))


def test_p_above_a_level_far_from_nothing_is_the_one_sided_t_test():
    changes = even(RNG.normal(3.2, 0.3, (6, 11)))
    one_sided = ttest_1samp(changes, 3, axis=1, alternative="greater").pvalue
    np.testing.assert_allclose(p_above(changes, 3.0), one_sided, rtol=1e-6)
    np.testing.assert_allclose(p_above(-changes, 3.0), one_sided, rtol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.05, 1.0])
def test_at_the_level_itself_one_in_twenty_is_rejected(level):
    changes = RNG.normal(level, 1, (20000, 30))
    rate = (p_above(changes, level) <= 0.05).mean()
    assert rate == pytest.approx(0.05, abs=0.006)


def test_p_below_is_that_of_equivalence():
    changes = even(RNG.normal(0.1, 1, (4, 11)))
    tests = [
        ttest_1samp(changes, level, axis=1, alternative=side).pvalue
        for level, side in ((-0.8, "greater"), (0.8, "less"))
    ]
    np.testing.assert_allclose(p_below(changes, 0.8), np.max(tests, 0))


def test_the_statistic_is_straightened_for_skewness_as_hall_writes_it():
    changes = RNG.exponential(1, (5, 20)) + 1
    mean, n = changes.mean(1), 20
    statistic = (mean - 0.5) / (changes.std(1, ddof=1) / np.sqrt(n))
    lean = skew(changes, axis=1)
    hall = statistic + lean * statistic**2 / (3 * n**0.5) + lean**2 * statistic**3 / (27 * n)
    hall += lean / (6 * n**0.5)
    np.testing.assert_allclose(p_above(changes, 0.5), t.sf(hall, n - 1), atol=1e-7)
    assert (p_below(-changes, 5.0) != p_below(even(-changes), 5.0)).all()


@pytest.mark.parametrize("side", [1, -1])
def test_the_level_is_kept_where_most_changes_are_nothing_and_few_are_large(side):
    """Far out in the tail, as Holm's correction looks there: a plain t-test fails on one side."""
    changes = side * (RNG.random((20000, 64)) < 0.2) * RNG.exponential(1, (20000, 64))
    changes += 1 - 0.2 * side  # its true mean is 1
    assert (p_above(changes, 1.0) <= 0.005).mean() < 0.01


def test_without_spread_a_change_is_what_it_is():
    changes = np.array([[0.5] * 4, [-0.5] * 4, [0.1] * 4, [0.0] * 4])
    assert p_above(changes, 0.1).tolist() == [0, 0, 1, 1]
    assert p_below(changes, 0.1).tolist() == [1, 1, 1, 0]


def test_effects_are_those_of_the_set_that_exposes_an_edge_most(case):
    """Computed again, edge by edge and set by set, on the pairs that each is about."""
    graph, circuit = case.model.graph, case.circuit
    classes = component_classes(case).values()

    def value(edges, pairs):
        [row] = evaluate_circuits(
            case.model,
            pairs,
            [Circuit.of_edges(graph, edges)],
            ablation=case.ablations["resample"],
            metric=case.metric,
        )
        return row.numpy()

    def change(edge, k, pairs):
        kept = [e for e in circuit.edges if e.partition("->")[0] not in k]
        return value([e for e in kept if e != edge], pairs) - value(kept, pairs)

    found = edge_effects(case)
    assert len(found) == circuit.n_edges
    exposed = 0
    for edge, row in list(zip(circuit.edges, found, strict=True))[::3]:
        sets = [()]
        for end in Circuit.ends(edge):
            sets += [tuple(n for n in names if n != end) for names in classes if end in names]
        best = max(sets, key=lambda k: abs(change(edge, k, case.choosing).mean()))
        exposed += best != ()
        np.testing.assert_allclose(row, change(edge, best, case.validation), atol=1e-9)
    assert exposed > 0


def test_reference_effects_are_of_edges_outside_of_the_circuit(told, case):
    held = set(case.circuit.edges)
    asked = []

    def tell(c, choosing, ablation):
        assert choosing
        asked.append(set(c.edges))
        return np.full(7, float(c.n_edges))

    effects = reference_effects(told(tell))
    assert effects.shape == (N_REFERENCE, 7)
    assert (effects == -1).all()  # one edge goes
    without, with_path = asked[:N_REFERENCE], asked[N_REFERENCE:]
    for small_set, large in zip(without, with_path, strict=True):
        [gone] = large - small_set
        assert gone not in held
        assert held <= small_set < large
    assert len({frozenset(s) for s in with_path}) > N_REFERENCE / 2


def planted(told, case, effect, spread=0.1):
    """The circuit's first half of edges does 1 each, the rest `effect`; others a little."""
    edges = case.circuit.edges
    half = set(edges[: len(edges) // 2])
    noise = np.random.default_rng(1).normal(0, spread, (len(edges), 17))

    def tell(c, choosing, ablation):
        n = 7 if choosing else 17
        total = np.full(n, 3.0 * (c.n_edges > 0))
        for i, edge in enumerate(edges):
            if edge in set(c.edges):
                total = total + (1.0 if edge in half else effect) + noise[i, :n]
        outside = set(c.edges) - set(edges)
        return total + sum(0.01 * (1 + len(edge)) for edge in outside)

    return told(tell, made={"component classes": {}})


def test_what_is_shown_idle_refutes_and_what_is_not_shown_leaves_it_open(told, case):
    n = case.circuit.n_edges
    clear = Minimality().measure(planted(told, case, 0.0))
    assert clear.value.value == clear.value.low == pytest.approx((n // 2) / n)
    assert clear.value.high == pytest.approx((n // 2) / n)
    assert clear.value.n == n
    assert clear.note.startswith(f"{n // 2} of {n} edges do more than 0.")
    assert outcome_of(clear, Minimality.default) == "refuted"
    level = reference_level(planted(told, case, 0.0))
    unclear = Minimality().measure(planted(told, case, level, spread=0.2))
    assert unclear.value.low == pytest.approx((n // 2) / n, abs=0.1)
    assert unclear.value.high == 1.0
    assert outcome_of(unclear, Minimality.default) == "undecided"
    needed = Minimality().measure(planted(told, case, -1.0))  # against the behaviour, and needed
    assert (needed.value.low, needed.value.high) == (1.0, 1.0)
    assert outcome_of(needed, Minimality.default) == "supported"
    assert outcome_of(needed, Bound(min=1.0)) == "supported"


def test_edges_that_are_not_shown_are_named(told, case):
    edges = case.circuit.edges
    note = Minimality().measure(planted(told, case, 0.0)).note
    idle = edges[len(edges) // 2 :]
    assert f"{len(idle)} less; not shown: {', '.join(idle[:5])} ..." in note


def test_the_level_is_what_one_in_twenty_edges_of_no_interest_exceed(told, monkeypatch):
    case = told(lambda c, *_: [float(c.n_edges > 0)] * 17)
    draws = np.repeat(np.linspace(-1, 1, 41)[:, None], 7, 1)
    monkeypatch.setattr(minimality, "reference_effects", lambda _: draws)
    assert reference_level(case) == pytest.approx(0.95, abs=0.03)
    monkeypatch.setattr(minimality, "reference_effects", lambda _: 0 * draws)
    assert reference_level(case) == pytest.approx(1e-5)  # rounding of values of about 1


def test_an_edge_that_rounding_moves_is_not_needed(told, case):
    rng = np.random.default_rng(2)

    def tell(c, choosing, ablation):
        n = 7 if choosing else 17
        return 5.0 * (c.n_edges > 60) + 1e-7 * c.n_edges + rng.normal(0, 1e-9, n)

    finding = Minimality().measure(told(tell, made={"component classes": {}}))
    assert finding.value.value == finding.value.high == 0.0


def test_without_an_edge_inside_or_outside_there_is_nothing_to_compare(new_case, small):
    with pytest.raises(CriterionError, match="must have an edge, got none"):
        Minimality().measure(new_case(circuit=Circuit.empty(small.graph)))
    with pytest.raises(CriterionError, match="every path inside"):
        Minimality().measure(new_case(circuit=Circuit.full(small.graph)))


def standing_at_the_level(rng, n, n_edges=60, lean=-1):
    """Return effects with a true mean of 1 each, of which few pairs move each edge far."""
    rare = (rng.random((n_edges, n)) < 0.15) * rng.exponential(2.0, (n_edges, n))
    return 1 + lean * (rare - 0.3) + rng.normal(0, 0.2, (n_edges, n))


@pytest.mark.parametrize("n", [32, 100])
@pytest.mark.parametrize(("rejected", "p", "lean"), [
    (rejected_above, p_above, -1), (rejected_below, p_below, 1),
])  # fmt: skip
def test_of_many_edges_at_the_level_none_is_called_needed_or_idle_but_rarely(n, rejected, p, lean):
    """Few pairs move each edge, as in trained models: tests one by one fail far too often."""
    rng = np.random.default_rng(n)
    draws = [standing_at_the_level(rng, n, lean=lean) for _ in range(80)]
    alarms = np.mean([rejected(changes, 1.0).any() for changes in draws])
    one_by_one = np.mean([holm(p(changes, 1.0), 0.05).any() for changes in draws])
    assert one_by_one > 0.1
    assert alarms <= 0.1


def test_edges_that_are_clear_are_called_so_also_among_many():
    changes = standing_at_the_level(np.random.default_rng(5), 100)
    changes[:5] += 9
    changes[5:9] *= 0.01
    assert rejected_above(changes, 1.0)[:5].all()
    assert rejected_below(changes, 1.0)[5:9].all()
    still = np.array([[2.0] * 40, [0.5] * 40, [-2.0] * 40])
    assert rejected_above(still, 1.0).tolist() == [True, False, True]
    assert rejected_below(still, 1.0).tolist() == [False, True, False]


def test_few_pairs_are_not_judged(told, case):
    judged = judge_circuit(planted(told, case, 0.0), Thresholds(), only=["minimality"])
    assert "too few pairs: 17, 32 are needed" in judged.sentence
