"""Models that cannot be studied: one sentence each, which names the block and the kind."""

import io
import json
import shutil
import sys

import pytest
import torch
import transformers
from jaxtyping import config
from safetensors.torch import load_file, save_file

from circuitkit.errors import CircuitkitError, DecompositionError, ModelError, PromptError
from circuitkit.model import from_bridge, load_directory, load_state_dict
from circuitkit.model.refusals import checked_device, refusing
from circuitkit.zoo import load_model


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    """Without the types' own check, which would refuse first, and which users do not have."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


SMALL = {
    "vocab_size": 37,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
}
GROUPED = SMALL | {"num_key_value_heads": 1, "head_dim": 8}
OLDER = {"vocab_size": 37, "hidden_size": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}


def small(kind, **more):
    """Return what makes a random model of a kind with a norm behind each addition."""
    config = getattr(transformers, f"{kind}Config")

    def make():
        model = getattr(transformers, MODELS.get(kind, f"{kind}ForMaskedLM"))
        return model(config(**more))

    make.__name__ = kind.lower()
    return make


MODELS = {
    "OPT": "OPTForCausalLM",
    "Bloom": "BloomForCausalLM",
    "OpenAIGPT": "OpenAIGPTLMHeadModel",
}
OPT_SIZES = {k: SMALL[k] for k in SMALL if k not in ("initializer_range", "intermediate_size")}
DISTIL = {"vocab_size": 37, "dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2}


def bert_classifier():
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL))


def post_norm(kind):
    return rf"block 0 \({kind}\): .* norm of the whole sum behind each addition\. .* in front\."


REFUSED = {
    small("Bert", **SMALL): post_norm("bert"),
    small("Roberta", **SMALL): post_norm("roberta"),
    small("Electra", **SMALL, embedding_size=16): post_norm("electra"),
    small("DistilBert", **DISTIL): post_norm("distilbert"),
    small("OpenAIGPT", **OLDER): post_norm("openai-gpt"),
    small("OPT", **OPT_SIZES, ffn_dim=24, word_embed_proj_dim=16, do_layer_norm_before=False): (
        post_norm("opt")
    ),
    small("Bloom", **OLDER, apply_residual_connection_post_layernorm=True): post_norm("bloom"),
    bert_classifier: post_norm("bert"),
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_a_family_that_cannot_be_taken_apart_is_refused_once(make, tmp_path):
    torch.manual_seed(0)
    make().save_pretrained(tmp_path)
    with pytest.raises(DecompositionError, match=REFUSED[make]) as error:
        load_model(tmp_path)
    text = str(error.value)
    assert text.count(f"model '{tmp_path}'") == 1
    assert "Error" not in text
    assert len(text) < 600


@pytest.fixture
def copy(toy_directory, tmp_path):
    return shutil.copytree(toy_directory, tmp_path / "copy")


def rewrite(directory, change):
    file = directory / "model.safetensors"
    weights = {name: change(name, x).contiguous() for name, x in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


def test_a_config_of_fewer_layers_than_the_weights_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"n_layer": 2}))
    # of 12 one looks to transformers like a mask: h.2.attn.c_attn.bias
    with pytest.raises(
        ModelError, match=r"got 11 that it has no place for: transformer\.h\.2\."
    ) as e:
        load_model(copy)
    assert str(e.value).count("transformer.h.2.") == 3  # a few, not all


def test_a_config_of_more_layers_than_the_weights_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"n_layer": 4}))
    with pytest.raises(ModelError, match=r"must hold every weight.*transformer\.h\.3\."):
        load_model(copy)


def test_masks_that_older_files_store_are_no_weights(copy):
    weights = load_file(copy / "model.safetensors")
    weights["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    weights["transformer.h.0.attn.rotary_emb.inv_freq"] = torch.ones(2)
    weights["transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16).tril().bool()
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert load_model(copy).graph.n_layers == 3


def test_weights_that_are_all_nan_are_called_so(copy):
    rewrite(copy, lambda name, x: x * float("nan"))
    with pytest.raises(
        ModelError, match="first in 740 of the 740 values of 'transformer.wte.weight'"
    ):
        load_model(copy)


def test_a_norm_that_is_nan_is_called_so(copy):
    rewrite(copy, lambda n, x: x * float("nan") if n.endswith("h.1.ln_1.weight") else x)
    with pytest.raises(CircuitkitError, match="NaN") as error:
        load_model(copy)
    assert "neither LayerNorm" not in str(error.value)


def test_auto_is_the_gpu_where_there_is_one_and_else_the_cpu(toy_directory, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load_model(toy_directory, device="auto").device.type == "cpu"
    tried = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda *_, device, **__: tried.append(device) or 0.0)
    assert checked_device("auto") == "cuda"
    assert tried == ["cuda"]


@pytest.mark.parametrize("device", ["meta", "nonsense", "cuda:99", "", "cpu:x"])
def test_a_device_that_computes_nothing_is_one_sentence(device, toy_directory):
    for name in (toy_directory, "planted-induction"):
        with pytest.raises(ModelError, match=r"device .*: must be available and hold values"):
            load_model(name, device=device)


CODE = """
from pathlib import Path
Path({marker!r}).write_text("run")
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizer
class Config(GPT2Config):
    model_type = "strange"
class Model(GPT2LMHeadModel):
    config_class = Config
class Words(PreTrainedTokenizer):
    pass
"""


class Typing(io.StringIO):
    """A keyboard at which someone would answer yes; counts how often that is asked for."""

    asked = 0

    def readline(self, *_):
        self.asked += 1
        return "y\n"


@pytest.mark.parametrize("part", ["model", "model of a known type", "tokenizer"])
def test_code_in_a_model_directory_is_never_run_nor_asked_about(part, copy, monkeypatch, capfd):
    marker, keyboard = copy / "was-run", Typing()
    (copy / "strange.py").write_text(CODE.format(marker=str(marker)))
    if part == "tokenizer":
        words = {"auto_map": {"AutoTokenizer": ["strange.Words", None]}, "tokenizer_class": "Words"}
        (copy / "tokenizer_config.json").write_text(json.dumps(words))
        (copy / "vocab.json").write_text("{}")
    else:
        auto = {"AutoConfig": "strange.Config", "AutoModelForCausalLM": "strange.Model"}
        config = json.loads((copy / "config.json").read_text()) | {"auto_map": auto}
        if part == "model":
            config["model_type"] = "strange"
        (copy / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(sys, "stdin", keyboard)
    try:
        load_model(copy)
    except ModelError:
        assert part != "model of a known type"
    assert not marker.exists()
    assert keyboard.asked == 0
    assert capfd.readouterr().out == ""


def test_what_fails_inside_is_one_sentence_and_memory_is_not_the_models_fault():
    module = torch.nn.Linear(2, 3)
    expected = pytest.raises(DecompositionError, match=r"model 'm' \(Linear\): .*KeyError: 'x'")
    with expected, refusing("model 'm'", module):
        raise KeyError("x")
    with pytest.raises(PromptError, match="^mine$"), refusing("model 'm'", module):
        raise PromptError("mine")
    with pytest.raises(MemoryError), refusing("model 'm'", module):
        raise MemoryError


def test_what_is_no_bridge_is_refused(toy):
    for wrong in (None, toy, toy.bridge.original_model, torch.nn.Linear(2, 3)):
        with pytest.raises(ModelError, match="must be a TransformerBridge, got"):
            from_bridge(wrong)


def tensors(d_vocab=11, d_model=6, n_heads=2, d_head=3):
    shapes = {
        "embed.W_E": (d_vocab, d_model),
        "pos_embed.W_pos": (8, d_model),
        **{f"blocks.0.attn.W_{x}": (n_heads, d_model, d_head) for x in "QKV"},
        "blocks.0.attn.W_O": (n_heads, d_head, d_model),
        "unembed.W_U": (d_model, d_vocab),
    }
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(shape, generator=generator) for k, shape in shapes.items()}


@pytest.mark.parametrize("value", [None, [[1.0]], torch.zeros(11, 6, device="meta")])
def test_a_state_dict_of_other_things_is_refused(value):
    with pytest.raises(ModelError, match=r"must map names to tensors .*'embed\.W_E'"):
        load_state_dict(tensors() | {"embed.W_E": value}, name="small")
    with pytest.raises(ModelError, match="must map names to tensors"):
        load_state_dict({3: torch.ones(2)}, name="small")


@pytest.mark.parametrize("axis", ["d_vocab", "d_model", "n_heads", "d_head"])
def test_a_state_dict_of_size_nothing_is_refused(axis):
    with pytest.raises(CircuitkitError, match="at least one entry"):
        load_state_dict(tensors(**{axis: 0}), name="small")


def test_a_state_dict_goes_to_no_device_without_values():
    with pytest.raises(ModelError, match="device 'meta'"):
        load_state_dict(tensors(), name="small", device="meta")


def test_a_file_that_is_no_config_is_refused(copy):
    for text in ("[]", "null", "3", '{"model_type": 5}', '{"model_type": "gpt2", "n_head": "x"}'):
        (copy / "config.json").write_text(text)
        with pytest.raises(ModelError):
            load_directory(copy)
