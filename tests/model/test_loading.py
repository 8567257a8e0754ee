import shutil
import subprocess

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from circuitkit.discovery import atp, eap
from circuitkit.errors import ActivationError, ModelError, PromptError
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference
from circuitkit.model import SubjectModel, load_directory
from circuitkit.model.recording import record
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from tests.families import save_family


@pytest.fixture
def copy(toy_directory, tmp_path):
    return shutil.copytree(toy_directory, tmp_path / "copy")


def test_sizes_are_read_from_the_model(toy):
    assert (toy.graph.n_layers, toy.graph.n_heads, toy.graph.d_model) == (3, 4, 20)
    assert (toy.d_head, toy.n_ctx, toy.dtype) == (5, 16, torch.float64)
    assert toy.tokenizer is None
    assert toy.layers[1].attention.w.shape == (20, 60)
    assert toy.layers[1].attention.weight("k").shape == (4, 20, 5)
    assert toy.layers[1].attention.w_out.shape == (4, 5, 20)


def test_the_digest_depends_on_every_weight_and_not_on_the_dtype(toy, toy_directory, copy):
    assert load_model(toy_directory, dtype="float32").digest == toy.digest
    weights = load_file(copy / "model.safetensors")
    weights["transformer.h.1.mlp.c_fc.bias"][0] += 0.5
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert load_model(copy).digest != toy.digest


def test_an_unknown_model_is_named_with_the_way_out():
    with pytest.raises(ModelError, match=r"model 'picco': must be .*circuitkit models"):
        load_model("picco")


@pytest.mark.parametrize("name", ["./picco", "/no/such/model", "~/picco", "my/models/toy"])
def test_a_path_where_nothing_is_is_not_looked_for_on_the_hub(name):
    with pytest.raises(ModelError, match="got a path where nothing is"):
        load_model(name)


def test_a_missing_weight_file_is_refused(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="must be a readable model directory"):
        load_model(copy)


def test_a_truncated_weight_file_is_refused(copy):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match="must be a readable model directory"):
        load_model(copy)


def test_weights_that_lack_a_tensor_are_refused_not_made_up(copy):
    weights = load_file(copy / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"must hold every weight.*h\.1\.mlp\.c_fc\.weight"):
        load_model(copy)


def test_a_broken_config_is_refused(copy):
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match="must be a readable model directory"):
        load_model(copy)


def test_a_broken_tokenizer_is_refused(copy):
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="tokenizer must be readable"):
        load_model(copy)


def test_weights_with_nan_are_refused_naming_the_layer(copy):
    weights = load_file(copy / "model.safetensors")
    weights["transformer.h.1.mlp.c_fc.weight"][0, 0] = float("nan")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ActivationError, match="layer 1, MLP: activations must be finite"):
        load_model(copy)


def test_infinity_is_found_with_the_prompt_that_causes_it(copy):
    model = load_directory(copy)
    pairs = tokenize_pairs([PromptPair([1, 2], [1, 3], [4]), PromptPair([36, 2], [1, 3], [4])])
    with torch.no_grad():
        model.bridge.embed.original_component.weight[36] = float("inf")
    with pytest.raises(ActivationError, match="input: .*first for prompt 1"):
        record(model, pairs.clean_batch)
    alone = tokenize_pairs([PromptPair([1, 2], [1, 3], [4])])
    with pytest.raises(ActivationError, match="logits: .*first for prompt 0"):
        record(model, alone.clean_batch)  # embedding and unembedding share the weights


def test_the_pair_is_counted_over_all_batches(copy):
    model, metric = load_directory(copy), LogitDifference()
    raw = [PromptPair([1, 2, 3], [1, 5, 3], [4], [6])] * 5
    raw[3] = PromptPair([1, 2, 36], [1, 5, 36], [4], [6])
    pairs = tokenize_pairs(raw)
    with torch.no_grad():
        model.bridge.embed.original_component.weight[36] = float("inf")
        # an untied unembedding, so that one prompt alone is affected
        head = model.bridge.unembed.original_component
        head.weight = torch.nn.Parameter(torch.ones_like(head.weight))
    for work in (
        lambda: eap.score_edges(model, pairs, metric, batch_size=2),
        lambda: atp.score_nodes(model, pairs, metric, work=Work(batch_size=2)),
    ):
        with pytest.raises(ActivationError, match="first for prompt 3"):
            work()


def test_a_model_in_training_mode_is_refused(toy):
    toy.bridge.train()
    try:
        with pytest.raises(ModelError, match="evaluation mode, got training mode"):
            SubjectModel(toy.bridge, "toy", "", None)
    finally:
        toy.bridge.eval()


def test_unknown_types_and_devices_are_refused(toy_directory):
    with pytest.raises(ModelError, match="dtype 'float8': must be one of"):
        load_model(toy_directory, dtype="float8")
    with pytest.raises(ModelError, match="device 'nonsense': must be available"):
        load_model(toy_directory, device="nonsense")


def test_prompts_longer_than_the_context_are_refused(toy):
    pairs = tokenize_pairs([PromptPair([1] * 17, [2] * 17, [3])])
    with pytest.raises(PromptError, match="at most 16 tokens.*got 17"):
        toy.run(pairs.clean_batch)


def test_a_directory_without_tokenizer_says_so_when_given_text(toy):
    with pytest.raises(PromptError, match="has no tokenizer"):
        tokenize_pairs([PromptPair("a", "b", ["c"])], toy.tokenizer)


def test_a_zoo_model_is_found_by_name():
    model = load_model("pico")
    assert model.name == "pico"
    assert model.tokenizer is not None
    assert model.graph.n_layers >= 4


@pytest.mark.parametrize("name", ["gemma-3-multimodal", "gemma-4"])
def test_no_package_is_installed_for_the_images_that_a_model_reads_too(name, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(subprocess, "check_call", lambda command, *_: asked.append(command))
    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", asked.append)
    load_model(save_family(name, tmp_path), dtype=torch.float64)
    assert asked == []
