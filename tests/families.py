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
    ApertusConfig,
    ArceeConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BioGptConfig,
    BloomConfig,
    CodeGenConfig,
    Cohere2Config,
    CohereConfig,
    Ernie4_5Config,
    Exaone4Config,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    Glm4Config,
    GlmConfig,
    GPT2Config,
    GPTBigCodeConfig,
    GPTJConfig,
    GPTNeoConfig,
    GPTNeoXConfig,
    GraniteConfig,
    HeliumConfig,
    HunYuanDenseV1Config,
    LlamaConfig,
    Ministral3Config,
    MinistralConfig,
    MistralConfig,
    MixtralConfig,
    ModernBertConfig,
    ModernBertDecoderConfig,
    MptConfig,
    NemotronConfig,
    Olmo2Config,
    Olmo3Config,
    OlmoConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    SeedOssConfig,
    SmolLM3Config,
    StableLmConfig,
    Starcoder2Config,
    XGLMConfig,
)

from circuitkit.model import SubjectModel, from_bridge
from circuitkit.zoo import load_model
from tests.families_sparse import CONFIGS as SPARSE
from tests.families_sparse import NOTES as SPARSE_NOTES

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
N_LABELS = VOCAB + 4  # of classifiers: answers of the tests are below both


def without(sizes: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return sizes but for those that a family calls otherwise."""
    return {name: size for name, size in sizes.items() if name not in names}


FALCON = without(COMMON, "intermediate_size")
OTHER = {"vocab_size": VOCAB, "max_position_embeddings": N_CTX, **SPECIAL}
BIGSCIENCE = {"vocab_size": VOCAB, "initializer_range": 0.3, **SPECIAL}
MODERNBERT = COMMON | {"layer_types": THREE_KINDS, "cls_token_id": 0, "sep_token_id": 0}

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

CONFIGS |= {
    "granite": lambda: GraniteConfig(
        **GROUPED,
        embedding_multiplier=3.0,
        residual_multiplier=0.4,
        attention_multiplier=0.3,
        logits_scaling=0.3,
        attention_bias=True,
    ),
    "stablelm": lambda: StableLmConfig(**GROUPED, partial_rotary_factor=0.35),
    "stablelm-parallel": lambda: StableLmConfig(
        **GROUPED,
        partial_rotary_factor=0.35,
        use_parallel_residual=True,
        qk_layernorm=True,
        use_qkv_bias=True,
    ),
    "opt": lambda: OPTConfig(**without(COMMON, "intermediate_size"), ffn_dim=40, init_std=0.3),
    "xglm": lambda: XGLMConfig(
        **OTHER,
        d_model=D_MODEL,
        num_layers=N_LAYERS,
        ffn_dim=40,
        attention_heads=N_HEADS,
        init_std=0.3,
    ),
    "biogpt": lambda: BioGptConfig(**COMMON),
    "cohere": lambda: CohereConfig(**GROUPED, logit_scale=0.3, use_qk_norm=True),
    "cohere-2": lambda: Cohere2Config(
        **GROUPED, logit_scale=0.3, sliding_window=4, layer_types=THREE_KINDS
    ),
    "falcon-two-norms": lambda: FalconConfig(
        **FALCON, new_decoder_architecture=True, num_kv_heads=N_GROUPS
    ),
    "falcon-one-norm": lambda: FalconConfig(
        **FALCON,
        new_decoder_architecture=True,
        num_kv_heads=N_GROUPS,
        num_ln_in_parallel_attn=1,
        bias=True,
    ),
    "falcon-alibi": lambda: FalconConfig(
        **FALCON, alibi=True, multi_query=False, parallel_attn=False, bias=True
    ),
    "bloom": lambda: BloomConfig(
        **BIGSCIENCE, hidden_size=D_MODEL, n_layer=N_LAYERS, n_head=N_HEADS
    ),
    "mpt": lambda: MptConfig(
        **BIGSCIENCE,
        d_model=D_MODEL,
        n_layers=N_LAYERS,
        n_heads=N_HEADS,
        max_seq_len=N_CTX,
        expansion_ratio=2,
        attn_config={"clip_qkv": 0.7},
    ),
    "olmo-clipped": lambda: OlmoConfig(**GROUPED, clip_qkv=0.7),
    "olmo-3": lambda: Olmo3Config(**GROUPED, sliding_window=4, layer_types=THREE_KINDS),
    "phi": lambda: PhiConfig(**GROUPED, partial_rotary_factor=0.7),
    "starcoder-2": lambda: Starcoder2Config(**GROUPED, sliding_window=4),
    "gpt-bigcode": lambda: GPTBigCodeConfig(**OLDER, multi_query=True),
    "codegen": lambda: CodeGenConfig(**OLDER, rotary_dim=4),
    "smollm-3": lambda: SmolLM3Config(**GROUPED, no_rope_layers=[1, 0, 1]),
    "glm": lambda: GlmConfig(**GROUPED, head_dim=6),
    "glm-4": lambda: Glm4Config(**GROUPED, head_dim=6),
    "exaone-4": lambda: Exaone4Config(**GROUPED, sliding_window=4, layer_types=THREE_KINDS),
    "nemotron": lambda: NemotronConfig(**GROUPED),
    "seed-oss": lambda: SeedOssConfig(**GROUPED, head_dim=10),
    "apertus": lambda: ApertusConfig(**GROUPED),
    "ernie-4.5": lambda: Ernie4_5Config(**GROUPED, head_dim=10, use_bias=True),
    "ministral": lambda: MinistralConfig(
        **GROUPED, head_dim=10, sliding_window=4, layer_types=THREE_KINDS
    ),
    "ministral-3": lambda: Ministral3Config(
        **GROUPED,
        head_dim=10,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 4,
            "llama_4_scaling_beta": 0.5,
        },
    ),
    "helium": lambda: HeliumConfig(**GROUPED, head_dim=6),
    "arcee": lambda: ArceeConfig(**GROUPED),
    "hunyuan": lambda: HunYuanDenseV1Config(**GROUPED, head_dim=10),
    "yarn": lambda: LlamaConfig(
        **GROUPED,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 2.0,
            "original_max_position_embeddings": 8,
        },
    ),
    "modernbert": lambda: ModernBertConfig(**MODERNBERT, local_attention=6),
    "modernbert-decoder": lambda: ModernBertDecoderConfig(**MODERNBERT, local_attention=8),
    "gpt2-classifier": lambda: GPT2Config(**OLDER, num_labels=N_LABELS),
    "gemma-2-classifier": lambda: Gemma2Config(
        **GROUPED, **SLIDING, final_logit_softcapping=6.0, num_labels=N_LABELS
    ),
}
CLASSES = {  # of models with another head than a causal language model's
    "modernbert": AutoModelForMaskedLM,
    "gpt2-classifier": AutoModelForSequenceClassification,
    "gemma-2-classifier": AutoModelForSequenceClassification,
}

NOTES = {  # what the page of architectures says of each: its name, and what is particular
    "gpt2": ("GPT-2", "scaling by layer as an option"),
    "gpt-neo": ("GPT-Neo", "unscaled attention, local windows"),
    "gpt-neox": ("GPT-NeoX, Pythia", "parallel: heads do not feed their own layer's MLP"),
    "gpt-neox-sequential": ("GPT-NeoX, sequential", "partial rotation"),
    "gpt-j": ("GPT-J", "parallel, one norm in front of both, interleaved rotation"),
    "falcon": ("Falcon 7B", "parallel, one key and value for all heads"),
    "llama": ("Llama 1, 2", "grouped queries"),
    "llama-3": ("Llama 3", "grouped queries, rotation scaled by frequency"),
    "mistral": ("Mistral", "grouped queries, a sliding window"),
    "qwen2": ("Qwen2", "grouped queries, biases of q, k and v"),
    "qwen3": ("Qwen3", "norm of each query and key: receivers write in front of it"),
    "phi-3": ("Phi-3", "fused projections"),
    "gemma": ("Gemma 1", "norm weights stored less one, scaled embedding"),
    "gemma-2": ("Gemma 2", "norms behind attention and MLP, soft caps, windows"),
    "gemma-3": ("Gemma 3 (text)", "norms behind, norms of q and k, two rotations"),
    "olmo": ("OLMo 1", "norms without weights"),
    "olmo-2": ("OLMo 2", "norm of all queries at once, norms behind attention and MLP only"),
    "mixtral": ("Mixtral", "mixture of experts: one sender and one receiver a layer"),
    "qwen3-moe": ("Qwen3 MoE", "mixture of experts: one sender and one receiver a layer"),
    "granite": ("Granite 3", "four multipliers: those of writes are in the writes"),
    "stablelm": ("StableLM", "LayerNorm, partial rotation"),
    "stablelm-parallel": ("StableLM 2 12B", "parallel, norms of q and k with weights per head"),
    "opt": ("OPT", "the MLP stands in the block"),
    "xglm": ("XGLM", "the MLP stands in the block, fixed positions"),
    "biogpt": ("BioGPT", "the MLP stands in the block, scaled embedding"),
    "cohere": ("Cohere (Command R)", "parallel, scaled logits, norms of q and k per head"),
    "cohere-2": ("Cohere 2 (Command R7B)", "parallel, scaled logits, full layers do not rotate"),
    "falcon-two-norms": ("Falcon 40B, 180B", "parallel, a norm each, fused by group"),
    "falcon-one-norm": ("Falcon 2 11B", "parallel, one norm, fused by group"),
    "falcon-alibi": ("Falcon RW", "ALiBi, sequential"),
    "bloom": ("BLOOM", "ALiBi, norm of the embedding, the MLP adds the residual itself"),
    "mpt": ("MPT", "ALiBi, clipped q, k and v, the MLP adds the residual itself"),
    "olmo-clipped": ("OLMo 1 7B", "clipped q, k and v"),
    "olmo-3": ("OLMo 3", "as OLMo 2, with windows"),
    "phi": ("Phi-1, Phi-2", "parallel, partial rotation"),
    "starcoder-2": ("StarCoder 2", "LayerNorm, a sliding window"),
    "gpt-bigcode": ("GPT-BigCode, StarCoder", "one key and value for all heads"),
    "codegen": ("CodeGen", "parallel, fused projections, interleaved rotation"),
    "smollm-3": ("SmolLM 3", "some layers do not rotate"),
    "glm": ("GLM", "interleaved partial rotation"),
    "glm-4": ("GLM 4", "interleaved partial rotation, norms behind attention and MLP"),
    "exaone-4": ("EXAONE 4", "norms behind only, norms of q and k, full layers do not rotate"),
    "nemotron": ("Nemotron", "norm weights stored less one, squared ReLU, partial rotation"),
    "seed-oss": ("Seed-OSS", "grouped queries, biases"),
    "apertus": ("Apertus", "xIELU, norms of q and k"),
    "ernie-4.5": ("ERNIE 4.5", "interleaved rotation, biases"),
    "ministral": ("Ministral", "sliding and full layers in turn"),
    "ministral-3": ("Ministral 3", "YaRN, queries scaled by position"),
    "helium": ("Helium", "interleaved rotation"),
    "arcee": ("Arcee", "squared ReLU"),
    "hunyuan": ("HunYuan dense", "norms of q and k behind the rotation"),
    "yarn": ("Llama with YaRN", "rotation scaled by frequency, and scores with it"),
    "modernbert": ("ModernBERT", "bidirectional, masked words, a head with an activation"),
    "modernbert-decoder": ("ModernBERT decoder", "windows, a head with an activation"),
    "gpt2-classifier": ("GPT-2 with a classification head", "labels are the vocabulary"),
    "gemma-2-classifier": ("Gemma 2 with a classification head", "labels are the vocabulary"),
    "native": ("`boot_native` models", "as HookedTransformer builds them"),
    "native-llama": ("`boot_native`, gated", "RMSNorm, rotation, soft caps"),
    "native-attention-only": ("`boot_native`, attention only", "no norms, no MLPs"),
    "native-bidirectional": ("`boot_native`, bidirectional", "norms without weights"),
}

NOTES |= SPARSE_NOTES
FAMILIES = (*CONFIGS, *NATIVE)
PARALLEL = (
    "gpt-neox", "gpt-j", "falcon", "falcon-two-norms", "falcon-one-norm", "stablelm-parallel",
    "cohere", "cohere-2", "phi", "codegen",
)  # fmt: skip


STRUCTURES = (  # one of each kind of block
    "gpt2", "gpt-j", "llama-3", "gemma-2", "mixtral", "native-attention-only",
    "native-bidirectional", "bloom", "stablelm-parallel", "ministral-3",
)  # fmt: skip
VARIED = (  # one for every rule that a family of heads and MLPs may have of its own
    *STRUCTURES, "gpt-neo", "gpt-neox", "gpt-neox-sequential", "falcon", "qwen3", "phi-3",
    "gemma-3", "olmo-2", "qwen3-moe", "native", "native-llama", "granite", "opt",
    "cohere-2", "mpt", "hunyuan", "gpt2-classifier", "gpt-oss",
    "llama-4", "qwen2-moe",
)  # fmt: skip


def save_family(name: str, directory: Path, seed: int = 0) -> Path:
    """Save a random model of a Hugging Face family."""
    torch.manual_seed(seed)
    model = CLASSES.get(name, AutoModelForCausalLM).from_config(CONFIGS[name]())
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
