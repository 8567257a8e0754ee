"""Where an edit is stored: models hold a projection as [d_mlp, d_model] or the other way round."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import circuitkit as ck
from circuitkit.control.editing.projection import keys_of, projection_of
from circuitkit.model.changed import with_weights
from circuitkit.model.check import probe


@pytest.fixture(scope="module")
def llama():
    """A small model whose projections are linear layers, [d_model, d_mlp] in its files."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=29,
        hidden_size=12,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
    )
    return LlamaForCausalLM(config).double().eval()


def test_a_rank_one_change_of_a_linear_layer_moves_a_key_to_its_value(llama):
    model, batch = ck.from_hf(llama), probe(29, 24)
    [keys] = keys_of(model, batch, (1,))
    projection = projection_of(model, 1)
    assert projection.name == "model.layers.1.mlp.down_proj.weight"
    assert torch.equal(projection.stored(projection.weight), llama.get_parameter(projection.name))
    key = keys[0, -1].double()
    target = torch.randn(12, dtype=torch.float64)
    step = torch.outer(key, target - projection.values(key)) / (key @ key)
    changed = with_weights(model, {projection.name: projection.stored(projection.weight + step)})
    assert torch.allclose(projection_of(changed, 1).values(key), target, atol=1e-10)
    [own] = keys_of(changed, batch, (1,))
    assert torch.equal(own, keys)  # what it reads is as it was
