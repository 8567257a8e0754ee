"""Small configurations of families with experts, latents, chunks, sinks or layers without heads."""

from collections.abc import Callable
from typing import Any

from transformers import (
    DeepseekV2Config,
    DeepseekV3Config,
    Gemma3Config,
    Gemma3TextConfig,
    Gemma4TextConfig,
    GptOssConfig,
    Llama4TextConfig,
    OlmoeConfig,
    PreTrainedConfig,
    Qwen2MoeConfig,
    Qwen3_5TextConfig,
    Qwen3NextConfig,
)

VOCAB, N_CTX, N_LAYERS, N_HEADS, N_GROUPS, D_MODEL = 37, 16, 3, 4, 2, 24
GROUPED: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": D_MODEL,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "num_key_value_heads": N_GROUPS,
    "intermediate_size": 40,
    "max_position_embeddings": N_CTX,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
SLIDING = {"sliding_window": 4, "head_dim": 10, "query_pre_attn_scalar": 20}
THREE_KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
TINY_VISION = {
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 16, "patch_size": 8,
}  # fmt: skip
LATENT = {
    "num_key_value_heads": N_HEADS, "q_lora_rank": 14, "kv_lora_rank": 10, "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4, "v_head_dim": 5, "moe_intermediate_size": 32, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "n_shared_experts": 1, "first_k_dense_replace": 1,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LINEAR = {
    "head_dim": 12, "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 5,
    "linear_value_head_dim": 6, "linear_conv_kernel_dim": 3, "rms_norm_eps": 0.1,
}  # fmt: skip
GLOBAL = {
    "sliding_window": 4, "head_dim": 10, "global_head_dim": 8, "num_global_key_value_heads": 1,
    "layer_types": ["sliding_attention", "full_attention", "full_attention"],
    "hidden_size_per_layer_input": 0, "rms_norm_eps": 0.01, "final_logit_softcapping": 6.0,
}  # fmt: skip

CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "gemma-3-multimodal": lambda: Gemma3Config(
        text_config=Gemma3TextConfig(**GROUPED, **SLIDING, layer_types=THREE_KINDS),
        vision_config=TINY_VISION,
        mm_tokens_per_image=4,
        initializer_range=0.3,
    ),
    "gpt-oss": lambda: GptOssConfig(
        **GROUPED,
        head_dim=10,
        sliding_window=4,
        num_local_experts=4,
        num_experts_per_tok=2,
        layer_types=THREE_KINDS,
    ),
    "qwen2-moe": lambda: Qwen2MoeConfig(
        **GROUPED, **EXPERTS, shared_expert_intermediate_size=48, mlp_only_layers=[0]
    ),
    "olmoe": lambda: OlmoeConfig(**GROUPED, num_experts=4, num_experts_per_tok=2, clip_qkv=1.5),
    "deepseek-v3": lambda: DeepseekV3Config(**GROUPED | LATENT, n_group=2, topk_group=1),
    "deepseek-v2": lambda: DeepseekV2Config(**GROUPED | LATENT | {"q_lora_rank": None}),
    "llama-4": lambda: Llama4TextConfig(
        **GROUPED,
        head_dim=10,
        intermediate_size_mlp=20,
        num_local_experts=4,
        num_experts_per_tok=1,
        moe_layers=[1, 2],
        no_rope_layers=[1, 0, 1],
        attention_chunk_size=4,
        floor_scale=2,
        attn_scale=0.5,
        layer_types=["chunked_attention", "full_attention", "chunked_attention"],
    ),
    "qwen3-next": lambda: Qwen3NextConfig(
        **GROUPED, **EXPERTS, **LINEAR, shared_expert_intermediate_size=48, mlp_only_layers=[0]
    ),
    "qwen3.5": lambda: Qwen3_5TextConfig(**GROUPED, **LINEAR),
    "gemma-4": lambda: Gemma4TextConfig(**GROUPED, **GLOBAL, attention_k_eq_v=True),
    "gemma-4-moe": lambda: Gemma4TextConfig(
        **GROUPED,
        **GLOBAL,
        enable_moe_block=True,
        num_experts=4,
        top_k_experts=2,
        moe_intermediate_size=32,
    ),
}

# What the page of architectures says of each: its name there, and what is particular.
NOTES: dict[str, tuple[str, str]] = {
    "gemma-3-multimodal": ("Gemma 3 (text and images)", "its text path; loaded as it is"),
    "gpt-oss": ("gpt-oss", "sinks, windows, experts"),
    "qwen2-moe": ("Qwen2 MoE", "experts and a shared one, some layers dense"),
    "olmoe": ("OLMoE", "norms of all queries and keys, clipped, experts"),
    "deepseek-v3": (
        "DeepSeek V3, R1",
        "latents of q and of k and v, experts by group, a shared one",
    ),
    "deepseek-v2": ("DeepSeek V2", "a latent of k and v, experts"),
    "llama-4": ("Llama 4 (text)", "chunks, layers that do not rotate, scaled queries, experts"),
    "qwen3-next": ("Qwen3-Next", "mixers without heads, gated heads, experts"),
    "qwen3.5": ("Qwen3.5 (text)", "mixers without heads, gated heads"),
    "gemma-4": ("Gemma 4 31B (text)", "values are keys, a scalar behind each block"),
    "gemma-4-moe": ("Gemma 4 26B-A4B (text)", "experts beside the MLP, two widths of heads"),
}
