"""Small random models of every family, saved to disk as a user's would be, or made by the bridge.

Weights are large and norms uneven, so that softmax, norms and activations all matter; windows are
shorter than the prompts. No two axes share a size.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformer_lens import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    OlmoConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from circuitkit.model import SubjectModel, from_bridge
from circuitkit.zoo import load_model
from tests.families_sparse import CONFIGS as SPARSE

VOCAB, N_CTX, N_LAYERS, N_HEADS, N_GROUPS, D_MODEL = 37, 16, 3, 4, 2, 24
SPECIAL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": D_MODEL,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "intermediate_size": 40,
    "max_position_embeddings": N_CTX,
    "initializer_range": 0.3,
    **SPECIAL,
}
GROUPED = COMMON | {"num_key_value_heads": N_GROUPS}
OLDER: dict[str, Any] = {
    "vocab_size": VOCAB,
    "n_positions": N_CTX,
    "n_embd": D_MODEL,
    "n_layer": N_LAYERS,
    "n_head": N_HEADS,
    "initializer_range": 0.3,
    **SPECIAL,
}
SLIDING = {"sliding_window": 4, "head_dim": 10, "query_pre_attn_scalar": 20}
THREE_KINDS = ["sliding_attention", "full_attention", "sliding_attention"]

CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "gpt2": lambda: GPT2Config(**OLDER, scale_attn_by_inverse_layer_idx=True),
    "gpt-neo": lambda: GPTNeoConfig(
        **{k: v for k, v in COMMON.items() if "num_" not in k},
        num_layers=N_LAYERS + 1,
        num_heads=N_HEADS,
        attention_types=[[["global", "local"], 2]],
        window_size=4,
    ),
    "gpt-neox": lambda: GPTNeoXConfig(**COMMON, rotary_pct=0.35),
    "gpt-neox-sequential": lambda: GPTNeoXConfig(**COMMON, use_parallel_residual=False),
    "gpt-j": lambda: GPTJConfig(**OLDER, rotary_dim=4),
    "falcon": lambda: FalconConfig(
        **{k: v for k, v in COMMON.items() if k != "intermediate_size"},
        multi_query=True,
        parallel_attn=True,
        new_decoder_architecture=False,
    ),
    "llama": lambda: LlamaConfig(**GROUPED),
    "llama-3": lambda: LlamaConfig(
        **GROUPED,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 2.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8,
        },
    ),
    "mistral": lambda: MistralConfig(**GROUPED, sliding_window=4),
    "qwen2": lambda: Qwen2Config(**GROUPED),
    "qwen3": lambda: Qwen3Config(**GROUPED, head_dim=10),
    "phi-3": lambda: Phi3Config(**GROUPED),
    "gemma": lambda: GemmaConfig(**GROUPED, head_dim=10),
    "gemma-2": lambda: Gemma2Config(
        **GROUPED, **SLIDING, attn_logit_softcapping=3.0, final_logit_softcapping=6.0
    ),
    "gemma-3": lambda: Gemma3TextConfig(**GROUPED, **SLIDING, layer_types=THREE_KINDS),
    "olmo": lambda: OlmoConfig(**GROUPED, clip_qkv=None),
    "olmo-2": lambda: Olmo2Config(**GROUPED),
    "mixtral": lambda: MixtralConfig(**GROUPED, num_local_experts=3),
    "qwen3-moe": lambda: Qwen3MoeConfig(
        **GROUPED, head_dim=10, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=11
    ),
}
CONFIGS |= SPARSE

NATIVE: dict[str, dict[str, Any]] = {
    "native": {"normalization_type": "LN", "act_fn": "gelu"},
    "native-llama": {
        "normalization_type": "RMS",
        "act_fn": "silu",
        "gated_mlp": True,
        "n_key_value_heads": N_GROUPS,
        "positional_embedding_type": "rotary",
        "attn_scores_soft_cap": 3.0,
        "output_logits_soft_cap": 6.0,
    },
    "native-attention-only": {"normalization_type": None, "attn_only": True},
    "native-bidirectional": {
        "normalization_type": "LNPre",
        "act_fn": "relu",
        "attention_dir": "bidirectional",
    },
}

FAMILIES = (*CONFIGS, *NATIVE)
PARALLEL = ("gpt-neox", "gpt-j", "falcon")


def save_family(name: str, directory: Path, seed: int = 0) -> Path:
    """Save a random model of a Hugging Face family."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[name]())
    unsettle(model)
    model.save_pretrained(directory)
    return directory


def unsettle(model: torch.nn.Module) -> None:
    """Give norms uneven weights and every bias a value."""
    for name, parameter in model.named_parameters():
        is_norm = "norm" in name or "ln" in name.split(".")[-2]
        if is_norm and name.endswith("weight"):
            torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean().round()), std=0.3)
        elif name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    for name, buffer in model.named_buffers():
        if name.endswith("layer_scalar"):
            buffer.fill_(0.7)


def make_native(name: str, seed: int = 0) -> SubjectModel:
    """Return a random model of TransformerBridge's own, in float64."""
    torch.manual_seed(seed)
    config = TransformerBridgeConfig(
        d_model=D_MODEL,
        d_head=6,
        n_layers=N_LAYERS,
        n_heads=N_HEADS,
        n_ctx=N_CTX,
        d_vocab=VOCAB,
        d_mlp=40,
        **NATIVE[name],
    )
    bridge = TransformerBridge.boot_native(config)
    for parameter in bridge.original_model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    unsettle(bridge.original_model)
    bridge.original_model.double()
    bridge.eval()
    return from_bridge(bridge, name=name)


KNOWN: dict[str, tuple[SubjectModel, list[float]]] = {}


def make_family(name: str, directory: Path) -> SubjectModel:
    """Return a random model of a family in float64, made once a session: nobody may change it."""
    if name not in KNOWN:
        made = save_family(name, directory) if name not in NATIVE else None
        model = load_model(made, dtype=torch.float64) if made else make_native(name)
        KNOWN[name] = model, sizes_of(model)
    model, sizes = KNOWN[name]
    assert sizes_of(model) == sizes, f"a test has changed the weights of {name}"
    return model


def sizes_of(model: SubjectModel) -> list[float]:
    """Return the length of every weight, which tells whether one was changed."""
    return [float(tensor.double().norm()) for tensor in model.bridge.state_dict().values()]
