"""`circuitkit diff`, in process: files alone, in one model, and in two checkpoints of one."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import GPT2LMHeadModel
from typer.testing import CliRunner

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.file import load_circuit, save_circuit
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.circuits.recipe import PairsRecipe, Recipe
from circuitkit.cli.app import app
from circuitkit.cli.diff import N_SHOWN
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.file import read_prompt_file, splits_of
from circuitkit.study import subject as subject_module
from circuitkit.zoo import load_model
from tests.cli.test_app import write_pairs

RUNNER = CliRunner()


def call(*words):
    return RUNNER.invoke(app, ["diff", *(str(word) for word in words)])


def text_of(done):
    return " ".join(done.output.split())


@pytest.fixture(scope="module")
def later(toy_directory, tmp_path_factory):
    """The toy a few steps of training later: the same architecture, other weights."""
    model = GPT2LMHeadModel.from_pretrained(toy_directory)
    torch.manual_seed(5)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    directory = tmp_path_factory.mktemp("later")
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def prompts(toy_directory, tmp_path_factory):
    return write_pairs(toy_directory, tmp_path_factory, seed=1)


def random_circuit(graph, n_edges, seed):
    """Return a circuit with scores on every edge, of the edges with the largest |score|."""
    generator = torch.Generator().manual_seed(seed)
    shape = graph.edge_mask.shape
    values = torch.randn(shape, dtype=torch.float64, generator=generator) * graph.edge_mask
    least = values.abs()[graph.edge_mask].sort(descending=True).values[n_edges - 1]
    return Circuit(graph, (values.abs() >= least) & graph.edge_mask, EdgeScores(graph, values))


@pytest.fixture(scope="module")
def files(toy_directory, later, tmp_path_factory):
    """Circuit A, found in the toy, and circuit B, found in the later checkpoint."""
    directory = tmp_path_factory.mktemp("circuits")
    paths = []
    for letter, home, method, size, seed in (
        ("a", toy_directory, "eap", 120, 3),
        ("b", later, "exact", 140, 4),
    ):
        model = load_model(home)
        origin = Provenance(
            task="pairs",
            model=str(home),
            model_digest=model.digest,
            recipe=Recipe(method, seed=seed, pairs=PairsRecipe(metric="logit-difference")),
        )
        circuit = replace(random_circuit(model.graph, size, seed), provenance=origin)
        paths.append(directory / f"{letter}.json")
        save_circuit(circuit, paths[-1])
    return paths


def with_origin(path, to, **said):
    """Write a circuit file that says something else of where it comes from."""
    circuit = load_circuit(path)
    save_circuit(replace(circuit, provenance=replace(circuit.provenance, **said)), to)
    return to


def shares(directory, prompts, paths, *, seed):
    """Return f(A) and f(B) in a model, one circuit after the other."""
    model = load_model(directory)
    pairs = splits_of(read_prompt_file(prompts), None, seed=seed).validation
    ends = [Circuit.full(model.graph), Circuit.empty(model.graph)]
    m = [
        float(
            evaluate_circuits(
                model, pairs, [circuit], ablation=ResampleAblation(), metric=LogitDifference()
            ).mean()
        )
        for circuit in (*ends, *map(load_circuit, paths))
    ]
    return (m[2] - m[1]) / (m[0] - m[1]), (m[3] - m[1]) / (m[0] - m[1]), m[0] - m[1]


def test_two_models_give_a_table_of_circuit_by_model(
    files, prompts, toy_directory, later, tmp_path
):
    words = (*files, "--prompts", prompts, "--ablation", "resample", "-o", tmp_path / "d.svg", "-q")
    done = call(*words, "--json")
    assert done.exit_code == 0, done.output
    swaps = json.loads(done.stdout)["swaps"]
    assert [swap["model"] for swap in swaps] == [str(toy_directory), str(later)]
    for swap, directory in zip(swaps, (toy_directory, later), strict=True):
        in_a, in_b, gap = shares(directory, prompts, files, seed=3)  # circuit A's seed
        assert swap["a"]["value"] == pytest.approx(in_a, rel=1e-4)
        assert swap["b"]["value"] == pytest.approx(in_b, rel=1e-4)
        assert swap["difference"]["value"] == pytest.approx(in_b - in_a, rel=1e-4, abs=1e-5)
        assert swap["gap"]["value"] == pytest.approx(gap, rel=1e-4)
        assert swap["a"]["low"] <= swap["a"]["value"] <= swap["a"]["high"]
    assert swaps[0]["gap"]["value"] != pytest.approx(swaps[1]["gap"]["value"], rel=0.01)
    shown = text_of(call(*words))
    for title in ("in the model of A", "in the model of B", "f(B) - f(A)", "validation pairs"):
        assert title in shown


def test_one_model_gives_one_column(files, prompts, later, tmp_path):
    words = (
        "--prompts",
        prompts,
        "--ablation",
        "resample",
        "-o",
        tmp_path / "d.svg",
        "-q",
        "--json",
    )
    asked = json.loads(call(*files, "--model", later, "--seed", 8, *words).stdout)
    in_a, in_b, _ = shares(later, prompts, files, seed=8)
    [swap] = asked["swaps"]
    assert (swap["a"]["value"], swap["b"]["value"]) == pytest.approx((in_a, in_b), rel=1e-4)
    copy = with_origin(files[1], tmp_path / "copy.json", model=f"{later}/")  # the same weights
    [swap] = json.loads(call(files[1], copy, *words).stdout)["swaps"]
    assert (swap["model"], swap["difference"]["value"]) == (str(later), 0)


def test_files_alone_are_compared_without_a_model(files, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(subject_module, "load_model", never)
    done = call(*files, "--no-run", "-o", tmp_path / "d.svg", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    a, b = map(load_circuit, files)
    parts = {
        "both": set(a.edges) & set(b.edges),
        "only_a": set(a.edges) - set(b.edges),
        "only_b": set(b.edges) - set(a.edges),
    }
    for part, names in parts.items():
        assert {row["edge"] for row in found[part]} == names
        assert len(found[part]) == len(names) > N_SHOWN
    assert found["jaccard"] == len(parts["both"]) / len(set(a.edges) | set(b.edges))
    row = found["only_b"][0]
    for letter, circuit in (("a", a), ("b", b)):
        score = circuit.scores.by_edge()[circuit.graph.edge_number(row["edge"])]
        assert row[f"score_{letter}"] == float(score)
    assert (found["a"]["method"], found["b"]["method"], found["b"]["seed"]) == ("eap", "exact", 4)
    assert found["swaps"] == []
    assert found["picture"] == str(tmp_path / "d.svg")


def test_the_strongest_edges_of_one_alone_are_shown_and_all_if_asked(files, tmp_path):
    words = (*files, "--no-run", "-o", tmp_path / "d.svg")
    a, b = map(load_circuit, files)
    only = [edge for edge in a.edges if edge not in b.edges]
    scores = dict(zip(a.graph.edge_names, a.scores.by_edge().abs().tolist(), strict=True))
    ranked = sorted(only, key=scores.__getitem__, reverse=True)

    def shown(*more):
        table = call(*words, *more).output.partition("Only in A")[2].partition("Only in B")[0]
        return [line.split()[1] for line in table.splitlines() if "->" in line]

    assert shown() == ranked[:N_SHOWN]
    assert shown("--all") == ranked


def test_the_picture_is_of_the_format_that_its_suffix_says(files, tmp_path):
    for suffix, magic in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("PDF", b"%PDF-")):
        out = tmp_path / "new" / f"d.{suffix}"
        assert call(*files, "--no-run", "-o", out).exit_code == 0
        assert out.read_bytes().startswith(magic)
    text = (tmp_path / "new" / "d.svg").read_text()
    assert "eap, seed 3" in text
    assert "exact, seed 4" in text


def test_a_circuit_is_the_same_as_itself(files, tmp_path):
    done = call(files[0], files[0], "--no-run", "-o", tmp_path / "d.svg", "--json")
    found = json.loads(done.stdout)
    assert (found["jaccard"], found["only_a"], found["only_b"]) == (1, [], [])
    shown = call(files[0], files[0], "--no-run", "-o", tmp_path / "d.svg").output
    assert "Only in" not in shown


def test_prompts_that_found_either_circuit_are_refused(files, prompts, tmp_path):
    pairs = splits_of(read_prompt_file(prompts), None, seed=3).validation
    seen = with_origin(files[1], tmp_path / "b.json", discovery_prompts=pairs.prompt_digests)
    done = call(files[0], seen, "--prompts", prompts, "-o", tmp_path / "d.svg", "-q")
    assert done.exit_code == 2
    assert "20 of 20 that share a prompt with those of B" in text_of(done)
    assert "Give another --seed or other --prompts" in text_of(done)
    assert not (tmp_path / "d.svg").exists()


def test_other_weights_than_those_of_the_file_are_refused(files, prompts, toy_directory, tmp_path):
    stale = with_origin(files[0], tmp_path / "a.json", model_digest="0" * 16)
    words = (stale, files[1], "--prompts", prompts, "--ablation", "resample", "-q")
    done = call(*words, "-o", tmp_path / "d.svg")
    assert done.exit_code == 2
    assert "must have the weights it was found in" in text_of(done)
    asked = call(*words, "-o", tmp_path / "d.svg", "--model", toy_directory)
    assert asked.exit_code == 0, asked.output


KL = Recipe("eap", pairs=PairsRecipe(metric="kl"))


@pytest.mark.parametrize(
    ("said", "words", "message"),
    [
        ({"task": "ioi"}, [], "must name one task, got ioi and pairs. Both"),
        ({}, [], "the task that the circuits name must be found here, got 'pairs'"),
        ({}, ["--task", "oii"], "task 'oii': must be one of"),
        ({"model": ""}, ["--task", "ioi"], "must name its model, got none"),
        ({"model": "nowhere"}, ["--prompts"], "model 'nowhere'"),
        (
            {"recipe": Recipe("eap", pairs=PairsRecipe(metric="kl"))},
            ["--task", "ioi"],
            "one metric, got kl and logit-diff",
        ),
        ({"tokenizer_digest": "f" * 16}, ["--prompts"], "the tokenizer it was found with"),
        ({}, ["--task", "ioi", "--ablation", "nope"], "--ablation: must be one of"),
        ({}, ["--no-run", "-o", "d.gif"], "must end in one of svg, png, pdf"),
        ({}, ["--no-run", "-o", "file/d.svg"], "must be writable"),
        ({}, ["--no-run", "-o", "dir.svg"], "must be a file, got a directory"),
    ],
)
def test_bad_input_gets_one_clear_message(
    files, prompts, tmp_path, monkeypatch, said, words, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "dir.svg").mkdir()
    second = with_origin(files[1], tmp_path / "b.json", **said)
    words = [*words, prompts] if words == ["--prompts"] else words
    done = call(files[0], second, *words, "-q")
    assert done.exit_code == 2, done.output
    assert message in text_of(done)
    assert "Traceback" not in done.output
    assert not (tmp_path / "circuit-diff.svg").exists()


def test_a_file_that_says_nothing_is_told_what_to_give(files, tmp_path):
    bare = [with_origin(path, tmp_path / path.name, **EMPTY) for path in files]
    done = call(*bare, "-o", tmp_path / "d.svg", "-q")
    assert done.exit_code == 2
    assert "one task, got none" in text_of(done)
    assert "Give --task or --prompts" in text_of(done)
    assert call(*bare, "--no-run", "-o", tmp_path / "d.svg").exit_code == 0


EMPTY = {"task": "", "model": "", "model_digest": "", "recipe": Recipe()}


def test_files_that_cannot_be_compared_are_refused(files, tmp_path):
    out = tmp_path / "d.svg"
    missing = call(files[0], tmp_path / "nowhere.json", "-o", out)
    assert missing.exit_code == 2
    assert "must exist" in text_of(missing)
    other = tmp_path / "other.json"
    save_circuit(Circuit.full(ComponentGraph(n_layers=2, n_heads=3, d_model=8)), other)
    for words in ([], ["--no-run"]):
        done = call(files[0], other, *words, "-o", out)
        assert done.exit_code == 2
        assert "must be of one architecture" in text_of(done)
    assert not out.exists()


def test_circuits_without_scores_are_shown_without_a_column_of_them(tmp_path):
    names = ("published:ioi-wang", "published:ioi-wang-edges")
    done = call(*names, "--no-run", "-o", tmp_path / "d.svg")
    assert done.exit_code == 0, done.output
    assert "Only in A, in edge order" in text_of(done)
    assert "score in" not in done.output
