"""A circuit is found again from its file alone, however it was found."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from circuitkit.circuits.file import load_circuit, save_circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.discovery.methods import METHODS
from circuitkit.errors import CircuitFileError, MethodError
from circuitkit.model.recording import record
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.study.refinding import find_again, finder
from circuitkit.study.search import discover, find_circuit
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, subject_of
from circuitkit.zoo import load_model
from tests.conftest import random_pairs, save_toy

QUICK = {  # settings other than the defaults, and little work
    "acdc": {"threshold": 0.3},
    "eap-ig": {"steps": 2, "rule": "midpoint"},
    "eap-ig-activations": {"steps": 2},
    "edge-pruning": {"steps": 8, "target_sparsity": 0.5},
    "optimal-ablation": {"steps": 3, "learning_rate": 0.3},
    "exact": {"direction": "denoising"},
}
SELECTIONS = {
    "of a number of edges": {"n_edges": 70},
    "of its own size": {},
    "greedy": {"n_edges": 50, "selection": "greedy"},
    "signed": {"n_edges": 70, "signed": True},
    "above a threshold": {"threshold": "the 60th best"},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = save_toy(tmp_path_factory.mktemp("small"), 1, n_layers=2, n_heads=3)
    return load_model(directory)


@pytest.fixture(scope="module")
def request_of_file(model, tmp_path_factory):
    """Pairs that the model can do, in a file."""
    return request_of_pairs(model, tmp_path_factory, 64)


@pytest.fixture(scope="module")
def request_of_few(model, tmp_path_factory):
    """The same of fewer pairs, for all methods."""
    return request_of_pairs(model, tmp_path_factory, 24)


def request_of_pairs(model, tmp_path_factory, n):
    raw = random_pairs(n, lengths=(7,), seed=3)
    pairs = tokenize_pairs(raw)
    clean = record(model, pairs.clean_batch)[1]
    change = clean - record(model, pairs.corrupted_batch)[1]
    lines = [
        {
            "clean": list(pair.clean),
            "corrupted": list(pair.corrupted),
            "answers": [int(top)],
            "wrong_answers": [int(row.argmin())],
        }
        for pair, top, row in zip(raw, clean.argmax(-1), change, strict=True)
    ]
    path = tmp_path_factory.mktemp("prompts") / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return Request(prompts=path, model=model.name, seed=5)


def settings_for(subject, name, selection):
    settings = Settings(method=name, method_settings=QUICK.get(name, {}), seed=2, memory=10**9)
    if "threshold" in selection:
        scores = discover(subject, settings).by_edge().abs()
        selection = {"threshold": float(scores.sort(descending=True).values[59])}
        if selection["threshold"] <= 0:
            return None
    return replace(settings, **selection)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_and_selection_is_found_again_from_the_file_alone(
    name, model, request_of_few, tmp_path
):
    """Others may sit in the settings of whoever looks: they must not matter."""
    subject, done = subject_of(request_of_few, model), 0
    others = Settings(method="eap", seed=9, n_edges=3, threshold=0.1, selection="greedy")
    for number, selection in enumerate(SELECTIONS.values()):
        settings = settings_for(subject, name, selection)
        if settings is None:
            continue
        with suppress(MethodError):  # nothing is connected, or the method settles on nothing
            circuit, _ = find_circuit(subject, settings)
            path = tmp_path / f"{number}.json"
            save_circuit(circuit, path)
            again = find_again(load_circuit(path), loaded=model, settings=others)
            assert again.edges == circuit.edges, selection
            assert torch.equal(again.scores.values, circuit.scores.values)
            done += 1
    assert done >= 3


def test_thresholds_of_a_method_and_of_a_selection_stand_apart(model, request_of_file, tmp_path):
    subject = subject_of(request_of_file, model)
    settings = Settings(method="acdc", method_settings={"threshold": 0.02}, threshold=0.15)
    circuit, _ = find_circuit(subject, settings)
    save_circuit(circuit, tmp_path / "circuit.json")
    recipe = load_circuit(tmp_path / "circuit.json").provenance.recipe
    assert recipe == circuit.provenance.recipe
    assert recipe.method_settings["threshold"] == 0.02
    assert recipe.selection.threshold == 0.15
    find, _ = finder(subject, circuit, Settings())
    assert find(subject.splits.discovery, 0).edges == circuit.edges
    own, _ = find_circuit(subject, replace(settings, threshold=0.0))
    assert own.n_edges > circuit.n_edges


def test_a_minimal_circuit_is_found_again(model, request_of_file):
    subject = subject_of(request_of_file, model)
    settings = Settings(method="exact", n_edges=40, minimal=True, ablation="resample")
    circuit, _ = find_circuit(subject, settings)
    assert find_again(circuit, loaded=model).edges == circuit.edges
    plain, _ = find_circuit(subject, replace(settings, minimal=False))
    assert circuit.n_edges < plain.n_edges


def test_a_whole_prompt_file_is_found_again_as_a_whole(model, request_of_file):
    subject = subject_of(replace(request_of_file, discovery_only=True), model)
    assert len(subject.splits.discovery) == 64
    circuit, _ = find_circuit(subject, Settings(n_edges=20, scoring_ablation="mean"))
    assert circuit.provenance.recipe.pairs.whole_file
    assert find_again(circuit, loaded=model).edges == circuit.edges


def test_a_task_is_drawn_again_with_the_reference_pairs_that_scored(tmp_path):
    model = load_model("pico")
    request = Request("ioi", n=16, seed=3, n_validation=24)
    settings = Settings(n_edges=60, scoring_ablation="mean", seed=7)
    circuit, _ = find_circuit(subject_of(request, model), settings)
    save_circuit(circuit, tmp_path / "circuit.json")
    loaded = load_circuit(tmp_path / "circuit.json")
    pairs = loaded.provenance.recipe.pairs
    assert (pairs.task, pairs.n, pairs.n_validation, pairs.seed) == ("ioi", 16, 24, 3)
    again = find_again(loaded, loaded=model)
    assert torch.equal(again.scores.values, circuit.scores.values)
    assert again.edges == circuit.edges


def test_other_pairs_than_those_of_the_recipe_are_refused(model, request_of_file, tmp_path):
    circuit, _ = find_circuit(subject_of(request_of_file, model), Settings(n_edges=20))
    moved = replace(circuit.provenance.recipe.pairs, seed=6)
    recipe = replace(circuit.provenance.recipe, pairs=moved)
    changed = replace(circuit, provenance=replace(circuit.provenance, recipe=recipe))
    with pytest.raises(CircuitFileError, match="must be found again on the pairs of its recipe"):
        find_again(changed, loaded=model)


def test_a_recipe_that_leaves_something_out_is_refused(model, request_of_file):
    circuit, _ = find_circuit(subject_of(request_of_file, model), Settings(n_edges=20))
    recipe = replace(circuit.provenance.recipe, unknown=("selection.threshold",))
    known = replace(circuit, provenance=replace(circuit.provenance, recipe=recipe))
    with pytest.raises(CircuitFileError, match=r"got none of selection\.threshold"):
        find_again(known, loaded=model)
    subject = subject_of(request_of_file, model)
    assert finder(subject, known, Settings()) == (
        None,
        "its file does not say the threshold of its selection",
    )


def test_finding_again_runs_no_file_that_the_circuit_names(model, request_of_file, tmp_path):
    trap = tmp_path / "evil.py"
    trap.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    circuit, _ = find_circuit(subject_of(request_of_file, model), Settings(n_edges=20))
    pairs = replace(circuit.provenance.recipe.pairs, task=f"{trap}:E", prompts="")
    recipe = replace(circuit.provenance.recipe, pairs=pairs)
    named = replace(circuit, provenance=replace(circuit.provenance, recipe=recipe))
    with pytest.raises(CircuitFileError, match="naming a file must not run it"):
        find_again(named, loaded=model)
    assert not (tmp_path / "ran").exists()


def test_the_best_edges_are_the_same_whatever_the_settings_of_the_looker(model, request_of_file):
    """A ranking by signed score is part of the recipe, also where the method ranks so itself."""
    subject = subject_of(request_of_file, model)
    circuit, scores = find_circuit(subject, Settings(method="acdc", n_edges=9))
    assert isinstance(scores, EdgeScores)
    assert circuit.provenance.recipe.selection.signed == Settings(method="acdc").ranks_signed
