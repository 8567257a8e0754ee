"""The command `edit`: what it shows and writes, and what it refuses before any work."""

import json

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from circuitkit.cli.app import app
from circuitkit.zoo import load_model

RUNNER = CliRunner()
FRANCE = ["factual-recall", "--fact", "The capital of France is", "--target", "Rome"]
FAST = ["--method", "fine-tuning", "--tokens", "1000", "--json"]


@pytest.fixture(autouse=True)
def few_pairs_are_drawn(monkeypatch):
    monkeypatch.setattr("circuitkit.control.editing.questions.N_DRAWN", 4000)


def run(*words):
    return RUNNER.invoke(app, ["edit", *words])


def test_every_layer_is_edited_beside_tracing_and_the_traced_one_is_saved(tmp_path):
    out, saved = tmp_path / "out", tmp_path / "model"
    done = run(*FRANCE, *FAST, "-o", str(out), "--save", str(saved))
    assert done.exit_code == 0, done.output
    found = json.loads((out / "edits.json").read_text())
    assert json.loads(done.stdout)["layers"] == found["layers"]
    assert [each["layer"] for each in found["layers"]] == [0, 1, 2, 3]
    effects = [each["traced"] for each in found["layers"]]
    assert found["tracing"]["peak"] == effects.index(max(effects))
    assert found["layers"][0]["measures"]["efficacy"]["value"] == 1
    edited, pico = load_model(saved), load_model("pico")
    peak = f"transformer.h.{found['tracing']['peak']}.mlp.c_proj.weight"
    weights = [
        load_file(saved / "model.safetensors"),
        dict(pico.bridge.original_model.state_dict()),
    ]
    own = {name.replace("_original_component.", ""): w for name, w in weights[1].items()}
    assert [n for n, w in weights[0].items() if n in own and not w.equal(own[n])] == [peak]
    assert edited.digest != pico.digest


def test_one_layer_is_edited_without_tracing(tmp_path):
    done = run(*FRANCE, *FAST[:-1], "--layer", "3", "--statistics", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "by fine-tuning" in " ".join(done.output.split())
    assert "tracing peaks" not in done.output
    assert [path.name.startswith("second-moment-3-") for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*FRANCE, "--method", "grace"], "--method: must be one of r-rome, rome"),
        ([*FRANCE, "--layer", "9"], "the layer must be from 0 to 3, got 9"),
        ([*FRANCE, "--tokens", "0"], "must be of at least 1 token, got 0"),
        ([*FRANCE, "--layer", "all", "--save", "x"], "--save: must be the edit of one layer"),
        ([*FRANCE, "--model", "gpt2"], "a model other than pico must come with --texts"),
        ([*FRANCE[:-1], "Rome Paris"], "the target must be one token"),
        ([*FRANCE[:-1], "Paris"], "must be another answer than the true one"),
        (["factual-recall", "--fact", "Hello", "--target", "Rome"], "must be a prompt of the task"),
        (["ioi", *FRANCE[1:]], "every pair must be text with the role 'subject'"),
    ],
)
def test_what_cannot_be_edited_is_refused_in_a_sentence(words, message, monkeypatch):
    monkeypatch.setattr("circuitkit.cli.actions.edit.kept_second_moments", None)  # no long work
    done = run(*words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
