"""Which weights are meant: revisions, subfolders, shards, the type of the files."""

import shutil

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from circuitkit.errors import ModelError
from circuitkit.model.source import ModelSource, source_of
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model


def test_a_line_says_all_that_a_source_says():
    whole = ModelSource("a/b", "main", "x/y", "lora", "r.toml")
    assert str(whole) == "a/b?revision=main&subfolder=x/y&adapter=lora&reading=r.toml"
    assert source_of(str(whole)) == whole
    assert source_of("a/b") == ModelSource("a/b")
    assert source_of("a/b?adapter=c=d").adapter == "c=d"
    assert source_of("a").with_parts(revision="x", subfolder="") == ModelSource("a", "x")


@pytest.mark.parametrize("text", ["a?x=1", "a?revision", "a?revision=", "a?adapter=b&adapter=c"])
def test_a_line_that_says_something_else_is_refused(text):
    with pytest.raises(ModelError, match=r"model 'a\?.*must be each of revision, subfolder"):
        source_of(text)


def test_a_path_that_exists_is_meant_as_it_is_written(tmp_path):
    (tmp_path / "what?").mkdir()
    assert source_of(tmp_path / "what?") == ModelSource(str(tmp_path / "what?"))


def test_a_subfolder_is_read_with_the_tokenizer_of_the_whole(tmp_path, toy_directory):
    shutil.copytree(toy_directory, tmp_path / "m" / "step-5")
    model = load_model(tmp_path / "m", subfolder="step-5")
    assert model.name == f"{tmp_path / 'm'}?subfolder=step-5"
    assert model.digest == load_model(toy_directory).digest
    assert load_model(model.name).digest == model.digest
    assert model.tokenizer is None
    pico = load_model("pico").tokenizer
    pico.save_pretrained(tmp_path / "m")
    assert load_model(model.name).tokenizer.vocab_size == pico.vocab_size


def test_a_subfolder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ModelError, match="the subfolder must be a directory in .*got 'x'"):
        load_model(tmp_path, subfolder="x")


def test_a_directory_has_no_revisions(toy_directory):
    with pytest.raises(ModelError, match="a revision must be of a Hugging Face name"):
        load_model(toy_directory, revision="main")
    with pytest.raises(ModelError, match="a revision must be of a Hugging Face name"):
        load_model("pico", revision="main")


@pytest.fixture
def hub(tmp_path, toy_directory, monkeypatch):
    """A cache of the hub with two revisions of one name."""
    place = tmp_path / "models--org--toy"
    for revision, commit in (("main", "a" * 40), ("step5", "b" * 40)):
        shutil.copytree(toy_directory, place / "snapshots" / commit)
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / revision).write_text(commit)
    file = place / "snapshots" / ("b" * 40) / "model.safetensors"
    weights = load_file(file)
    weights["transformer.h.1.mlp.c_fc.bias"][0] += 0.5
    save_file(weights, file, metadata={"format": "pt"})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_a_revision_of_a_name_is_other_weights_and_the_name_says_so(hub, toy_directory):
    main, step = load_model("org/toy"), load_model("org/toy", revision="step5")
    assert main.digest == load_model(toy_directory).digest
    assert step.digest != main.digest
    assert (main.name, step.name) == ("org/toy", "org/toy?revision=step5")
    assert load_model(step.name).digest == step.digest
    batch = tokenize_pairs([PromptPair([1, 2, 3], [1, 5, 3], [4])]).clean_batch
    assert not torch.equal(step.run(batch), main.run(batch))


def test_a_revision_that_is_none_is_one_sentence(hub):
    with pytest.raises(ModelError, match=r"'org/toy\?revision=nope': must be a readable model"):
        load_model("org/toy", revision="nope")


def test_shards_are_the_same_model_as_one_file(tmp_path, toy_directory):
    whole = load_model(toy_directory)
    hf_model = AutoModelForCausalLM.from_pretrained(toy_directory)
    hf_model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    shards = load_model(tmp_path)
    assert shards.digest == whole.digest
    for mine, theirs in zip(shards.layers, whole.layers, strict=True):
        assert torch.equal(mine.attention.w_out, theirs.attention.w_out)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_type_of_the_files_is_the_type_that_is_computed_in(dtype, tmp_path, toy_directory):
    AutoModelForCausalLM.from_pretrained(toy_directory).to(dtype).save_pretrained(tmp_path)
    assert load_model(tmp_path).dtype == dtype
    assert load_model(tmp_path, dtype="float32").dtype == torch.float32


def test_models_that_ship_are_computed_in_float32():
    assert load_model("pico").dtype == torch.float32
    assert load_model("planted-induction").dtype == torch.float32
