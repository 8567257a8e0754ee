"""Attempts to have `check` exit 0 although the claim is false, or nothing was judged."""

import json
import shutil
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from circuitkit.cli.app import app
from tests.conftest import save_toy
from tests.contracts.conftest import BASE, write

FALSE = "faithfulness = { min = 3 }"  # the circuit does not reach that
TASK = 'circuit = "circuits/toy.json"\nmodel = "toy"\ntask = "odd.py:Odd"\n'
CODE = """
import sys
import torch
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.task import Task


class OddMetric(LogitDifference):
    def values(self, logits, labels):
        {values}


class Odd(Task):
    name = "odd"
    metric = OddMetric()
    {variable}

    def pairs(self, rng):
        {before}
        while True:
            ids = [rng.randrange(37) for _ in range(7)]
            yield PromptPair(ids, [ids[0], (ids[1] + 1) % 37, *ids[2:]], [3], [4])
"""

ATTEMPTS: dict[str, Callable] = {}


def attempt(name, *words):
    """Keep a function that edits the project, and what is typed beside."""

    def keep(edit):
        ATTEMPTS[name] = lambda root: (edit(root), words)[1]
        return edit

    return keep


def contracts(name, *texts, words=()):
    ATTEMPTS[name] = lambda root: (write(root, *texts), words)[1]


def raw(name, content):
    def edit(root):
        data = content if isinstance(content, bytes) else content.encode()
        (root / "pyproject.toml").write_bytes(data)
        return ()

    ATTEMPTS[name] = edit


# what the contracts say

raw("an empty file", "")
raw("a file that is no text", b"\xff\xfe\x00")
raw("a file cut off", "[[tool.circuitkit.contract]]\ncircuit = ")
raw("contracts under another name", f"[[tool.circuitkit.contracts]]\n{BASE}{FALSE}")
raw("one table instead of many", f"[tool.circuitkit.contract]\n{BASE}{FALSE}")
raw("no contract in the list", "[tool.circuitkit]\ncontract = []")
raw("a tool that is a text", '[tool]\ncircuitkit = "x"')
raw("contracts that are numbers", "[tool.circuitkit]\ncontract = [1]")
raw("a deep nesting", "a = " + "[" * 5000)
contracts("no requirement", BASE)
contracts("a requirement spelt wrong", BASE + "faithfullness = { min = 3 }")
contracts("a requirement without a bound", BASE + "faithfulness = {}")
contracts("a bound that is no number", BASE + "faithfulness = { min = nan }")
contracts("a bound below all numbers", BASE + "faithfulness = { min = -inf }")
contracts("a bound above all numbers", BASE + "faithfulness = { max = inf }")
contracts("a bound that is text", BASE + 'faithfulness = { min = "0" }')
contracts("a bound that is true", BASE + "faithfulness = { min = true }")
contracts("bounds the wrong way round", BASE + "faithfulness = { min = 3, max = -3 }")
contracts("an alpha that accepts all", BASE + "independence = { min = 0.1, alpha = 2 }")
contracts("no pairs", BASE + FALSE + "\nn = 0")
contracts("fewer than no pairs", BASE + FALSE + "\nn = -5")
contracts("a seed below 0", BASE + FALSE + "\nseed = -1")
contracts("an ablation that there is not", BASE + FALSE + '\nablation = "none"')
contracts("two of one name", BASE + FALSE, BASE + "max_edges = 999")
contracts("a key twice", BASE + FALSE + "\nfaithfulness = { min = -9 }")
contracts("a circuit that is gone", BASE.replace("toy.json", "gone.json") + FALSE)
contracts("a circuit that is a directory", BASE.replace("circuits/toy.json", "circuits") + FALSE)
contracts("no circuit", 'model = "toy"\n' + FALSE)
contracts("two sources of pairs", BASE + FALSE + '\ntask = "ioi"')
contracts("drift that asks nothing", BASE + 'drift = { baseline = "x", min_jaccard = 0 }')
contracts("drift from nothing", BASE + 'drift = { baseline = "x.json", min_jaccard = 0.1 }')
contracts("a model that is gone", BASE.replace('"toy"', '"gone"') + FALSE)
contracts("a filter that leaves nothing", BASE + FALSE, words=("-k", "nothing"))
contracts("a report that cannot be written", BASE + FALSE, words=("--junit", "/proc/x/j.xml"))
contracts("another file of contracts", BASE + FALSE, words=("--config", "/dev/null"))


# what the circuit file says


def circuit(name, requirement=FALSE):
    def keep(change):
        def edit(root):
            path = root / "circuits/toy.json"
            changed = change(json.loads(path.read_text()))
            path.write_text(changed if isinstance(changed, str) else json.dumps(changed))
            write(root, BASE + requirement)
            return ()

        ATTEMPTS[name] = edit
        return change

    return keep


@circuit("a circuit without edges", "ability = { min = 0 }\nfaithfulness = { min = 0.5 }")
def no_edges(data):
    edges = {name: edge | {"in_graph": False} for name, edge in data["edges"].items()}
    return data | {"edges": edges}


@circuit("a circuit that leaves edges out", "max_edges = 9999")
def fewer_edges(data):
    return data | {"edges": dict(list(data["edges"].items())[:50])}


@circuit("a circuit with an edge of its own", "max_edges = 9999")
def other_edge(data):
    data["edges"]["a9.h9->logits"] = {"score": 1, "in_graph": True}
    return data


@circuit("scores that are no numbers", "max_edges = 9999")
def no_scores(data):
    next(iter(data["edges"].values()))["score"] = float("nan")
    return data


@circuit("an edge that is in the graph 7 times", "max_edges = 9999")
def sevenfold(data):
    next(iter(data["edges"].values()))["in_graph"] = 7
    return data


@circuit("a key of the circuit twice", "max_edges = 9999")
def twice(data):
    return json.dumps(data)[:-1] + ', "edges": {}}'


@circuit("a schema to come", "max_edges = 9999")
def schema(data):
    data["circuitkit"]["schema"] = 99
    return data


@circuit("a circuit that was cut off", "max_edges = 9999")
def cut_off(data):
    return json.dumps(data)[:-50]


@circuit("a circuit of another architecture")
def architecture(data):
    return data | {"cfg": data["cfg"] | {"n_layers": 1}}


@circuit("a verdict that the file gives itself")
def verdict(data):
    data["circuitkit"]["verdict"] = "supported"
    return data


@circuit("a circuit that says that all its pairs are known")
def known(data):
    data["circuitkit"]["discovery_prompts"] = ["0" * 12]
    return data


# what the prompts are


def prompts(name, requirement="faithfulness = { min = -99 }"):
    def keep(change):
        def edit(root):
            path = root / "pairs.jsonl"
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            path.write_text("\n".join(map(json.dumps, change(lines))))
            write(root, BASE + requirement)
            return ()

        ATTEMPTS[name] = edit
        return change

    return keep


def each(**parts):
    return lambda lines: [line | parts for line in lines]


prompts("no prompts")(lambda lines: [])
prompts("prompts that found the circuit")(lambda lines: each(split="validation")(lines[:30]))
prompts("no prompts to judge by")(each(split="discovery"))
prompts("a split that there is not")(each(split="test"))
prompts("answers that are wrong answers")(each(answers=[3], wrong_answers=[3]))
prompts("answers out of the vocabulary")(each(answers=[9999]))
prompts("an answer below 0 beside a good one")(each(answers=[3, -1]))
prompts("no answers")(each(answers=[]))
prompts("prompts out of the vocabulary")(each(clean=[9999] * 7))
prompts("prompts that are equal", FALSE)(
    lambda lines: [line | {"corrupted": line["clean"]} for line in lines]
)
prompts("keys that are not known")(each(weight=0))
prompts("two pairs to judge by")(lambda lines: lines[:32])


# what the model is


def model(name):
    def keep(change):
        def edit(root):
            change(root / "toy")
            write(root, BASE + "faithfulness = { min = -99 }")
            return ()

        ATTEMPTS[name] = edit
        return change

    return keep


@model("a model without weights")
def no_weights(folder):
    (folder / "model.safetensors").unlink()


@model("weights that were cut off")
def half_weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:3000])


@model("weights that are no numbers")
def nan_weights(folder):
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.0.mlp.c_fc.weight"] *= torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@model("a configuration of half the model")
def half_config(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 2}))


@model("a model of another size")
def other_size(folder):
    shutil.rmtree(folder)
    save_toy(folder, n_layers=2)


# what a task does


def task(name, *, values="return super().values(logits, labels)", variable="", before=""):
    def edit(root):
        text = CODE.format(values=values, variable=variable, before=before)
        (root / "odd.py").write_text(text)
        write(root, TASK + "n = 20\nfaithfulness = { min = -99 }")
        return ()

    ATTEMPTS[name] = edit


task("a task that exits", before="sys.exit(0)")
task("a task that interrupts", before="raise KeyboardInterrupt")
task("a task that exits as it is made", variable="def __init__(self): sys.exit(0)")
task("a metric that exits", values="sys.exit(0)")
task("a metric that is no number", values="return logits[:, 0] * torch.nan")
task("a metric that is infinite", values="return logits[:, 0] + torch.inf")
task("a metric that is always the same", values="return logits[:, 0] * 0 + 1")
task("a metric of no tensor", values="return 'fine'")
task("a metric of one number", values="return logits.sum()")
task("a metric of too many numbers", values="return logits")
task("a task without pairs", before="return")
task("a task of text", before="yield 'clean'")
task("a task of one pair", before="while True: yield PromptPair([1, 2], [1, 3], [3], [4])")
task("a metric that is a class", variable="metric = OddMetric")
task("wordings that are a number", variable="held_out = 5")


@pytest.mark.parametrize("name", ATTEMPTS)
def test_check_never_exits_0_for(project, name, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    words = ATTEMPTS[name](project)
    given = ["--config", str(project / "pyproject.toml"), *map(str, words)]
    done = CliRunner().invoke(app, ["check", *given, "-q"])
    assert done.exit_code in (1, 2, 3), done.output
    assert isinstance(done.exception, SystemExit), done.exception
    said = " ".join(done.output.split())
    assert "Traceback" not in said
    assert "bug in circuitkit" not in said


def test_a_job_summary_that_cannot_be_written_is_no_pass(project, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project))
    write(project, BASE + "max_edges = 999")
    done = CliRunner().invoke(app, ["check", "--config", str(project / "pyproject.toml"), "-q"])
    assert done.exit_code == 2


def test_there_are_many_attempts_and_a_good_contract_passes(project):
    assert len(ATTEMPTS) >= 40
    write(project, BASE + "faithfulness = { min = -99 }\nmax_edges = 999")
    done = CliRunner().invoke(app, ["check", "--config", str(project / "pyproject.toml"), "-q"])
    assert done.exit_code == 0, done.output
