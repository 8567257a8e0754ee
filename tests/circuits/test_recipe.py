"""Recipes in files: what schema 2 holds, what schema 1 could say, and what is refused."""

import json

import pytest

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.file import circuit_from_json, circuit_to_json
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.circuits.recipe import (
    PairsRecipe,
    Recipe,
    Selection,
    recipe_from_json,
    recipe_to_json,
)
from circuitkit.errors import CircuitFileError

GRAPH = ComponentGraph(n_layers=2, n_heads=3, d_model=8)
RECIPE = Recipe(
    "acdc",
    {"threshold": 0.05, "absolute": True, "rule": "left", "steps": 5},
    Selection("greedy", 12, 0.25, signed=True, minimal=True, n_selected=14),
    scoring_ablation="mean",
    ablation="zero",
    seed=3,
    dtype="float64",
    pairs=PairsRecipe("ioi", "", False, 100, 60, 4, "kl", "never", "0123"),
)
SCHEMA_1 = {
    "schema": 1,
    "task": "ioi",
    "method": "eap-ig",
    "model": "pico",
    "model_digest": "06e7",
    "seed": 4,
    "settings": {
        "n_discovery": 100,
        "metric": "kl",
        "ablation": "zero",
        "signed": True,
        "selection": "greedy",
        "threshold": 0.5,
        "n_edges": 150,
        "minimal": True,
        "n_selected": 149,
        "scoring_ablation": "mean",
        "steps": 5,
        "rule": "left",
    },
    "discovery_prompts": ["aa", "bb"],
}


def file_of(recipe):
    return circuit_to_json(Circuit.full(GRAPH)) | {
        "circuitkit": {"schema": 2, "task": "ioi", "recipe": recipe}
    }


def test_a_recipe_comes_back_as_it_was_written():
    assert recipe_from_json(json.loads(json.dumps(recipe_to_json(RECIPE)))) == RECIPE
    circuit = circuit_from_json(json.loads(json.dumps(file_of(recipe_to_json(RECIPE)))))
    assert circuit.provenance == Provenance(task="ioi", recipe=RECIPE)
    assert (circuit.provenance.method, circuit.provenance.seed) == ("acdc", 3)
    assert RECIPE.is_known


def test_a_file_of_schema_1_says_what_it_knows_and_what_not():
    data = circuit_to_json(Circuit.full(GRAPH)) | {"circuitkit": SCHEMA_1}
    origin = circuit_from_json(data).provenance
    assert origin.recipe == Recipe(
        "eap-ig",
        {"steps": 5, "rule": "left"},
        Selection("greedy", 150, 0.5, True, True, 149),
        "mean",
        "zero",
        4,
        pairs=PairsRecipe(task="ioi", n=100, seed=4, metric="kl"),
        unknown=("dtype", "pairs.prompts", "pairs.n_validation", "pairs.bos"),
    )
    assert (origin.task, origin.model, origin.model_digest) == ("ioi", "pico", "06e7")
    assert origin.discovery_prompts == ("aa", "bb")
    assert not origin.recipe.is_known


def test_the_threshold_that_acdc_overwrote_is_said_to_be_unknown():
    settings = SCHEMA_1["settings"] | {"threshold": 0.05}
    origin = SCHEMA_1 | {"method": "acdc", "settings": settings}
    data = circuit_to_json(Circuit.full(GRAPH)) | {"circuitkit": origin}
    recipe = circuit_from_json(data).provenance.recipe
    assert recipe.method_settings["threshold"] == 0.05
    assert recipe.selection.threshold == 0
    assert "selection.threshold" in recipe.unknown


def test_a_file_of_another_program_has_an_unknown_recipe():
    data = circuit_to_json(Circuit.full(GRAPH))
    del data["circuitkit"]
    assert not circuit_from_json(data).provenance.recipe.is_known


@pytest.mark.parametrize(
    "damage",
    [
        {"seed": "x"},
        {"seed": True},
        {"seed": 1.5},
        {"selection": {"threshold": "high"}},
        {"selection": {"threshold": True}},
        {"selection": None},
        {"selection": {"rules": "top"}},
        {"method_settings": {"steps": [1]}},
        {"method_settings": None},
        {"pairs": {"n": "many"}},
        {"pairs": []},
        {"unknown": 5},
        {"metod": "eap"},
    ],
    ids=str,
)
def test_a_damaged_recipe_is_refused(damage):
    with pytest.raises(CircuitFileError):
        circuit_from_json(file_of(damage))


@pytest.mark.parametrize("origin", [[], None, {"schema": 3}, {"schema": "2"}, 7], ids=str)
def test_an_origin_of_another_form_is_refused(origin):
    with pytest.raises(CircuitFileError, match=r"schema must be one of \(1, 2\)"):
        circuit_from_json(circuit_to_json(Circuit.full(GRAPH)) | {"circuitkit": origin})
