"""The command `attribute`: from a folder of transcoders to a graph, and what it refuses."""

import json

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from circuitkit.cli.app import app
from circuitkit.reporting.attribution_json import read_attribution
from circuitkit.zoo import load_model

PROMPT = "Then, Sarah and Adam went to the"


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def write(folder, *, width, n_layers, k="k: 3", **changed):
    generator = torch.Generator().manual_seed(0)
    for layer in range(n_layers):
        tensors = {
            "W_enc": torch.randn(24, width, generator=generator),
            "b_enc": torch.zeros(24),
            "W_dec": torch.randn(24, width, generator=generator) / 10,
            "b_dec": torch.zeros(width),
        }
        save_file(tensors | changed, folder / f"layer_{layer}.safetensors")
    (folder / "config.yaml").write_text(
        "model_kind: transcoder_set\nfeature_input_hook: mlp.hook_in\n"
        f"feature_output_hook: mlp.hook_out\nactivation: topk\n{k}\n"
    )
    return folder


@pytest.fixture(scope="module")
def sizes():
    model = load_model("pico")
    return {"width": model.layers[0].attention.w_out.shape[-1], "n_layers": len(model.layers)}


def test_the_graph_is_shown_written_and_held_against_the_model(tmp_path, sizes):
    folder, path = write(tmp_path, **sizes), tmp_path / "graph.json"
    done = call("attribute", PROMPT, "--dictionaries", folder, "-o", path, "--check", "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    found = read_attribution(path)
    assert found.graph["generation_settings"]["replacement_score"] == data["replacement_score"]
    assert "drawn edges" in data["said"][1]
    assert "random directions" in data["said"][3]
    shown = call("attribute", PROMPT, "--dictionaries", folder, "--features", 5)
    assert "5 of" in shown.stdout
    assert "Next: " in shown.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 8}, "must read and write"),
        ({"n_layers": 1}, "must have one for each of the"),
        ({"k": "k: many"}, "k must be a whole number of at least 1, got 'many'"),
        ({"b_enc": torch.full((24,), torch.nan)}, "must be finite numbers, got NaN or infinity"),
    ],
)
def test_transcoders_that_do_not_fit_are_refused_in_a_sentence(tmp_path, sizes, change, message):
    done = call("attribute", PROMPT, "--dictionaries", write(tmp_path, **sizes | change))
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_a_folder_without_a_config_is_refused(tmp_path):
    done = call("attribute", PROMPT, "--dictionaries", tmp_path)
    assert done.exit_code == 2
    assert "must hold one of sae_weights.safetensors" in " ".join(done.stderr.split())


def test_a_prompt_that_is_too_long_is_refused(tmp_path, sizes):
    done = call("attribute", "the " * 600, "--dictionaries", write(tmp_path, **sizes))
    assert done.exit_code == 2
    assert "must have at most 64 tokens" in done.stderr
