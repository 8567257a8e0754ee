"""A project with a toy model, prompts whose answer is the toy's own, and circuits of it."""

import json
import shutil
from pathlib import Path

import pytest

from circuitkit.circuits.file import load_circuit, save_circuit
from circuitkit.contracts.parsing import read_contracts
from circuitkit.model.recording import record
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.study.recipe import with_provenance
from circuitkit.study.search import best_edges, connected, discover
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, subject_of
from circuitkit.zoo import load_model
from tests.conftest import random_pairs, save_toy

SIZE = 150
BASE = 'circuit = "circuits/toy.json"\nmodel = "toy"\nprompts = "pairs.jsonl"\n'


@pytest.fixture(scope="session")
def prepared(toy_directory, tmp_path_factory) -> Path:
    """The project, made once."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(toy_directory, root / "toy")
    save_toy(root / "other", seed=1)
    (root / "pairs.jsonl").write_text(prompt_lines(root / "toy"))
    request = Request(prompts=root / "pairs.jsonl", model=str(root / "toy"))
    settings = Settings(ablation="resample", n_edges=SIZE)
    subject = subject_of(request)
    scores = discover(subject, settings)
    circuit = connected(best_edges(scores, SIZE, settings))
    save_circuit(
        with_provenance(circuit, subject, settings, n_selected=SIZE), root / "circuits/toy.json"
    )
    small = connected(best_edges(scores, 40, settings))
    save_circuit(
        with_provenance(small, subject, settings, n_selected=40), root / "circuits/small.json"
    )
    return root


def prompt_lines(model: Path) -> str:
    """Return thirty pairs that find circuits and forty that judge them."""
    loaded = load_model(model)
    raw = random_pairs(70, lengths=(7,), seed=0)
    pairs = tokenize_pairs(raw)
    clean = record(loaded, pairs.clean_batch)[1]
    change = clean - record(loaded, pairs.corrupted_batch)[1]
    rows = zip(raw, clean.argmax(-1).tolist(), change.argmin(-1).tolist(), strict=True)
    return "\n".join(
        json.dumps(
            {
                "clean": pair.clean,
                "corrupted": pair.corrupted,
                "answers": [top],
                "wrong_answers": [wrong],
                "split": "discovery" if i < 30 else "validation",
            }
        )
        for i, (pair, top, wrong) in enumerate(rows)
    )


@pytest.fixture
def project(prepared, tmp_path) -> Path:
    """A copy of the project that a test may change."""
    root = tmp_path / "project"
    shutil.copytree(prepared, root)
    return root


def write(root: Path, *contracts: str) -> Path:
    """Write contracts into the project's pyproject.toml, and return its path."""
    path = root / "pyproject.toml"
    path.write_text("".join(f"[[tool.circuitkit.contract]]\n{text}\n" for text in contracts))
    return path


def contract_of(root: Path, text: str):
    """Return the one contract of a text."""
    [contract] = read_contracts(write(root, BASE + text))
    return contract


def edit_recipe(path: Path, **changes) -> None:
    """Change what a circuit file says of how it was found."""
    recipe = json.loads(path.read_text())["circuitkit"]["recipe"]
    edit_origin(path, recipe=recipe | changes)


def edit_origin(path: Path, **changes) -> None:
    """Change what a circuit file says of its origin."""
    data = json.loads(path.read_text())
    data["circuitkit"].update(changes)
    path.write_text(json.dumps(data))
    load_circuit(path)
