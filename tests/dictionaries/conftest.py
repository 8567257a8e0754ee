"""Pico, and short sequences of its language, for tests of dictionaries."""

import pytest

from circuitkit.zoo import load_model
from circuitkit.zoo.pico.train_dictionaries import pico_prompts


@pytest.fixture(scope="session")
def pico():
    return load_model("pico")


@pytest.fixture(scope="session")
def some_prompts():
    return pico_prompts(seed=3)
