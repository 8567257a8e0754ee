"""No file that is passed between people makes Python run, unless its reader says so."""

import json
import os
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import tomli_w
import torch
from typer.testing import CliRunner

from circuitkit.circuits.file import load_circuit
from circuitkit.circuits.recipe import recipe_to_json
from circuitkit.cli.app import app
from circuitkit.errors import CircuitFileError, CriterionError, ModelError
from circuitkit.study.records import load_run
from circuitkit.study.refinding import find_again
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from tests.conftest import save_toy

TASK = """
from pathlib import Path
from circuitkit.prompts.pairs import PromptPair
from circuitkit.task import Task

with Path(__file__).with_name("runs").open("a") as file:
    file.write("run\\n")


class Mine(Task):
    "Ids of a toy."

    name = "mine"

    def pairs(self, rng):
        while True:
            ids = [rng.randrange(37) for _ in range(7)]
            yield PromptPair(ids, [ids[0], (ids[1] + 1) % 37, *ids[2:]], [3], [4])
"""


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def times_run(root):
    """Return how often the task's file was run since this was asked last."""
    record = root / "runs"
    found = len(record.read_text().split()) if record.exists() else 0
    record.unlink(missing_ok=True)
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A model, a task in a file, and a run and a circuit of that task."""
    root = tmp_path_factory.mktemp("own task")
    save_toy(root / "toy")
    (root / "mine.py").write_text(TASK)
    common = ("--model", root / "toy", "--n", "20", "--edges", "150", "--anyway", "-q")
    done = call("discover", f"{root}/mine.py:Mine", *common, "-o", root / "c.json")
    assert done.exit_code == 0, done.output
    (root / "run.toml").write_text(run_of(load_circuit(root / "c.json")))
    return root


def run_of(circuit):
    """Return the run.toml of a run that found the circuit."""
    words = ("task", "description", "model", "model_digest", "method", "ablation", "metric", "unit")
    counts = ("discovery", "validation", "reference", "dropped", "edges_selected")
    numbers = ("seed", *(f"n_{count}" for count in counts))
    recipe = recipe_to_json(circuit.provenance.recipe)
    info = dict.fromkeys((*words, "command"), "x") | dict.fromkeys(numbers, 1) | {"versions": {}}
    return tomli_w.dumps(info | {"model": circuit.provenance.model, "recipe": recipe})


@pytest.fixture
def own(found, monkeypatch):
    """The same, with the task's file as it was."""
    monkeypatch.chdir(found)
    (found / "mine.py").write_text(TASK)
    times_run(found)
    return found


READERS = [
    ("validate", "c.json", "--criteria", "edges", "--n", "20"),
    ("interpret", "c.json", "--n", "20", "-o", "told"),
    ("diff", "c.json", "c.json", "--n", "20", "-o", "d.svg"),
    ("compare", "c.json", "c.json", "--n", "20", "-o", "d.svg"),
    ("run", "run.toml", "-o", "again"),
]


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
def test_a_task_file_that_a_file_names_is_not_run(own, words):
    done = call(*words, "-q")
    assert done.exit_code == 2, done.output
    said = " ".join(done.output.split())
    assert "naming a file must not run it" in said
    assert "--allow-task-code, which runs it only if it is still" in said
    assert "Modules that it imports are run unseen" in said
    assert times_run(own) == 0


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
def test_a_task_file_that_was_changed_is_not_run_though_allowed(own, words):
    (own / "mine.py").write_text(TASK + "\n# changed\n")
    done = call(*words, "-q", "--allow-task-code")
    assert done.exit_code != 0
    assert "must be found here" in done.output or "of SHA-256" in done.output
    assert times_run(own) == 0


@pytest.mark.parametrize("words", [READERS[0], READERS[2], READERS[4]], ids=lambda words: words[0])
def test_the_file_that_was_recorded_is_run_where_that_is_allowed(own, words, monkeypatch):
    def studied(*_, **__):
        raise CriterionError("what follows takes long")

    monkeypatch.setattr("circuitkit.cli.actions.run.study", studied)
    done = call(*words, "-q", "--allow-task-code")
    assert "Error" not in done.output.replace("CriterionError: what follows", "")
    assert times_run(own) >= 1


def test_a_circuit_without_a_digest_of_its_task_file_cannot_have_it_run(own, tmp_path):
    data = json.loads((own / "c.json").read_text())
    assert len(data["circuitkit"]["recipe"]["pairs"].pop("task_digest")) == 64
    (tmp_path / "c.json").write_text(json.dumps(data))
    done = call("validate", tmp_path / "c.json", "-q", "--allow-task-code")
    assert done.exit_code == 2
    assert "No digest of it was recorded" in " ".join(done.output.split())
    assert times_run(own) == 0


def test_a_file_of_schema_1_cannot_have_its_task_run(own, tmp_path):
    data = json.loads((own / "c.json").read_text())
    data["circuitkit"] |= {"schema": 1, "task": f"{own}/mine.py:Mine"}
    del data["circuitkit"]["recipe"]
    (tmp_path / "c.json").write_text(json.dumps(data))
    done = call("validate", tmp_path / "c.json", "-q", "--allow-task-code")
    assert done.exit_code == 2
    assert times_run(own) == 0


def test_a_task_that_is_typed_is_run_whatever_was_recorded(own):
    (own / "mine.py").write_text(TASK + "\n# changed\n")
    call("validate", "c.json", "--task", "mine.py:Mine", "--criteria", "edges", "-q")
    assert times_run(own) == 1


def test_the_library_asks_for_the_same_permission(own):
    circuit, model = load_circuit("c.json"), load_model("toy")
    with pytest.raises(CircuitFileError, match="naming a file must not run it"):
        find_again(circuit, loaded=model)
    assert times_run(own) == 0
    assert find_again(circuit, loaded=model, allow_task_code=True).edges == circuit.edges
    assert times_run(own) == 1


def test_a_recipe_says_which_file_its_task_was(own):
    recipe = load_run(own / "run.toml").recipe
    assert recipe.pairs.task_digest == sha256((own / "mine.py").read_bytes()).hexdigest()


def test_the_task_that_is_run_is_the_bytes_that_were_digested(own, monkeypatch):
    """A file that changes between the two is not run as it has become."""
    digest = load_circuit("c.json").provenance.recipe.pairs.task_digest
    read = Path.read_bytes

    def changing(path):
        data = read(path)
        if path.name == "mine.py":
            path.write_text("raise SystemError")
        return data

    monkeypatch.setattr(Path, "read_bytes", changing)
    assert find_task("mine.py:Mine", digest=digest).source_digest == digest


def test_a_contract_runs_the_file_that_it_names_and_none_that_its_circuit_names(own):
    table = {"circuit": "c.json", "model": "toy", "n": 20, "edges": {"max": 999}}
    for more, code, runs in (({}, 3, 0), ({"task": "mine.py:Mine"}, 0, 1)):
        contracts = {"tool": {"circuitkit": {"contract": [table | more]}}}
        Path("pyproject.toml").write_text(tomli_w.dumps(contracts))
        done = call("check", "-q")
        assert done.exit_code == code, done.output
        assert times_run(own) == runs


# models

EVIL = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast


class OwnConfig(GPT2Config):
    model_type = "own-kind"


class OwnModel(GPT2LMHeadModel):
    config_class = OwnConfig


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
AUTO = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A model whose configuration, architecture and tokenizer are Python of its own."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "m"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    directory = save_toy(tmp_path / "model")
    (directory / "own.py").write_text(EVIL.format(mark=str(tmp_path / "ran")))
    config = json.loads((directory / "config.json").read_text())
    config |= {"auto_map": AUTO, "model_type": "own-kind"}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_the_python_of_a_model_is_not_run_and_nothing_is_asked(own_code, capsys, monkeypatch):
    def asked(*_):
        raise AssertionError("a question")

    monkeypatch.setattr("builtins.input", asked)
    with pytest.raises(ModelError, match="--trust-remote-code"):
        load_model(own_code)
    assert not (own_code.parent / "ran").exists()
    assert capsys.readouterr().out == ""


def test_a_prompt_answers_no_question_of_the_loaders(own_code):
    words = ["discover", "ioi", "--model", str(own_code), "--json", "-q"]
    done = CliRunner().invoke(app, words, input="y\ny\n")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"] == "ModelError"
    assert not (own_code.parent / "ran").exists()


def test_the_python_of_a_tokenizer_is_not_run(own_code):
    config = json.loads((own_code / "config.json").read_text())
    del config["auto_map"]
    (own_code / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    auto = {"AutoTokenizer": ["own.OwnTokenizer", "own.OwnTokenizer"]}
    text = json.dumps({"tokenizer_class": "OwnTokenizer", "auto_map": auto})
    (own_code / "tokenizer_config.json").write_text(text)
    (own_code / "vocab.json").write_text("{}")
    with pytest.raises(ModelError):
        load_model(own_code)
    assert not (own_code.parent / "ran").exists()


def test_the_python_of_a_model_is_run_where_that_is_asked_for(own_code):
    model = load_model(own_code, trust_remote_code=True)
    assert (own_code.parent / "ran").exists()
    assert model.graph.n_layers == 3


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_a_pickle_is_refused_and_not_run(tmp_path):
    directory = save_toy(tmp_path / "model")
    (directory / "model.safetensors").unlink()
    weights = {"transformer.wte.weight": Payload(str(tmp_path / "ran"))}
    torch.save(weights, directory / "pytorch_model.bin")
    with pytest.raises(ModelError):
        load_model(directory)
    assert not (tmp_path / "ran").exists()
