"""Independence: does what is left without the circuit still know how the model does?

    HSIC = trace(K H L H) / n^2,   K, L Gaussian kernels of m(M minus C) and m(M) over pairs, with
    the median distance as width;  p = (k + 1) / (n_permutations + 1) over permuted pairs

H0: they are independent, as where the circuit is all that does the task. A small p says that the
complement still follows the task: a hint at what the circuit lacks, or at what both read. Gretton
et al. 2007; Shi et al. 2024 (arXiv:2410.13032, section 3.1).
"""

import numpy as np

from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bootstrap import Values
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion, exact
from circuitkit.validation.questions import ALL
from circuitkit.validation.verdict import Finding

N_PERMUTATIONS = 999


class Independence(Criterion):
    """The p-value of HSIC between the complement's metric and the model's."""

    name = "independence"
    question = ALL
    measures = CRITERIA["independence"]
    summary = "p of HSIC between the metric of the edges outside and the model's, by permutation"
    value_is_p = True

    def measure(self, case: Case) -> Finding:
        full, _ = case.ends()
        [rest] = case.values([case.circuit.complement])
        p = p_independent(rest, full, seed=case.seed)
        return Finding(exact(p), f"{len(full)} pairs, {N_PERMUTATIONS} permutations")


def p_independent(one: Values, other: Values, *, seed: int) -> float:
    """Return the permutation p-value of HSIC between two paired samples."""
    k, l_centred = _kernel(one), _centred(_kernel(other))
    rng = np.random.default_rng(seed)
    own = float((k * l_centred).sum())
    at_least = 0
    for _ in range(N_PERMUTATIONS):
        order = rng.permutation(len(one))
        at_least += float((k[np.ix_(order, order)] * l_centred).sum()) >= own - 1e-12 * abs(own)
    return (at_least + 1) / (N_PERMUTATIONS + 1)


def _kernel(values: Values) -> Values:
    distances = np.abs(values[:, None] - values[None, :])
    apart = distances[np.triu_indices(len(values), 1)]
    width = float(np.median(apart)) or 1.0
    return np.asarray(np.exp(-((distances / width) ** 2) / 2))


def _centred(kernel: Values) -> Values:
    rows = kernel - kernel.mean(0, keepdims=True)
    return np.asarray(rows - rows.mean(1, keepdims=True))
