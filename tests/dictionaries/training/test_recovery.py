"""Dictionaries of data with known true features: sparse, and more than there are dimensions."""

import pytest
import torch

from circuitkit.dictionaries.training.learner import Learner
from circuitkit.dictionaries.training.plan import Plan

D, N_TRUE = 16, 32


@pytest.fixture(scope="module")
def truth():
    generator = torch.Generator().manual_seed(12345)  # another than any dictionary begins with
    rows = torch.randn(N_TRUE, D, generator=generator)
    return rows / rows.norm(dim=1, keepdim=True)


def sample(truth, seed, n=512):
    """Sums of two true features of random size each."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.rand(n, N_TRUE, generator=generator).topk(2, dim=1).indices
    sizes = 0.5 + torch.rand(n, 2, generator=generator)
    return torch.zeros(n, N_TRUE).scatter(1, which, sizes) @ truth


def learned(truth, kind, **more):
    plan = Plan(kind, 2 * N_TRUE, 2, 500, learning_rate=1e-2, dead_after=5000, **more)
    learner = Learner.begin(plan, sample(truth, 1), sample(truth, 1))
    for step in range(plan.steps):
        x = sample(truth, step + 1)
        learner.learn(x, x)
    return learner


def mean_max_cosine(truth, rows):
    return float((truth @ rows.T).amax(1).mean())


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "jumprelu"])
def test_superposed_true_features_are_found_again(truth, kind):
    found = learned(truth, kind).weights.w_dec
    assert mean_max_cosine(truth, found) >= 0.95
    first = Learner.begin(Plan(kind, 2 * N_TRUE, 2), sample(truth, 1), sample(truth, 1))
    assert mean_max_cosine(truth, first.weights.w_dec) < 0.75
