"""Quantised weights: studied as the numbers that they stand for, and the gap is told."""

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from circuitkit.errors import DecompositionError, ModelError, PrecisionWarning
from circuitkit.model import from_hf
from circuitkit.model.quantised import is_quantised, make_dense
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model


class Int8(nn.Module):
    """A projection of whole numbers and a scale, as quantising packages write theirs."""

    def __init__(self, dense, error=0.0):
        super().__init__()
        self.in_features, self.out_features = dense.in_features, dense.out_features
        scale = dense.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("qweight", (dense.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias, self.error = dense.bias, error

    def forward(self, x):
        out = x @ (self.qweight.to(x.dtype) * self.scale).T
        out = out + self.error * torch.sin(50 * x[..., :1])  # of activations that are rounded
        return out if self.bias is None else out + self.bias


class NeedsAGPU(Int8):
    def forward(self, x):
        raise RuntimeError("no kernel for this device.")


def llama(kind=None, bias=True, **options):
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=37,
        max_position_embeddings=32,
        initializer_range=0.3,
        attention_bias=bias,
    )
    hf_model = LlamaForCausalLM(config).eval()
    for layer in hf_model.model.layers if kind else ():
        for part, names in ((layer.self_attn, "qkvo"), (layer.mlp, ("gate", "up", "down"))):
            for name in names:
                dense = getattr(part, f"{name}_proj")
                nn.init.normal_(dense.bias) if dense.bias is not None else None
                setattr(part, f"{name}_proj", kind(dense, **options))
    return hf_model


def test_what_is_studied_is_what_the_quantised_model_computes_and_the_gap_is_told():
    hf_model, tokens = llama(Int8), torch.tensor([[1, 2, 3]])
    kinds = [type(module) for module in hf_model.modules()]
    with torch.no_grad():
        before = hf_model(tokens).logits
    with pytest.warns(PrecisionWarning, match=r"numbers that they stand for, in torch.float32.*"):
        model = from_hf(hf_model, name="q")
    batch = tokenize_pairs([PromptPair([1, 2, 3], [1, 5, 3], [4])]).clean_batch
    assert torch.allclose(model.run(batch), before[:, -1], atol=1e-5)
    assert not torch.allclose(from_hf(llama()).run(batch), before[:, -1], atol=1e-3)
    with torch.no_grad():
        assert torch.equal(hf_model(tokens).logits, before)
    assert [type(module) for module in hf_model.modules()] == kinds
    assert is_quantised(hf_model)
    assert not is_quantised(llama())


def test_the_gap_is_that_of_the_kernels():
    with pytest.warns(PrecisionWarning) as told:
        from_hf(llama(Int8, error=0.01))
    gap = float(str(told[0].message).split("up to ")[1].split()[0])
    assert 1e-3 < gap < 0.1
    with pytest.raises(DecompositionError, match=r"within 0\.1, got a relative gap"):
        from_hf(llama(Int8, error=2.0))


def test_a_projection_is_read_off_its_answers_in_every_block_of_rows(monkeypatch):
    monkeypatch.setattr("circuitkit.model.quantised.ROWS", 5)
    hf_model = llama(Int8)
    wanted = hf_model.model.layers[0].mlp.down_proj
    make_dense(hf_model, torch.float32, "model 'q'")
    found = hf_model.model.layers[0].mlp.down_proj
    assert type(found) is nn.Linear
    assert torch.allclose(found.weight, wanted.qweight * wanted.scale, atol=1e-6)


def test_kernels_that_do_not_run_here_are_one_sentence():
    with pytest.raises(ModelError, match=r"must run here, got RuntimeError: no kernel for this"):
        from_hf(llama(NeedsAGPU))


def test_a_weight_of_another_kind_that_is_quantised_is_refused():
    hf_model = llama(Int8)
    hf_model.model.norm.weight = nn.Parameter(torch.ones(16).to(torch.float8_e4m3fn))
    with pytest.raises(DecompositionError, match=r"got 'model\.norm\.weight' of another kind"):
        make_dense(hf_model, torch.float32, "model 'q'")


def test_a_quantisation_without_its_package_is_one_sentence(tmp_path):
    hf_model = llama()
    hf_model.config.quantization_config = {"quant_method": "hqq", "bits": 4}
    hf_model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"form that is read here, got .*hqq"):
        load_model(tmp_path)


def test_a_file_of_gguf_without_its_package_or_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"x\.gguf': (its weights must be of|must be a readable)"):
        load_model(tmp_path / "x.gguf")
    with pytest.raises(ModelError, match="must be a file of GGUF on this machine"):
        load_model(tmp_path / "none.gguf")
