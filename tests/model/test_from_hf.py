"""A Hugging Face model that is in memory already."""

import copy

import pytest
import torch
from transformers import GPT2Model, T5Config, T5ForConditionalGeneration

from circuitkit.discovery import eap
from circuitkit.errors import DecompositionError, ModelError
from circuitkit.metrics import LogitDifference
from circuitkit.model import from_hf
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model

from transformers import AutoModelForCausalLM  # isort: skip

TOKENS = torch.tensor([[1, 2, 3, 4, 5]])


@pytest.fixture
def hf_model(toy_directory):
    return AutoModelForCausalLM.from_pretrained(toy_directory)


def test_an_object_computes_the_same_before_and_after_and_keeps_its_modules(hf_model):
    hf_model.set_attn_implementation("sdpa")
    kinds = [type(module) for module in hf_model.modules()]
    names = list(hf_model.state_dict())
    hf_model.transformer.wte.weight.requires_grad_(False)
    with torch.no_grad():
        before = hf_model(TOKENS).logits
    model = from_hf(hf_model, name="mine")
    pairs = tokenize_pairs([PromptPair([1, 2, 3], [1, 5, 3], [4], [6])])
    eap.score_edges(model, pairs, LogitDifference())
    with torch.no_grad():
        assert torch.equal(hf_model(TOKENS).logits, before)
    assert [type(module) for module in hf_model.modules()] == kinds
    assert list(hf_model.state_dict()) == names
    assert hf_model.config._attn_implementation == "sdpa"
    assert not hf_model.transformer.wte.weight.requires_grad
    assert hf_model.lm_head.weight is hf_model.transformer.wte.weight


def test_no_weight_is_copied(hf_model):
    model = from_hf(hf_model)
    ours = {p.data_ptr() for p in model.bridge.original_model.parameters()}
    assert {p.data_ptr() for p in hf_model.parameters()} <= ours
    with torch.no_grad():
        hf_model.transformer.h[1].mlp.c_fc.bias[0] += 0.5
    [pair] = [tokenize_pairs([PromptPair([1, 2, 3], [1, 5, 3], [4])]).clean_batch]
    assert torch.allclose(model.run(pair), hf_model(TOKENS[:, :3]).logits[:, -1])


def test_it_has_the_digest_and_the_logits_of_the_files_that_it_came_from(hf_model, toy_directory):
    model, loaded = from_hf(hf_model, name="x"), load_model(toy_directory)
    assert model.digest == loaded.digest
    assert model.name == "x"
    pair = tokenize_pairs([PromptPair([1, 2, 3], [1, 5, 3], [4])]).clean_batch
    assert torch.equal(model.run(pair), loaded.run(pair))
    with torch.no_grad():
        hf_model.transformer.h[1].mlp.c_fc.bias[0] += 0.5
    assert from_hf(hf_model).digest != model.digest


def test_an_object_can_be_taken_twice(hf_model):
    assert from_hf(hf_model).digest == from_hf(hf_model).digest


def test_a_model_in_training_mode_is_refused_and_left_so(hf_model):
    hf_model.train()
    with pytest.raises(ModelError, match="model 'm': must be in evaluation mode"):
        from_hf(hf_model, name="m")
    assert hf_model.training


class Wrapped(torch.nn.Module):
    def merge_and_unload(self):
        raise AssertionError


@pytest.mark.without_shapes  # which refuses them itself
def test_objects_of_other_classes_are_refused_with_the_way_to_go(hf_model, toy):
    with pytest.raises(ModelError, match=r"must be a Hugging Face model .* got Wrapped\. .*merge"):
        from_hf(Wrapped())
    with pytest.raises(ModelError, match=r"got TransformerBridge\. .*from_bridge"):
        from_hf(toy.bridge)
    with pytest.raises(ModelError, match=r"got OrderedDict\. .*load_state_dict"):
        from_hf(hf_model.state_dict())
    with pytest.raises(ModelError, match="must have logits, got GPT2Model"):
        from_hf(GPT2Model(hf_model.config).eval())
    small = T5Config(d_model=8, d_ff=8, num_layers=1, num_heads=2, d_kv=4, vocab_size=11)
    with pytest.raises(DecompositionError, match="'t5' with an encoder and a decoder"):
        from_hf(T5ForConditionalGeneration(small).eval())


def test_weights_without_values_are_refused(hf_model):
    with pytest.raises(ModelError, match="must be on one device, got meta"):
        from_hf(copy.deepcopy(hf_model).to("meta"))
