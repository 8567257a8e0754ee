"""What a circuit file asks for: whose pairs judge it."""

from dataclasses import replace
from pathlib import Path

import pytest

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.circuits.recipe import PairsRecipe, Recipe
from circuitkit.study.request import Overrides, request_for


@pytest.fixture
def circuit():
    full = Circuit.full(ComponentGraph(n_layers=1, n_heads=1, d_model=2))
    recipe = Recipe(method="eap", pairs=PairsRecipe(prompts="pairs.jsonl", n=20))
    return replace(full, provenance=Provenance(task="", model="pico", recipe=recipe))


def test_a_prompt_file_is_found_beside_the_circuit_file(circuit, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "pairs.jsonl").touch()
    monkeypatch.chdir(tmp_path / "work")
    found = request_for(circuit, file=tmp_path / "circuit.json")
    assert found.prompts == tmp_path / "pairs.jsonl"


def test_one_in_the_working_directory_is_the_one_that_was_typed(circuit, tmp_path, monkeypatch):
    for directory in (tmp_path, tmp_path / "work"):
        directory.mkdir(exist_ok=True)
        (directory / "pairs.jsonl").touch()
    monkeypatch.chdir(tmp_path / "work")
    found = request_for(circuit, file=tmp_path / "circuit.json")
    assert found.prompts == Path("pairs.jsonl")


def test_one_that_is_nowhere_is_named_as_the_recipe_names_it(circuit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = request_for(circuit, file=tmp_path / "circuit.json")
    assert found.prompts == Path("pairs.jsonl")


def test_what_is_asked_for_comes_before_the_recipe(circuit, tmp_path):
    asked = Overrides(prompts=tmp_path / "others.jsonl")
    assert request_for(circuit, asked).prompts == tmp_path / "others.jsonl"
