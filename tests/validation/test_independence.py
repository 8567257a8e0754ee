import numpy as np
import pytest

from circuitkit.validation import independence
from circuitkit.validation.independence import N_PERMUTATIONS, Independence, p_independent

RNG = np.random.default_rng(0)


def hsic(one, other):
    """Gretton et al. 2007, by the definition: sums over pairs, triples and quadruples."""
    n = len(one)

    def kernel(x):
        apart = [abs(x[i] - x[j]) for i in range(n) for j in range(i)]
        width = np.median(apart)
        return [[np.exp(-((a - b) ** 2) / (2 * width**2)) for b in x] for a in x]

    k, m = kernel(one), kernel(other)
    both = sum(k[i][j] * m[i][j] for i in range(n) for j in range(n)) / n**2
    cross = sum(k[i][j] * m[i][q] for i in range(n) for j in range(n) for q in range(n)) / n**3
    apart = np.sum(k) * np.sum(m) / n**4
    return both + apart - 2 * cross


def test_p_ranks_the_literal_criterion_among_permuted_pairs(monkeypatch):
    monkeypatch.setattr(independence, "N_PERMUTATIONS", 40)
    one = RNG.normal(size=7)
    for other in (one**2, one + RNG.normal(size=7)):
        draws = np.random.default_rng(5)
        own = hsic(one, other)
        k = sum(hsic(one[draws.permutation(7)], other) >= own - 1e-12 for _ in range(40))
        assert 0 < k < 40
        assert p_independent(one, other, seed=5) == (k + 1) / 41


def test_dependence_is_seen_without_correlation():
    one = RNG.normal(size=60)
    assert abs(np.corrcoef(one, one**2)[0, 1]) < 0.5
    assert p_independent(one, one**2, seed=0) == 1 / (N_PERMUTATIONS + 1)


def test_p_is_uniform_where_there_is_none(monkeypatch):
    monkeypatch.setattr(independence, "N_PERMUTATIONS", 19)
    ps = [p_independent(*RNG.normal(size=(2, 12)), seed=s) for s in range(300)]
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(np.array(ps) <= 0.5) == pytest.approx(0.5, abs=0.09)


def test_units_do_not_matter():
    one, other = RNG.normal(size=(2, 15))
    assert p_independent(1000 * one, other - 7, seed=1) == p_independent(one, other, seed=1)


def test_what_is_constant_is_independent_of_all():
    varied, constant = RNG.normal(size=20), np.full(20, 0.1)
    assert p_independent(constant, varied, seed=0) == 1.0
    assert p_independent(varied, constant, seed=0) == 1.0


def test_a_complement_that_still_follows_the_task_is_found_out(told, case):
    task = RNG.normal(4, 1, 17)
    other = RNG.normal(4, 1, 17)

    def tell(knows):
        def values(c, choosing, ablation):
            if c.n_edges in (0, 75):
                return task if c.n_edges else np.zeros(17)
            assert c.edges == case.circuit.complement.edges
            return task / 2 if knows else other

        return values

    ps = [Independence().measure(told(tell(knows))).value.value for knows in (True, False)]
    assert ps[0] == 1 / (N_PERMUTATIONS + 1)
    assert ps[1] > 0.05
