"""Where the parts of families stand that the bridge lacks, told as changes to a family it knows."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components import (
    JointQKVAttentionBridge,
    LinearBridge,
)
from transformer_lens.model_bridge.sources import build_bridge_from_module

OTHER_SENSES = ("vision_config", "audio_config")  # of models that read more than text


class Layout(NamedTuple):
    """A family laid out as another one, after a change of the adapter's names."""

    architecture: str
    change: Callable[[Any], None] = lambda adapter: None


def own_bridge(hf_model: Any, tokenizer: Any) -> TransformerBridge | None:
    """Return the bridge of a family that the usual way does not wrap, None where it does."""
    layout = _layout_of(hf_model)
    if layout is None:
        return None
    return build_bridge_from_module(
        hf_model,
        layout.architecture,
        hf_config=copy.deepcopy(hf_model.config),
        tokenizer=tokenizer,
        dtype=hf_model.dtype,
        device=str(hf_model.device),
        post_adapter_hook=layout.change,
    )


def _layout_of(hf_model: Any) -> Layout | None:
    config = hf_model.config
    if config.model_type == "falcon" and config.new_decoder_architecture:
        one_norm = config.num_ln_in_parallel_attn == 1
        return Layout("FalconForCausalLM", partial(_new_falcon, one_norm=one_norm))
    kind: str = type(hf_model).__name__
    if any(hasattr(config, part) for part in OTHER_SENSES):
        # the usual way of wrapping looks for a processor, and installs packages where it finds none
        return LAYOUTS.get(kind) or Layout(kind)
    return LAYOUTS.get(kind)


def _new_falcon(adapter: Any, *, one_norm: bool) -> None:
    parts = adapter.component_mapping["blocks"].submodules
    parts["attn"].split_qkv_matrix = _by_group
    if one_norm:
        parts["ln1"].name = "input_layernorm"


def _by_group(attention: Any) -> tuple[nn.Linear, ...]:
    """Return q, k and v of a projection that has each group's queries, its key and its value."""
    fused, d_head = attention.query_key_value, attention.head_dim
    w = fused.weight.detach().unflatten(0, (attention.num_kv_heads, -1, d_head))
    b = None if fused.bias is None else fused.bias.detach().unflatten(0, w.shape[:3])
    which = (slice(None, -2), slice(-2, -1), slice(-1, None))
    return tuple(
        _linear(w[:, each].flatten(0, 2), None if b is None else b[:, each].flatten())
        for each in which
    )


def _by_thirds(attention: Any) -> tuple[nn.Linear, ...]:
    """Return q, k and v of a projection that has all queries, then all keys, then all values."""
    fused = attention.Wqkv
    biases = (None,) * 3 if fused.bias is None else fused.bias.detach().chunk(3)
    weights = fused.weight.detach().chunk(3)
    return tuple(_linear(w, b) for w, b in zip(weights, biases, strict=True))


def _linear(weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], len(weight), bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias, requires_grad=False)
    return made


def _interleaved(adapter: Any) -> None:
    adapter.cfg.rotary_adjacent_pairs = True


def _biogpt(adapter: Any) -> None:
    parts = adapter.component_mapping
    for part in parts.values():
        part.name = part.name.replace("model.decoder.", "biogpt.")
    parts["ln_final"].name = "biogpt.layer_norm"
    parts["unembed"].name = "output_projection"


def _modernbert(adapter: Any) -> None:
    parts = adapter.component_mapping
    parts["blocks"].submodules["attn"] = JointQKVAttentionBridge(
        name="attn",
        config=adapter.cfg,
        split_qkv_matrix=_by_thirds,
        submodules={"qkv": LinearBridge(name="Wqkv"), "o": LinearBridge(name="Wo")},
    )
    parts["prediction_head"].name = "head"
    adapter.cfg.attention_dir = "bidirectional"


def _modernbert_classifier(adapter: Any) -> None:
    _modernbert(adapter)
    adapter.component_mapping["unembed"].name = "classifier"


LAYOUTS = {
    "BioGptForCausalLM": Layout("OPTForCausalLM", _biogpt),
    "HeliumForCausalLM": Layout("LlamaForCausalLM", _interleaved),
    "MinistralForCausalLM": Layout("MistralForCausalLM"),
    "ModernBertForMaskedLM": Layout("ModernBertDecoderForCausalLM", _modernbert),
    "ModernBertForSequenceClassification": Layout(
        "ModernBertDecoderForCausalLM", _modernbert_classifier
    ),
}
