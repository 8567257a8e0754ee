"""How many pairs are needed is said before any work, and it is true."""

from dataclasses import replace

import pytest

from circuitkit.prompts.splits import Splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.study.pair_needs import shortfalls
from circuitkit.study.settings import Settings
from circuitkit.study.trimming import LEAST_PAIRS
from circuitkit.validation.criteria import CRITERIA
from circuitkit.validation.judge import MIN_TO_JUDGE
from tests.conftest import random_pairs


def splits(n, n_discovery=40):
    discovery = tokenize_pairs(random_pairs(n_discovery, lengths=(7,), seed=0))
    validation = tokenize_pairs(random_pairs(n, lengths=(7,), seed=1))
    return Splits(discovery, validation, discovery)


def test_too_few_pairs_for_any_verdict_are_told_once():
    [said] = shortfalls(splits(MIN_TO_JUDGE - 1), Settings())
    assert f"needs {MIN_TO_JUDGE} independent validation pairs, and there are 15" in said


def test_criteria_that_need_more_are_named_with_their_number():
    [said] = shortfalls(splits(MIN_TO_JUDGE), Settings())
    least = CRITERIA["minimality"].least_pairs
    assert said.startswith(f"minimality will not be judged: it needs {least} ")
    assert shortfalls(splits(MIN_TO_JUDGE), Settings(criteria=("faithfulness",))) == ()
    assert shortfalls(splits(least), Settings()) == ()


def test_a_minimal_circuit_needs_discovery_pairs():
    few = splits(40, LEAST_PAIRS - 1)
    assert shortfalls(few, Settings()) == ()
    [said] = shortfalls(few, Settings(minimal=True))
    assert f"needs {LEAST_PAIRS} discovery pairs, and there are {LEAST_PAIRS - 1}" in said
    assert shortfalls(splits(40, LEAST_PAIRS), Settings(minimal=True)) == ()


def test_pairs_of_one_cluster_count_once():
    alike = [replace(pair, cluster="one") for pair in random_pairs(40, lengths=(7,), seed=2)]
    found = replace(splits(40), validation=tokenize_pairs(alike))
    assert "there are 1." in shortfalls(found, Settings())[0]


@pytest.mark.parametrize("name", [n for n, c in CRITERIA.items() if c.least_pairs > MIN_TO_JUDGE])
def test_every_criterion_that_needs_more_than_a_verdict_is_told(name):
    assert any(said.startswith(f"{name} ") for said in shortfalls(splits(16), Settings()))
