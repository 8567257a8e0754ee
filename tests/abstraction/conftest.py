"""Planted models in float64, and pairs of their tasks, each drawn once."""

from functools import cache

import pytest

from circuitkit.prompts.splits import sample_splits
from circuitkit.task import find_task
from circuitkit.zoo import load_model


@cache
def _planted(name, n):
    model = load_model(name, dtype="float64")
    return model, sample_splits(find_task(name), model.tokenizer, n=n, seed=0)


@pytest.fixture(scope="session")
def planted_splits():
    """Return a function that gives a planted model and splits of its task."""
    return lambda name, n=64: _planted(name, n)
