"""One transformer block taken apart, and how it is read off the wrapped modules of a family.

    resid mid   =  resid pre + attention(resid pre)
    resid post  =  resid mid + mlp(resid mid)             sequential blocks
    resid post  =  resid mid + mlp(resid pre)             parallel blocks

Every part is read from TransformerBridge's component of that name. Whether the parts add up to the
family's own forward pass is not assumed but checked when a model is loaded (model/check.py).
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from circuitkit.circuits.graph import READS
from circuitkit.errors import DecompositionError
from circuitkit.model.attention import Attention, HeadNorm
from circuitkit.model.context import text_config
from circuitkit.model.families import family_of, mlp_of
from circuitkit.model.gated import GatedAttention
from circuitkit.model.gemma4 import mlp_and_experts, scalar_behind
from circuitkit.model.latent import latent_attention, reads_of
from circuitkit.model.mixer import Mixer, mixer_of
from circuitkit.model.norms import Norm, identity, norm_of
from circuitkit.model.precision import own_type
from circuitkit.moved import old_names
from circuitkit.work.text import error_text

if TYPE_CHECKING:
    from circuitkit.model.units import MLPUnits

MIXERS = ("linear_attn",)  # what blocks without heads call what mixes positions


@dataclass(frozen=True)
class MLP:
    """A block's MLP, mixtures of experts included: norm, module, and a norm behind it if any.

    `unit` is what the family's own residual stream is over ours (model/gemma4.py).
    """

    norm: Norm
    module: nn.Module
    post_norm: Norm | None
    out_module: nn.Module | None  # its last projection, whose input are the neurons
    scale: float = 1.0  # of what it adds
    unit: float = 1.0

    def __call__(self, x: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row d_model"]:
        """Return what the MLP adds to the residual stream, given what it reads of it."""
        wide = self.norm(x if self.unit == 1 else x * self.unit)
        with own_type(x.dtype):
            out = self.module(wide if wide.ndim == 3 else wide.unsqueeze(1))
        if isinstance(out, tuple):  # mixtures of experts may return their routing too
            out = out[0]
        out = out.reshape(x.shape)
        out = out if self.post_norm is None else self.post_norm(out)
        out = out if self.scale == 1 else out * self.scale
        return out if self.unit == 1 else out / self.unit

    @contextmanager
    def hooked_neurons(self, hook: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
        """Let `hook` see, and replace, the input of the last projection within the block."""
        assert self.out_module is not None

        def call(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
            found = hook(arguments[0])
            return None if found is None else (found, *arguments[1:])

        handle = self.out_module.register_forward_pre_hook(call)
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class Layer:
    """One block."""

    attention: Attention
    mlp: MLP | None  # None in attention-only models
    is_parallel: bool
    unit_behind: float = 1.0  # of the family's own residual stream behind it, over ours
    units: "MLPUnits | None" = None  # what the MLP is taken apart into

    def mlp_writes(
        self, x: Float[Tensor, "row pos d_model"]
    ) -> Float[Tensor, "part row pos d_model"]:
        """Return what each part of the MLP writes, given what all of them read."""
        assert self.mlp is not None
        if self.units is None:
            return self.mlp(x).unsqueeze(0)
        return self.units.writes(self.units.parts(self.mlp, x))


def layer_from_block(
    bridge: Any, index: int, where: str, softmax_share: float = 1.0, unit: float = 1.0
) -> Layer:
    """Return a block of the bridge, taken apart; `unit` is what its stream is over ours.

    Raises:
        DecompositionError: a part is missing or of a kind that cannot be taken apart.
    """
    block = bridge.blocks[index]
    where = f"{where}, block {index}"
    parallel = bool(bridge.cfg.parallel_attn_mlp)
    try:
        scalar = scalar_behind(block, where)
        attention = _attention_of(bridge, block, index, where, softmax_share)
        mlp = _mlp_of(bridge, block, attention, parallel, where)
        if unit != 1:
            attention, mlp = attention.in_unit(unit), mlp and replace(mlp, unit=unit)
        return Layer(attention, mlp, parallel, unit * scalar)
    except (AttributeError, IndexError, RuntimeError, TypeError) as error:
        raise DecompositionError(
            f"{where} ({type(block.original_component).__name__}): must come apart into heads and "
            f"an MLP, got {error_text(error)}. Some part of this architecture is not "
            "understood. Use another model."
        ) from error


def part(component: Any, name: str) -> Any:
    """Return the module behind a component's part, None where it has none."""
    found = component._modules.get(name)
    return None if found is None else found.original_component


def _attention_of(
    bridge: Any, block: Any, index: int, where: str, softmax_share: float
) -> Attention:
    attn, cfg = block._modules.get("attn"), bridge.cfg
    mixer = _mixer_of(block, int(cfg.d_model), where) if attn is None else None
    if mixer is not None:
        return mixer
    latent = attn is not None and hasattr(attn.original_component, "kv_a_proj_with_mqa")
    weights = _projections(block, ("o",) if latent else (*READS, "o"), where)
    module = attn.original_component
    d_head = int(getattr(module, "v_head_dim" if latent else "head_dim", cfg.d_head))
    d_model = int(cfg.d_model)
    family, config = family_of(text_config(bridge)), text_config(bridge)
    wo, b_out = _scaled(matrix_of(weights["o"], where), family.residual_scale(config))
    norm = norm_of(part(block, "ln1"), d_model, wo, f"{where}, norm before attention")
    post_norm = _post_norm(block, "ln1_post", b_out, wo, where)
    n_heads = wo.shape[0] // d_head
    w_out = wo if post_norm is None else wo * post_norm.weight
    common = Attention(
        norm=norm,
        reads=(),
        b=wo.new_zeros(0),
        w_out=w_out.reshape(n_heads, d_head, d_model),
        b_out=b_out,
        n_kv_heads=1,
        scale=_scale(module, d_head, index, config),
        softcap=_softcap(module),
        q_norm=_head_norm(attn, "q_norm", d_head, wo, where),
        k_norm=_head_norm(attn, "k_norm", d_head, wo, where),
        v_norm=_head_norm(attn, "v_norm", d_head, wo, where),
        post_norm=post_norm,
        w_out_plain=None if post_norm is None else wo,
        softmax_share=softmax_share,
        sinks=None if (sinks := getattr(module, "sinks", None)) is None else sinks.detach(),
        clip=getattr(config, "clip_qkv", None) or family.clip(module),
        rotates_before_norm=family.rotates_before_norm or hasattr(module, "qk_norm"),
    )
    if latent:
        return latent_attention(common, module, lambda x: matrix_of(x, where), where)
    return _with_reads(common, [matrix_of(weights[read], where) for read in READS])


def _mixer_of(block: Any, d_model: int, where: str) -> Mixer | None:
    """Return what mixes positions in a block without heads, None where nothing known does."""
    module = next((m for n in MIXERS if (m := part(block, n)) is not None), None)
    if module is None:
        return None
    like = next(module.parameters()).detach()
    norm = norm_of(part(block, "ln1"), d_model, like, f"{where}, norm before mixing")
    return mixer_of(module, norm, like)


def _projections(block: Any, names: tuple[str, ...], where: str) -> dict[str, Any]:
    """Return the modules of a block's attention of these names."""
    attn = block._modules.get("attn")
    weights = {} if attn is None else {name: part(attn, name) for name in names}
    if getattr(getattr(attn, "original_component", None), "use_alternative_attention", False):
        weights["v"] = weights["k"]  # Gemma 4: values are keys, behind another norm
    if attn is None or any(module is None for module in weights.values()):
        kind = type(block.original_component).__name__
        raise DecompositionError(
            f"{where} ({kind}): must have attention with q, k, v and output projections, got "
            f"parts {sorted(block._modules)}. State-space blocks, convolutions and fused variants "
            "do not split into heads. Use a transformer decoder."
        )
    return weights


def _with_reads(common: Attention, parts: list[tuple[Tensor, Tensor]]) -> Attention:
    """Return the attention with the projections of q, k and v; q may hold a gate beside it."""
    n_heads, d_head, norm = common.n_heads, common.d_head, common.norm
    n_kv_heads = parts[1][0].shape[1] // d_head
    gated = parts[0][0].shape[1] == 2 * n_heads * d_head
    counts = (n_heads, n_kv_heads, n_kv_heads)
    read = reads_of(norm, list(zip(parts, counts, strict=True)))
    kind = GatedAttention if gated else Attention
    return kind(**vars(common) | read | {"n_kv_heads": n_kv_heads})


def _scaled(pair: tuple[Tensor, Tensor], by: float) -> tuple[Tensor, Tensor]:
    return pair if by == 1.0 else (pair[0] * by, pair[1] * by)


def _mlp_of(
    bridge: Any, block: Any, attention: Attention, parallel: bool, where: str
) -> MLP | None:
    component = block._modules.get("mlp")
    if component is None or component.original_component is None:
        return None
    both = mlp_and_experts(block)
    if both is not None:
        like = attention.w_out
        post_norm = _post_norm(block, "ln2_post", None, like, where)
        return MLP(identity(like.shape[-1], like), both, post_norm, None)
    config, inner = text_config(bridge), block.original_component
    family = family_of(config)
    module = mlp_of(family, component.original_component)
    _require_one_input(module, f"{where} ({type(inner).__name__})")
    like, width = attention.w_out, attention.w_out.shape[-1]
    own = part(block, "ln2")
    if own is None and parallel:
        norm = attention.norm  # GPT-J: one norm in front of both
    else:
        norm = norm_of(own, width, like, f"{where}, norm before the MLP")
    post_norm = _post_norm(block, "ln2_post", None, like, where)
    out = component._modules.get("out")
    return MLP(norm, module, post_norm, out, family.residual_scale(config))


def _require_one_input(module: Any, where: str) -> None:
    """Refuse an MLP that reads more than what its norm gives it (BLOOM's adds the residual)."""
    empty, by_name = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    given = inspect.signature(module.forward).parameters.values()
    needed = [p.name for p in given if p.default is empty and p.kind not in kinds]
    if len(needed) > 1 or any(p.kind == by_name for p in given if p.name in needed):
        raise DecompositionError(
            f"{where}: an MLP must be a function of what it reads alone, got "
            f"{type(module).__name__} with the inputs {', '.join(needed)}. What it adds to "
            "the residual stream cannot be told apart. This architecture is not supported; use "
            "another model."
        )


def matrix_of(module: Any, where: str) -> tuple[Tensor, Tensor]:
    """Return weight [in, out] and bias [out] of a linear projection.

    Raises:
        DecompositionError: it is not one, as when its weights are quantised.
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise DecompositionError(
            f"{where}: every projection must be a matrix of floats, got "
            f"{type(module).__name__}. Quantised weights cannot be taken apart. Load the model in "
            "float32 or bfloat16."
        )
    weight = weight.detach()
    weight = weight if isinstance(module, Conv1D) else weight.T
    bias = getattr(module, "bias", None)
    return weight, weight.new_zeros(weight.shape[1]) if bias is None else bias.detach()


def _post_norm(block: Any, name: str, bias: Tensor | None, like: Tensor, where: str) -> Norm | None:
    module = part(block, name)
    if module is None:
        return None
    norm = norm_of(module, like.shape[-1], like, f"{where}, {name}")
    if norm.is_centred or bool(norm.bias.any()) or (bias is not None and bool(bias.any())):
        raise DecompositionError(
            f"{where}, {name}: a norm behind attention or MLP must be an RMSNorm without bias, got "
            "one whose constant part depends on the run. Heads would have no share of their own. "
            "This architecture is not supported."
        )
    return norm


def _head_norm(attn: Any, name: str, d_head: int, like: Tensor, where: str) -> HeadNorm | None:
    module = part(attn, name)
    if module is None and name != "v_norm":  # Llama 4: one of both, behind the rotation
        module = getattr(attn.original_component, "qk_norm", None)
    if module is None:
        return None
    where, weight = f"{where}, {name}", getattr(module, "weight", None)
    if hasattr(module, "norms"):  # StableLM: a module for each head
        by_head = list(module.norms)
    elif weight is not None and weight.ndim == 2:  # Cohere: a row of weights for each head
        by_head = [_RowOfNorm(module, row) for row in range(len(weight))]
    else:
        width = d_head if weight is None else int(weight.numel())
        return HeadNorm(norm_of(module, width, like, where), is_joint=width != d_head)
    norms = [norm_of(one, d_head, like, where) for one in by_head]
    weight, bias = (torch.cat([getattr(n, x) for n in norms]) for x in ("weight", "bias"))
    return HeadNorm(replace(norms[0], weight=weight, bias=bias), is_joint=False)


class _RowOfNorm:
    """A norm of several heads, as that of one of them."""

    def __init__(self, module: Any, row: int) -> None:
        self.module, self.row, self.weight, self.bias = module, row, module.weight[row], None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def __call__(self, x: Float[Tensor, " d_head"]) -> Float[Tensor, " d_head"]:
        """Return the norm of what this head has."""
        normed: Tensor = self.module(x)
        return normed[self.row]


def _scale(module: Any, d_head: int, index: int, config: Any) -> float:
    """Return what the family multiplies q . k with."""
    kind = getattr(config, "model_type", "")
    if kind == "gpt_neo":
        return 1.0
    for name in ("scaling", "softmax_scale"):
        if hasattr(module, name):
            return float(getattr(module, name))
    if hasattr(module, "scale_attn"):
        return 1 / float(module.scale_attn)
    if kind == "gpt2":
        scale = d_head**-0.5 if getattr(config, "scale_attn_weights", True) else 1.0
        by_layer = getattr(config, "scale_attn_by_inverse_layer_idx", False)
        return scale / (index + 1) if by_layer else scale
    if isinstance(getattr(module, "scale", None), float):  # TransformerBridge's own models
        return 1 / float(module.scale)
    return float(d_head**-0.5)


def _softcap(module: Any) -> float | None:
    for name in ("attn_logit_softcapping", "attn_scores_soft_cap"):
        cap = getattr(module, name, None)
        if cap is not None and cap > 0:
            return float(cap)
    return None


if not TYPE_CHECKING:  # names that this module had
    __getattr__ = old_names(__name__)
