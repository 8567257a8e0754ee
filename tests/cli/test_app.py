"""The command line, in process, on a toy whose prompts come from a file."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from circuitkit.circuits.file import load_circuit
from circuitkit.cli.app import app
from circuitkit.cli.values import parse_bytes, run_name
from circuitkit.model.recording import record
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.study import subject as subject_module
from circuitkit.study.records import load_record
from circuitkit.validation.criteria import CRITERIA
from circuitkit.work.interrupts import Interrupted
from circuitkit.zoo import load_model
from tests.conftest import random_pairs, save_toy

RUNNER = CliRunner()


def call(*words):
    return RUNNER.invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def prompt_file(toy_directory, tmp_path_factory):
    """Forty pairs whose answer is the toy's own."""
    return write_pairs(toy_directory, tmp_path_factory, seed=0)


@pytest.fixture(scope="module")
def other_prompts(toy_directory, tmp_path_factory):
    """Forty other such pairs."""
    return write_pairs(toy_directory, tmp_path_factory, seed=1)


def write_pairs(toy_directory, tmp_path_factory, *, seed, n=40):
    model = load_model(toy_directory)
    raw = random_pairs(n, lengths=(7,), seed=seed)
    pairs = tokenize_pairs(raw)
    clean = record(model, pairs.clean_batch)[1]
    change = clean - record(model, pairs.corrupted_batch)[1]
    path = tmp_path_factory.mktemp("prompts") / "pairs.jsonl"
    lines = [
        {
            "clean": pair.clean,
            "corrupted": pair.corrupted,
            "answers": [int(top)],
            "wrong_answers": [int(row.argmin())],
            "roles": {"A": [1, 2]},
        }
        for pair, top, row in zip(raw, clean.argmax(-1), change, strict=True)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.fixture
def common(toy_directory, prompt_file):
    return ["--model", toy_directory, "--prompts", prompt_file, "-q"]


@pytest.fixture(scope="module")
def ran(toy_directory, prompt_file, tmp_path_factory):
    """The directory of a whole run, and what was said."""
    out = tmp_path_factory.mktemp("ran") / "out"
    common = ["--model", toy_directory, "--prompts", prompt_file, "-q"]
    done = call("run", *common, "--ablation", "resample", "-o", out)
    assert done.exit_code == 0, done.output
    return out, done.output


def test_run_writes_a_whole_directory(ran, tmp_path):
    out, output = ran
    names = {path.name for path in out.iterdir()}
    assert names >= {
        "circuit.json", "scores.parquet", "validation.json", "patching.json", "run.toml",
        "circuit.dot", "circuit.svg", "report.html", "report.md",
    }  # fmt: skip
    found = load_record(out)
    assert found.validation.verdict.sentence in " ".join(output.split())
    assert found.circuit.provenance.verdict == found.validation.verdict.outcome
    assert found.info.n_edges_selected >= found.circuit.n_edges
    assert found.info.n_discovery == found.info.n_validation == 20
    assert {heat.name for heat in found.heat_maps} == {"resid", "attn", "mlp", "heads"}
    assert tomllib.loads((out / "run.toml").read_text())["metric"] == "logit-difference"
    shutil.copytree(out, tmp_path / "copy")
    again = call("report", tmp_path / "copy", "--format", "html,pdf")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "copy" / "circuit.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_command_gives_the_same_files(ran, common, tmp_path):
    done = call("run", *common, "--ablation", "resample", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    for file in ("circuit.json", "validation.json", "patching.json", "circuit.dot"):
        assert (ran[0] / file).read_bytes() == (tmp_path / file).read_bytes()


def test_discover_then_validate(common, tmp_path, toy_directory, other_prompts):
    path = tmp_path / "circuit.json"
    done = call("discover", *common, "--edges", 60, "-o", path, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    circuit = load_circuit(path)
    assert facts["edges"] == circuit.n_edges <= facts["edges_selected"] == 60
    assert circuit.provenance.recipe.pairs.n == 40

    words = ["validate", path, "--model", toy_directory, "--prompts", other_prompts]
    words += ["--ablation", "resample", "--json", "-q"]
    lenient = call(*words, "--min-faithfulness", -5, "--max-edge-share", 1)
    found = json.loads(lenient.stdout)
    names = [check["criterion"] for check in found["verdict"]["checks"]]
    assert names == list(CRITERIA)
    assert found["ablation"] == "resample"
    strict = call(*words, "--max-edge-share", 0.01)
    assert json.loads(strict.stdout)["verdict"]["outcome"] == "refuted"
    assert strict.exit_code == 1


def test_a_run_directory_stands_for_its_circuit_file(ran, tmp_path):
    words = ("--criteria", "edge-share", "--ablation", "resample", "--json", "-q")
    judged = [call("validate", path, *words) for path in (ran[0], ran[0] / "circuit.json")]
    assert judged[0].exit_code in (0, 1), judged[0].output
    verdicts = [json.loads(done.stdout)["verdict"] for done in judged]
    assert verdicts[0] == verdicts[1]
    words = ("--no-run", "-o", tmp_path / "diff.svg", "--json")
    done = call("diff", ran[0], ran[0] / "circuit.json", *words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "diff.svg").exists()


def test_validate_refuses_the_prompts_that_found_the_circuit(common, tmp_path):
    path = tmp_path / "circuit.json"
    call("discover", *common, "--edges", 60, "-o", path)
    done = call("validate", path, *common, "--ablation", "resample")
    assert done.exit_code == 2
    assert "20 of 20 that share a prompt" in " ".join(done.output.split())


def test_validate_refuses_a_circuit_of_other_weights(
    common, tmp_path, toy_directory, other_prompts
):
    path = tmp_path / "circuit.json"
    call("discover", *common, "--edges", 60, "-o", path)
    data = json.loads(path.read_text())
    data["circuitkit"]["model_digest"] = "0" * 16
    path.write_text(json.dumps(data))
    words = ["validate", path, "--model", toy_directory, "--prompts", other_prompts]
    words += ["--ablation", "resample", "--criteria", "faithfulness,edge-share", "-q"]
    done = call(*words)
    assert done.exit_code == 2
    assert "must be of the model at hand" in " ".join(done.output.split())
    anyway = call(*words, "--anyway")
    assert anyway.exit_code in (0, 1, 2)
    assert "Is the circuit enough?" in anyway.output


def test_patch_shows_effects_and_draws_them(common, tmp_path):
    done = call("patch", *common, "--at", "mlp", "--by", "position", "-o", tmp_path / "map.svg")
    assert done.exit_code == 0, done.output
    assert "m2" in done.output
    assert (tmp_path / "map.svg").read_text().startswith("<?xml")
    data = json.loads(call("patch", *common, "--at", "heads", "--json").stdout)
    assert data["columns"] == ["A", "END", "rest"]
    assert len(data["rows"]) == 12


def test_tasks_and_models_are_listed():
    rows = json.loads(call("tasks", "--json").stdout)
    assert {"ioi", "induction", "factual-recall"} <= {row["task"] for row in rows}
    models = [row["model"] for row in json.loads(call("models", "--json").stdout)]
    assert models[0] == "pico"
    assert {"planted-induction", "planted-ioi"} < set(models)
    assert "ioi-abc" in call("tasks").output


def test_a_model_that_cannot_do_the_task_is_reported_before_any_circuit(toy_directory, tmp_path):
    path = tmp_path / "noise.jsonl"
    lines = [
        {"clean": p.clean, "corrupted": p.corrupted, "answers": p.answers,
         "wrong_answers": p.wrong_answers}
        for p in random_pairs(20)
    ]  # fmt: skip
    path.write_text("\n".join(json.dumps(line) for line in lines))
    out = tmp_path / "out"
    words = ["run", "--model", toy_directory, "--prompts", path, "-o", out, "-q"]
    done = call(*words)
    assert done.exit_code == 2
    assert "BaselineError" in done.output
    assert "must be able to do the task" in " ".join(done.output.split())
    assert not out.exists()  # nothing half-written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "oii"], "task 'oii': must be one of"),
        (["run"], "must be given as TASK or as --prompts, got neither"),
        (["run", "ioi", "--model", "no-such-model"], "model 'no-such-model'"),
        (["run", "ioi", "--metric", "nope"], "metric 'nope': must be one of"),
        (["run", "ioi", "--ablation", "nope"], "--ablation: must be one of"),
        (["run", "ioi", "--memory", "lots"], "--memory: must be a size"),
        (["run", "ioi", "--batch-size", "0"], "--batch-size: must be auto or"),
        (["run", "ioi", "--dtype", "int8"], "dtype 'int8'"),
        (["run", "nowhere.py:X"], "task file 'nowhere.py': must exist"),
        (["run", "--prompts", "nowhere.jsonl"], "prompt file 'nowhere.jsonl'"),
        (["discover", "ioi", "--method", "nope"], "method 'nope': must be one of eap"),
        (["patch", "ioi", "--at", "nope"], "site 'nope': must be one of"),
        (["patch", "ioi", "--by", "nope"], "columns 'nope': must be one of"),
        (["validate", "nowhere.json"], "circuit file 'nowhere.json': must exist"),
        (["report", "nowhere"], "circuit file 'nowhere/circuit.json': must exist"),
    ],
)
def test_bad_input_gets_one_clear_message_and_exit_code_2(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_errors_are_json_if_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("run", "oii", "--json")
    assert json.loads(done.stdout)["error"] == "TaskError"


def test_an_unwritable_output_is_refused_before_the_model_is_loaded(tmp_path, monkeypatch):
    blocker = tmp_path / "file"
    blocker.write_text("")

    def never(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(subject_module, "load_model", never)
    done = call("run", "ioi", "-o", blocker / "out")
    assert done.exit_code == 2
    assert "must be writable" in " ".join(done.output.split())


def test_ctrl_c_leaves_nothing_half_written(common, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise Interrupted

    monkeypatch.setattr("circuitkit.cli.actions.run.study", interrupt)
    done = call("run", *common, "-o", tmp_path / "out")
    assert done.exit_code == 130
    assert not (tmp_path / "out").exists()


def test_too_little_memory_says_what_would_do(common, tmp_path):
    done = call("run", *common, "--memory", "1kB", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "MemoryBudgetError" in done.output


@pytest.mark.parametrize(
    "text", ["4GB", "4 GB", "4000MB", "4000000kB", "4000000000", "4000000000B"]
)
def test_sizes_are_read_in_decimal_units(text):
    assert parse_bytes(text) == 4_000_000_000


def test_binary_units_are_larger_than_decimal_ones():
    assert parse_bytes("4GiB") == 4 * 1024**3
    assert parse_bytes("1.5 KiB") == 1536
    assert parse_bytes("500MB") == 500_000_000


def test_a_run_is_repeated_from_its_run_file(common, tmp_path):
    words = ["--method", "eap-ig", "--set", "steps=2", "--edges", "30", "--seed", "3"]
    done = call("run", *common, *words, "--ablation", "resample", "-o", tmp_path / "a")
    assert done.exit_code == 0, done.output
    again = call("run", tmp_path / "a" / "run.toml", "-q", "-o", tmp_path / "b")
    assert again.exit_code == 0, again.output
    first, second = load_record(tmp_path / "a"), load_record(tmp_path / "b")
    assert first.circuit.provenance.recipe == second.circuit.provenance.recipe
    assert first.circuit.edges == second.circuit.edges
    assert first.validation == second.validation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a run.toml that `circuitkit run` wrote"),
        ("task = [", "must be a run.toml that `circuitkit run` wrote"),
        (None, "must be a run.toml that `circuitkit run` wrote"),
        ("an old one", "must hold a whole recipe, got one of an earlier version"),
    ],
)
def test_a_run_file_that_cannot_be_repeated_is_refused(tmp_path, text, message):
    path = tmp_path / "run.toml"
    if text == "an old one":
        text = (Path(__file__).parents[2] / "reports/ioi--pico/run.toml").read_text()
        text = text[: text.index("[recipe]")] + text[text.index("[files]") :]
    if text is not None:
        path.write_text(text)
    done = call("run", path, "-q", "-o", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


def test_few_pairs_are_told_before_any_work_and_no_reason_is_made_up(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def stop(*_, **__):
        raise Interrupted

    monkeypatch.setattr("circuitkit.cli.actions.run.study", stop)
    said = " ".join(call("run", "ioi", "--n", 10, "--method", "eap", "-q").output.split())
    assert "The verdict will be undecided: it needs 16 independent validation pairs" in said
    assert "Raise --n." in said


@pytest.fixture
def quick(prompt_file):
    """What a run is told so that it is over soon."""
    return ["--prompts", prompt_file, "-q", "--edges", 30, "--ablation", "resample", "--anyway"]


def test_two_models_in_folders_of_one_name_do_not_overwrite_each_other(
    quick, toy_directory, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(toy_directory)
    for folder in ("one/hf", "two/hf"):
        model.save_pretrained(tmp_path / folder)
        done = call("run", "--model", folder, *quick)
        assert done.exit_code in (0, 1), done.output
        with torch.no_grad():
            next(model.parameters()).mul_(1.001)
    first, second = sorted(path.name for path in (tmp_path / "reports").iterdir())
    assert first == "pairs--hf--auto"
    info = load_record(tmp_path / "reports" / second).info
    assert second == f"{first}--{info.identity}"
    assert f"{second}/report.html" in done.output.replace("\n", "")
    again = call("run", "--model", "two/hf", *quick)  # replaces itself, and nothing else
    assert again.exit_code in (0, 1), again.output
    assert len(list((tmp_path / "reports").iterdir())) == 2


def test_a_named_directory_of_another_run_is_refused_unless_forced(
    quick, toy_directory, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = ("run", "--model", toy_directory, *quick, "--name", "mine")
    assert call(*words).exit_code in (0, 1)
    before = (tmp_path / "reports/mine/run.toml").read_bytes()
    done = call(*words, "--seed", 1)
    assert done.exit_code == 2
    assert "replace it with --force" in " ".join(done.output.split())
    assert (tmp_path / "reports/mine/run.toml").read_bytes() == before
    assert call(*words, "--seed", 1, "--force").exit_code in (0, 1)
    assert load_record(tmp_path / "reports/mine").info.seed == 1
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["mine"]


def test_a_run_that_fails_leaves_no_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("run", "ioi", "--model", "nowhere", "-q")
    assert done.exit_code == 2, done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "a/b"], "--name: must be the name of one directory"),
        (["--name", ".."], "--name: must be the name of one directory"),
        (["--name", "a", "-o", "b"], "must be given without -o / --output"),
    ],
)
def test_a_name_that_is_none_of_a_directory_is_refused(words, message):
    done = call("run", "ioi", *words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_run_directories_are_named_after_task_model_and_method():
    assert run_name("ioi", None, "pico", "eap") == "ioi--pico--eap"
    assert run_name("dir/my_task.py:MyTask", None, "a/b", "eap") == "MyTask--b--eap"
    assert run_name("my_task.py", None, "x", "eap-ig") == "my_task--x--eap-ig"
    assert run_name("", Path("dir/my pairs.jsonl"), "x", "eap") == "my-pairs--x--eap"


def test_another_method_is_named_in_the_circuit_and_the_directory(common, tmp_path, monkeypatch):
    out = tmp_path / "c.json"
    done = call("discover", *common[:4], "-q", "--method", "eap-ig", "--set", "steps=2", "--edges",
                "9", "--anyway", "-o", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    recipe = json.loads(out.read_text())["circuitkit"]["recipe"]
    assert (recipe["method"], recipe["method_settings"]["steps"]) == ("eap-ig", 2)
    monkeypatch.chdir(tmp_path)
    assert call("run", *common, "--method", "clean-corrupted", "--anyway").exit_code in (0, 2)
    assert [path.name for path in (tmp_path / "reports").iterdir()] == [
        f"pairs--{Path(common[1]).name}--clean-corrupted"
    ]


def test_path_patching_shows_every_head_before_the_receivers(common, tmp_path):
    svg = tmp_path / "paths.svg"
    done = call("path", *common, "--to", "a2.h1<q>", "--json", "-o", svg)
    assert done.exit_code == 0, done.output
    heat = json.loads(done.stdout)
    assert heat["rows"] == [f"a{layer}.h{head}" for layer in (0, 1) for head in range(4)]
    assert heat["columns"] == ["all"]
    assert svg.read_text().startswith("<?xml")
    joined = call("path", *common, "--from", "a0.h1+m0,a1.h2", "--to", "logits", "--at", "A",
                  "--mlps", "frozen", "--json")  # fmt: skip
    assert json.loads(joined.stdout)["rows"] == ["a0.h1 + m0", "a1.h2"]
    for arguments, message in [
        (["--from", "a9.h0", "--to", "logits"], "a sender must be a component"),
        (["--to", "a9.h0<q>"], "must be an input of this graph"),
        (["--to", "logits", "--at", "S1"], "must be a role of the prompts"),
        (["--to", "logits", "--at", "99"], "from 0 to"),
    ]:
        refused = call("path", *common, *arguments)
        assert refused.exit_code == 2, refused.output
        assert message in " ".join(refused.output.split())


def test_the_default_type_of_torch_is_left_alone():
    assert torch.get_default_dtype() == torch.float32


def discovered(out, *words):
    done = call("discover", *words, "-q", "--anyway", "-o", out)
    assert done.exit_code == 0, done.output
    return load_circuit(out)


def test_a_threshold_and_greedy_selection_give_their_circuits(common, tmp_path):
    prompts = common[:4]
    above = discovered(tmp_path / "a.json", *prompts, "--threshold", "0.02")
    assert above.n_edges > 0
    kept = above.scores.values[above.edge_mask]
    assert float(kept.abs().min()) >= 0.02
    greedy = discovered(tmp_path / "g.json", *prompts, "--select", "greedy", "--edges", "9")
    assert any(edge.endswith("->logits") for edge in greedy.edges)
    selection = json.loads((tmp_path / "g.json").read_text())["circuitkit"]["recipe"]["selection"]
    assert (selection["rule"], selection["threshold"]) == ("greedy", 0.0)


def test_acdc_gives_its_own_circuit_and_leaves_no_checkpoint_behind(common, tmp_path):
    found = discovered(
        tmp_path / "c.json", *common[:4], "--method", "acdc", "--set", "threshold=0.05"
    )
    kept = found.scores.values[found.edge_mask]
    assert 0 < found.n_edges < 250
    assert float(kept.min()) >= 0.05
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


def test_a_search_is_kept_where_asked_and_other_work_is_refused(common, tmp_path):
    kept = tmp_path / "search.sqlite"
    words = (*common[:4], "--method", "exact", "--edges", "9", "--checkpoint", kept)
    first = discovered(tmp_path / "c.json", *words)
    again = discovered(tmp_path / "d.json", *words)
    assert kept.exists()
    assert torch.equal(first.scores.values, again.scores.values)
    other = call("discover", *words, "--seed", "5", "-q", "--anyway", "-o", tmp_path / "e.json")
    assert other.exit_code == 2
    assert "seed: '0' there, '5' now" in " ".join(other.output.split())
    assert not (tmp_path / "e.json").exists()


def test_circuits_by_role_are_written_beside_the_whole(common, tmp_path):
    out = tmp_path / "c.json"
    discovered(out, *common[:4], "--edges", "60", "--by", "role")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["c.A.json", "c.END.json", "c.json", "c.rest.json"]
    parts = [load_circuit(path) for path in tmp_path.glob("c.*.json")]
    assert {part.n_edges for part in parts} == {60}
    total = sum(part.scores.values for part in parts)
    torch.testing.assert_close(total, load_circuit(out).scores.values, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", "1e9"], "must leave an edge"),
        (["--threshold", "1", "--edges", "3"], "only rule of selection"),
        (["--select", "best"], "--select: must be one of top, greedy"),
        (["--method", "acdc", "--set", "threshold=-1"], "threshold must be above 0"),
        (["--method", "acdc", "--set", "threshold=1e9"], "its circuit must have an edge"),
        (["--set", "steps"], "a setting and its value"),
        (["--checkpoint", "x.sqlite"], "must be one that resumes"),
        (["--method", "all", "--edges", "3"], "must go without"),
        (["--method", "eap", "--metric", "kl"], "must have a slope on the clean run"),
        (["--by", "role"], "must come with --edges"),
        (["--method", "acdc", "--edges", "4", "--by", "role"], "able to score by position"),
        (["--edges", "100000"], "from 0 to"),
        (["--edges", "1"], "must lead from the input to the logits"),
    ],
)
def test_what_cannot_be_discovered_is_refused_and_nothing_is_written(
    common, tmp_path, words, message
):
    out = tmp_path / "c.json"
    done = call("discover", *common[:4], *words, "-q", "--anyway", "-o", out)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert not out.exists()


def test_methods_are_compared_in_one_table(tmp_path_factory, tmp_path):
    small = save_toy(tmp_path / "small", 1, n_layers=2, n_heads=3)
    common = ["--model", small, "--prompts", write_pairs(small, tmp_path_factory, seed=3, n=24)]
    plot = tmp_path / "methods.svg"
    done = call("discover", *common, "--method", "all", "--anyway", "-o", plot, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    names = [row["method"] for row in found["methods"]]
    assert {"eap", "exact", "acdc", "random"} <= {*names, *found["left_out"]}
    assert [row["cmd"] for row in found["methods"]] == sorted(
        row["cmd"] for row in found["methods"]
    )
    assert "exact" in plot.read_text()


def test_the_scoreboard_command_writes_a_page(tmp_path):
    words = ("bench-discovery", "--methods", "exact,random", "--models", "planted-skip-trigram")
    words += ("--difficulties", "plain", "--seeds", "0", "--n", "8", "--no-trained")
    done = call(*words, "-o", tmp_path / "board", "--json")
    assert done.exit_code == 0, done.output
    files = {Path(path).name for path in json.loads(done.stdout)}
    assert files == {"README.md", "planted.parquet", "recall.svg", "auroc.svg", "cost.svg"}
    refused = call("bench-discovery", "--seeds", "one", "-o", tmp_path / "other")
    assert refused.exit_code == 2
    assert "must be whole numbers" in refused.output
