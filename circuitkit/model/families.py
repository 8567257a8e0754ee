"""What a family computes that its parts do not show: one entry per family, and nothing elsewhere.

The bridge finds norms, projections and MLPs. A family may use them in a way of its own: multiply
what is written, clamp projections, leave positions out of some layers, or keep its MLP within the
block. A family without an entry uses them in the usual way. Whether that is so is not assumed but
checked when a model is loaded (model/check.py).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from circuitkit.errors import DecompositionError


@dataclass(frozen=True)
class Family:
    """The rules of one family. Functions are given the family's own module or configuration.

    `mlp`: the modules of an MLP that is no function of its input alone, or is the block itself.
    `residual_scale`: what is written to the residual stream is multiplied with it. `alibi`: a bias
    of each head per position of the key, the same for every query. `head`: what stands between the
    final norm and the unembedding.
    """

    mlp: tuple[str, ...] = ()
    residual_scale: Callable[[Any], float] = lambda config: 1.0
    logit_scale: Callable[[Any], float] = lambda config: 1.0
    clip: Callable[[Any], float | None] = lambda attention: None
    rotates: Callable[[Any], bool] = lambda attention: True
    rotates_before_norm: bool = False
    wider_window: int = 0  # how much further a window reaches than its configuration says
    alibi: Callable[[Any, int], Tensor | None] | None = None
    query_scale: Callable[[Any, Tensor], Tensor | None] = lambda config, positions: None
    head: Callable[[Any], nn.Module | None] = lambda model: None
    needs_default_float64: bool = False  # of its own code: see as_meant
    needs_fused_attention: bool = False


def family_of(config: Any) -> Family:
    """Return the rules of the family that a configuration is of."""
    return FAMILIES.get(str(getattr(config, "model_type", "")), USUAL)


def mlp_of(family: Family, mlp: nn.Module) -> nn.Module:
    """Return an MLP that is a function of what its norm gives it alone."""
    return nn.Sequential(*(getattr(mlp, name) for name in family.mlp)) if family.mlp else mlp


@contextmanager
def as_meant(model: Any) -> Iterator[None]:
    """Let a family's own code compute what it is meant to within the block.

    XGLM's makes a constant in torch's default type, which must hold the smallest float64; Falcon's
    adds ALiBi twice but in fused attention, which is what it runs by default. A classification
    head takes the last token for padding if it happens to have that id.
    """
    config, family = model.config, family_of(model.config)
    before = torch.get_default_dtype(), config._attn_implementation
    padding = getattr(config, "pad_token_id", None)
    if hasattr(model, "score"):
        config.pad_token_id = None
    if family.needs_default_float64 and model.dtype == torch.float64:
        torch.set_default_dtype(torch.float64)
    if family.needs_fused_attention:
        config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        torch.set_default_dtype(before[0])
        config._attn_implementation = before[1]
        if hasattr(model, "score"):
            config.pad_token_id = padding


def alibi_bias(
    model: Any, positions: Int[Tensor, "row pos"], dtype: torch.dtype
) -> Float[Tensor, "row head 1 pos"] | None:
    """Return what ALiBi adds to the scores of each key, from the key's place in its prompt.

    A constant per query changes no pattern, so the place of the key stands for its distance
    (Press et al. 2022, arXiv:2108.12409).
    """
    family = family_of(getattr(model, "config", None))
    if family.alibi is None:
        return None
    table = family.alibi(model, int(positions.max()) + 1)
    if table is None:
        return None
    return table.to(positions.device, dtype)[:, positions].transpose(0, 1).unsqueeze(2)


def require_residual_stream(config: Any, where: str) -> None:
    """Refuse families whose blocks do not add to one residual stream.

    Raises:
        DecompositionError: naming the block, and what it does instead.
    """
    kind = str(getattr(config, "model_type", ""))
    if kind in POST_NORM or any(holds(config) for k, holds in SOMETIMES_POST_NORM if k == kind):
        raise DecompositionError(
            f"{where}, block 0 ({kind}): what is written must be added to a residual stream that "
            "later blocks read as it is, got a norm of the whole sum behind each addition. What "
            "a head writes would be another vector for every reader, so no edge has one value. "
            "Use a model with its norms in front."
        )


def _falcon_alibi(model: Any, n: int) -> Tensor | None:
    config = model.config
    if not config.alibi:
        return None
    d_head: int = config.hidden_size // config.num_attention_heads
    return _bloom_alibi(model, n).double() * float(d_head**-0.5)


def _bloom_alibi(model: Any, n: int) -> Tensor:
    n_heads = int(model.config.num_attention_heads)
    own: Any = sys.modules[type(model).__module__]
    places = torch.ones(1, n, dtype=torch.long)
    table: Tensor = own.build_alibi_tensor(places, n_heads, torch.float32).view(n_heads, n)
    return table


def _mpt_alibi(model: Any, n: int) -> Tensor:
    table: Tensor = model.transformer.build_mpt_alibi_tensor(model.config.n_heads, n)[:, 0]
    return table - table[:, :1]


def _growing(config: Any, positions: Tensor) -> Tensor | None:
    """Return what queries are multiplied with: more, the further they are from the first token."""
    beta = config.rope_parameters.get("llama_4_scaling_beta")
    if beta is None:
        return None
    length = config.rope_parameters["original_max_position_embeddings"]
    found: Tensor = 1 + beta * torch.log(1 + torch.floor(positions / length))
    return found


def _cohere_scale(config: Any) -> float:
    return float(config.logit_scale)


USUAL = Family()
MLP_OF_BLOCK = Family(mlp=("fc1", "activation_fn", "fc2"))
FAMILIES = {
    "biogpt": MLP_OF_BLOCK,
    "bloom": Family(mlp=("dense_h_to_4h", "gelu_impl", "dense_4h_to_h"), alibi=_bloom_alibi),
    "cohere": Family(logit_scale=_cohere_scale),
    "cohere2": Family(
        logit_scale=_cohere_scale, rotates=lambda attention: attention.sliding_window is not None
    ),
    "exaone4": Family(
        rotates=lambda attention: attention.sliding_window is None or attention.is_sliding
    ),
    "falcon": Family(
        alibi=_falcon_alibi,
        needs_fused_attention=True,
        rotates=lambda attention: not attention.config.alibi,
    ),
    "granite": Family(
        residual_scale=lambda config: float(config.residual_multiplier),
        logit_scale=lambda config: 1 / float(config.logits_scaling),
    ),
    "hunyuan_v1_dense": Family(rotates_before_norm=True),
    "ministral3": Family(query_scale=_growing),
    "modernbert": Family(head=lambda model: model.head, wider_window=1),
    "modernbert-decoder": Family(head=lambda model: model.lm_head),
    "mpt": Family(
        mlp=("up_proj", "act", "down_proj"),
        alibi=_mpt_alibi,
        clip=lambda attention: attention.clip_qkv,
    ),
    "opt": MLP_OF_BLOCK,
    "xglm": replace(MLP_OF_BLOCK, needs_default_float64=True),
}
# Families that normalise the residual stream itself, behind each addition to it.
POST_NORM = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "openai-gpt",
    "roberta",
    "xlm-roberta",
)
SOMETIMES_POST_NORM = (
    ("bloom", lambda config: config.apply_residual_connection_post_layernorm),
    ("opt", lambda config: not config.do_layer_norm_before),
)
