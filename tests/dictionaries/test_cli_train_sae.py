"""The command `train-sae`: what it writes and shows, and what it refuses before any work."""

import json

import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from circuitkit.cli.app import app
from circuitkit.errors import PromptError

RUNNER = CliRunner()
SMALL = ["--steps", "2", "--features", "16", "--k", "2", "--prompts-per-step", "2", "--json"]


def run(*words):
    return RUNNER.invoke(app, ["train-sae", *words])


@pytest.fixture(autouse=True)
def little_is_held_out(monkeypatch):
    monkeypatch.setattr("circuitkit.cli.actions.train_sae.MAX_HELD_OUT", 8)


def test_dictionaries_of_two_places_are_written_and_tried(tmp_path):
    done = run("--at", "m0,r2", "--kind", "topk", "-o", str(tmp_path), *SMALL)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m0", "r2"]  # and no steps kept
    shown = json.loads(done.output)
    assert set(shown) == {"m0", "r2"}
    assert shown["m0"]["l0"] <= 2
    assert shown["m0"]["n_tokens"] == 8 * 47
    config = json.loads((tmp_path / "r2" / "cfg.json").read_text())
    assert config["metadata"]["hook_name"] == "blocks.2.hook_resid_post"
    assert load_file(tmp_path / "m0" / "sae_weights.safetensors")["W_enc"].shape == (128, 16)


def test_prompts_of_a_task_or_lines_of_a_text_can_be_trained_on(tmp_path):
    small = [word for word in SMALL if word != "--json"]
    done = run("--task", "ioi", "--n", "12", "--at", "m3", "-o", str(tmp_path / "a"), *small)
    assert done.exit_code == 0, done.output
    assert "On prompts held out, with the loss recovered" in " ".join(done.output.split())
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"The song of the {n:02d} is near the table." for n in range(60)))
    words = ["--texts", str(texts), "--kind", "transcoder", "--at", "m0", "-o", str(tmp_path / "b")]
    done = run(*words, *SMALL)
    assert done.exit_code == 0, done.output
    config = json.loads((tmp_path / "b" / "m0" / "cfg.json").read_text())
    assert config["architecture"] == "jumprelu_transcoder"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "ioi", "--texts", "t.txt"], "must have one of --task, --prompts, --texts, got"),
        (["--model", "planted-ioi"], "must have one of --task, --prompts, --texts, got none"),
        (["--kind", "crosscoder"], "--kind: must be one of topk, batchtopk, jumprelu, transcoder"),
        (["--positions", "last"], "--positions: must be one of content, all"),
        (["--at", "m9"], "--at: must be m, a or r and a layer from 0 to 3"),
        (["--at", "a0", "--kind", "transcoder"], "--at: must be an MLP for a transcoder"),
        (["--k", "0"], "k: must be at least 1, got 0"),
        (["--k", "20", "--features", "10"], "k: must be at most the number of features, 10"),
        (["--learning-rate", "-1"], "learning_rate: must be above 0 and at most 1, got -1.0"),
        (["--seed", "-1"], "--seed: must be from 0 to"),
        (["--texts", "no-such-file"], "must be a text file in UTF-8"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(words, message, tmp_path):
    done = run(*words, "-o", str(tmp_path))
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_was_cut_off_is_resumed_by_the_same_command(tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ["--at", "m1", *SMALL]
    assert run(*words, "-o", str(whole)).exit_code == 0
    measured = []

    def stop(*_):
        measured.append(True)
        raise PromptError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr("circuitkit.cli.actions.train_sae.measure_quality", stop)
        assert run(*words, "-o", str(cut)).exit_code == 2
    assert measured
    assert [path.name for path in cut.iterdir()] == [".training"]
    other = run("--at", "m2", *SMALL, "-o", str(cut))
    assert other.exit_code == 2
    assert "must be of the same training" in " ".join(other.output.split())
    assert run(*words, "-o", str(cut)).exit_code == 0
    for name in ("cfg.json", "sae_weights.safetensors"):
        assert (whole / "m1" / name).read_bytes() == (cut / "m1" / name).read_bytes()
