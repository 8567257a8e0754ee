"""--plan and `models --model`: what it would take, before anything long starts."""

import json

import pytest
from typer.testing import CliRunner

from circuitkit.cli.actions import costs
from circuitkit.cli.app import app
from circuitkit.cli.values import run_name
from circuitkit.study import cost

RUNNER = CliRunner()
LONG = (
    ["run", "ioi"],
    ["run", "ioi", "--method", "acdc"],
    ["discover", "ioi", "--edges", "20"],
    ["crossfit", "ioi", "--edges", "20"],
    ["patch", "ioi"],
    ["path", "ioi"],
    ["validate", "circuits/ioi.json"],
    ["interpret", "circuits/ioi.json"],
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(cost, "_seconds", lambda *_: 3.0)


def call(*words):
    return RUNNER.invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("words", LONG, ids=lambda words: " ".join(words[:1]))
def test_a_plan_says_what_it_takes_and_does_nothing(words, tmp_path, monkeypatch, request):
    words = [str(request.config.rootpath / w) if w.endswith(".json") else w for w in words]
    monkeypatch.chdir(tmp_path)
    done = call(*words, "--n", 12, "--plan", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["model"] == "pico"
    assert {"eap", "exact", "acdc"} <= told["seconds"].keys()
    assert told["n_pairs"] >= 12
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_a_run_says_what_would_be_chosen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("run", "ioi", "--n", 12, "--plan")
    assert "Edges are scored by" in done.output
    assert "eap on 12 pairs" in done.output


def test_a_model_is_told_without_a_task():
    done = call("models", "--model", "pico", "--tokens", 11, "--n", 7, "--json")
    told = json.loads(done.stdout)
    assert (told["n_tokens"], told["n_pairs"], told["n_edges"]) == (11, 7, 479)
    assert told["n_parameters"] == 1_021_440
    text = call("models", "--model", "pico", "--dtype", "float64").output
    assert "1,021,440" in text
    assert "MB in float64 on cpu" in text


BAD = {
    "a part without a model": (["models", "--revision", "x"], "--revision: must be given with"),
    "a task too": (["models", "--model", "pico", "--task", "ioi"], "--task: must be given without"),
    "no tokens": (["models", "--model", "pico", "--tokens", "0"], "must be at least 1, got 0"),
    "too many tokens": (["models", "--model", "pico", "--tokens", "99"], "at most 64 tokens"),
    "a revision of what ships": (["run", "ioi", "--revision", "x"], "a revision must be of"),
    "no adapter": (["discover", "ioi", "--adapter", "nowhere"], "must be a directory with adapter"),
    "no reading": (["run", "ioi", "--model", "w.pt"], "must come with a reading"),
    "parts of no model": (["validate", "{circuit}", "--adapter", "x"], "--adapter: must be given"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_used_is_one_sentence(kind, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    words, message = BAD[kind]
    circuit = request.config.rootpath / "circuits" / "ioi.json"
    done = call(*(word.format(circuit=circuit) for word in words))
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())


def test_a_run_is_named_after_all_that_says_which_weights(tmp_path):
    model = "org/toy?revision=step5&adapter=/x/lora"
    assert run_name("ioi", None, model, "eap") == "ioi--toy-revision-step5-lora--eap"


def test_small_sizes_and_times_are_said_in_their_own_unit():
    assert [costs._size(n) for n in (4_085_760, 2_500_000_000)] == ["4.09 MB", "2.5 GB"]
    assert [costs._duration(s) for s in (0.2, 37)] == ["under 1 s", "about 37 s"]
