"""What a batch of prompts fixes before the first layer: who sees whom, and where each token is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.errors import DecompositionError
from circuitkit.model.attention import LayerContext, Rotary
from circuitkit.model.families import family_of
from circuitkit.prompts.answers import Branches
from circuitkit.prompts.batch import PromptBatch
from circuitkit.work.devices import sent

ATTENTION_KINDS = {
    "full_attention": False,
    "sliding_attention": True,
    "chunked_attention": False,
    "linear_attention": False,
    "global": False,
    "local": True,
}
CHUNKED = "chunked_attention"
WITHOUT_MASKS = "circuitkit"  # no attention that Hugging Face knows
LATENT = ("deepseek_v3",)  # pairs that are turned are neighbours, if `rope_interleave` says so


@dataclass(frozen=True)
class Context:
    """The context of every layer, and at which columns each row's logits are read.

    Layers that share a mask or a rotation share its memory; one row stands for all where they are
    equal.
    """

    layers: tuple[LayerContext, ...]
    labelled: Int[Tensor, "row label"]

    def repeated(self, n: int) -> "Context":
        """Return the context of the same rows `n` times over."""
        return self._mapped(lambda x: x if len(x) == 1 else x.repeat(n, *[1] * (x.ndim - 1)))._at(
            self.labelled.repeat(n, 1)
        )

    def from_position(self, pos: int) -> "Context":
        """Return the context of the positions from `pos` on; earlier ones remain visible."""
        layers = tuple(_from(layer, pos) for layer in self.layers)
        return Context(layers, self.labelled - pos)

    def until_position(self, pos: int) -> "Context":
        """Return the context of the positions before `pos` alone."""
        layers = tuple(_until(layer, pos) for layer in self.layers)
        return Context(layers, self.labelled.clamp(max=pos - 1))

    def _at(self, labelled: Tensor) -> "Context":
        return replace(self, labelled=labelled)

    def _mapped(self, function: Any) -> "Context":
        done: dict[tuple[int, ...], Tensor] = {}  # of views, by what they look at

        def once(x: Tensor) -> Tensor:
            key = (x.data_ptr(), x.storage_offset(), *x.shape)
            if key not in done:
                done[key] = function(x)
            return done[key]

        layers = tuple(
            _with(layer, once(layer.mask), _of(once, layer.bias), once) for layer in self.layers
        )
        return Context(layers, self.labelled)


def _from(layer: LayerContext, pos: int) -> LayerContext:
    return _with(layer, layer.mask[:, :, pos:], layer.bias, lambda x: x[:, pos:])


def _until(layer: LayerContext, pos: int) -> LayerContext:
    bias = _of(lambda x: x[..., :pos], layer.bias)
    return _with(layer, layer.mask[:, :, :pos, :pos], bias, lambda x: x[:, :pos])


def _with(
    layer: LayerContext, mask: Tensor, bias: Tensor | None, function: Callable[[Tensor], Tensor]
) -> LayerContext:
    """Return another mask and bias, and `function` of all that is [row, pos, ...]."""
    rotary = layer.rotary
    return LayerContext(
        mask,
        rotary and replace(rotary, cos=function(rotary.cos), sin=function(rotary.sin)),
        _of(function, layer.query_scale),
        _of(function, layer.real),
        bias,
    )


def _of(function: Callable[[Tensor], Tensor], x: Tensor | None) -> Tensor | None:
    return None if x is None else function(x)


@dataclass(frozen=True)
class Span:
    """How far a layer's destinations see, themselves included (None: all the way).

    `window`: so many tokens back. `chunk`: back to the last multiple of so many tokens.
    """

    window: int | None = None
    chunk: int | None = None


def attention_mask(
    real: Bool[Tensor, "row pos"],
    dtype: torch.dtype,
    *,
    causal: bool,
    span: Span = Span(),
    places: Int[Tensor, "row_or_one pos"] | None = None,
    branches: Branches | None = None,
) -> Float[Tensor, "row_or_one 1 pos pos"]:
    """Return what is added to scores: zero where a destination sees a source, else the minimum.

    `places` says where each token is in its prompt: what spans are counted in. Without it every
    prompt begins with the first column. `branches` of a causal model: who sees whom among the
    answers behind the prompts.
    """
    column = torch.arange(real.shape[1], device=real.device)
    place = column[None] if places is None else places
    seen = torch.ones(1, len(column), len(column), dtype=torch.bool, device=real.device)
    if branches is not None:
        seen = branches.visible()
    elif causal:
        seen = seen.tril()
    if span.window is not None:
        seen = seen & ((place[:, :, None] - place[:, None, :]).abs() < span.window)
    if span.chunk is not None:
        chunk = place // span.chunk
        seen = seen & (chunk[:, :, None] == chunk[:, None, :])
    visible = seen & real[:, None, :]
    minimum = torch.finfo(dtype).min
    return torch.zeros_like(visible, dtype=dtype).masked_fill(~visible, minimum).unsqueeze(1)


def spans_of(config: Any, n_layers: int, where: str) -> tuple[Span, ...]:
    """Return how far each layer sees.

    Raises:
        DecompositionError: a layer's attention is of another kind.
    """
    windows = windows_of(config, n_layers, where)
    kinds = getattr(config, "layer_types", None) or (None,) * n_layers
    chunk = getattr(config, "attention_chunk_size", None)
    return tuple(
        Span(window, int(chunk) if chunk and kind == CHUNKED else None)
        for window, kind in zip(windows, kinds, strict=True)
    )


def windows_of(config: Any, n_layers: int, where: str) -> tuple[int | None, ...]:
    """Return how far back each layer sees, None for all the way.

    Raises:
        DecompositionError: a layer's attention is of another kind.
    """
    kinds = getattr(config, "layer_types", None) or getattr(config, "attention_layers", None)
    width = getattr(config, "sliding_window", None) or getattr(config, "window_size", None)
    if kinds is None:
        used = getattr(config, "use_sliding_window", True)
        return (int(width) if width and used else None,) * n_layers
    strange = [index for index, kind in enumerate(kinds) if kind not in ATTENTION_KINDS]
    if strange:
        family = getattr(config, "model_type", "unknown")
        raise DecompositionError(
            f"{where}, block {strange[0]} ({family}): every layer must have full or "
            f"sliding-window attention, got {kinds[strange[0]]!r}. Heads of another kind "
            "cannot be taken apart. Use another model."
        )
    return tuple(int(width) if ATTENTION_KINDS[kind] and width else None for kind in kinds)


class _Stopped(Exception):
    """The first layers' arguments are known; nothing after them need run."""


def block_arguments(
    bridge: Any, batch: PromptBatch, device: torch.device
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Return what enters block 0, and the keyword arguments that each block is given.

    The model's own code embeds the tokens and prepares positions; its blocks are stood in for.
    """
    n_ctx = int(bridge.cfg.n_ctx)
    if is_native(bridge) and batch.tokens.shape[1] > n_ctx:
        # answers behind a prompt: no position is beyond its context, but there are more columns
        halves = (slice(0, n_ctx), slice(n_ctx, None))
        parts = [block_arguments(bridge, batch.columns(half), device) for half in halves]
        return torch.cat([entering for entering, _ in parts], 1), parts[0][1]
    inputs = model_inputs(batch, device)
    try:
        with _without_masks(bridge):
            return _at_first_block(bridge, inputs)
    except (AttributeError, TypeError):  # MPT works on the mask that it has made
        return _at_first_block(bridge, inputs)


@contextmanager
def _without_masks(bridge: Any) -> Iterator[None]:
    """Let a model prepare no masks inside the block: ours are made by `attention_mask`.

    To make its own it would read positions back from the device.
    """
    config = text_config(bridge)
    before = getattr(config, "_attn_implementation", None)
    if before is None:
        yield
        return
    config._attn_implementation = WITHOUT_MASKS
    try:
        yield
    finally:
        config._attn_implementation = before


def _at_first_block(bridge: Any, inputs: dict[str, Any]) -> tuple[Tensor, list[dict[str, Any]]]:
    given: list[dict[str, Any]] = []
    entering: list[Tensor] = []
    blocks = list(bridge.blocks)

    def stand_in(*arguments: Any, **keywords: Any) -> Any:
        x = arguments[0] if arguments else keywords["hidden_states"]
        entering.append(x)
        given.append(keywords)
        if len(given) == len(blocks):
            raise _Stopped
        return (x,) if is_native(bridge) else x

    try:
        for block in blocks:
            object.__setattr__(block, "forward", stand_in)
        with torch.no_grad():
            bridge.original_model(**inputs)
    except _Stopped:
        pass
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)
    return entering[0], given


def model_inputs(batch: PromptBatch, device: torch.device) -> dict[str, Any]:
    """Return the keyword arguments of the wrapped model for these prompts."""
    inputs: dict[str, Any] = {
        "input_ids": sent(batch.tokens, device),
        "position_ids": sent(batch.position_ids, device),
        "use_cache": False,
    }
    if not bool(batch.mask.all()):
        inputs["attention_mask"] = sent(batch.mask.long(), device)
    return inputs


def is_native(bridge: Any) -> bool:
    """Whether the model is one of TransformerBridge's own, not Hugging Face's."""
    return not hasattr(bridge.original_model, "config") or not hasattr(
        bridge.original_model.config, "model_type"
    )


def rotary_of(
    bridge: Any,
    layer: int,
    arguments: dict[str, Any],
    positions: Int[Tensor, "row pos"],
    like: Tensor,
) -> Rotary | None:
    """Return how a layer rotates queries and keys, in whichever form its family keeps it."""
    cfg, module = bridge.cfg, attention_module(bridge, layer)
    if not turns(bridge, layer):
        return None
    found = arguments.get("position_embeddings")
    if found is not None:
        return _rotary_from(found, cfg, bridge, positions, like)
    table = getattr(module, "embed_positions", None)
    if isinstance(table, Tensor):  # GPT-J: sines, then cosines, one per pair
        sin, cos = table.to(like)[positions].chunk(2, dim=-1)
        return Rotary(cos.repeat_interleave(2, -1), sin.repeat_interleave(2, -1), True)
    tables = getattr(module, "rotary", None)
    if tables is not None:  # TransformerBridge's own models
        return Rotary(
            tables.cos_cached.to(like)[positions], tables.sin_cached.to(like)[positions], True
        )
    return None


def attention_module(bridge: Any, layer: int) -> Any:
    """Return the attention of a block as its family has it, None where there is none."""
    attention = bridge.blocks[layer]._modules.get("attn")
    return None if attention is None else attention.original_component


def turns(bridge: Any, layer: int) -> bool:
    """Whether a layer turns queries and keys, where its family does."""
    module = attention_module(bridge, layer)
    if module is None or not getattr(module, "use_rope", True):
        return False
    return family_of(text_config(bridge)).rotates(module)


def _rotary_from(
    found: Any, cfg: Any, bridge: Any, positions: Int[Tensor, "row pos"], like: Tensor
) -> Rotary:
    """Return the rotation whose tables a block was given."""
    # one row of positions stands for all where no prompt is padded
    if isinstance(found, Tensor):  # Llama 4 and DeepSeek V2: cos + i sin, one per pair
        tables = (found.real, found.imag)
        cos, sin = (x.to(like)[: len(positions)].repeat_interleave(2, -1) for x in tables)
        return Rotary(cos, sin, True)
    cos, sin = (table.to(like)[: len(positions)] for table in found)
    kind = getattr(text_config(bridge), "model_type", "")
    if kind == "gpt_oss":  # one per pair
        return Rotary(torch.cat((cos, cos), -1), torch.cat((sin, sin), -1), False)
    adjacent = getattr(cfg, "rotary_adjacent_pairs", False)  # GLM, ERNIE
    if adjacent or (kind in LATENT and getattr(text_config(bridge), "rope_interleave", False)):
        half = cos.shape[-1] // 2
        cos, sin = (x[..., :half].repeat_interleave(2, -1) for x in (cos, sin))
        return Rotary(cos, sin, True)
    return Rotary(cos, sin, bool(getattr(cfg, "rotary_interleaved_cos_sin", False)))


def text_config(bridge: Any) -> Any:
    """Return the configuration of the text model, which may be a part of a larger one."""
    config = getattr(bridge.original_model, "config", bridge.cfg)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def query_scale_of(
    bridge: Any, layer: int, places: Int[Tensor, "row pos"], like: Tensor
) -> Float[Tensor, "row pos"] | None:
    """Return what a layer multiplies its queries with, by place: Llama 4's temperature."""
    config = text_config(bridge)
    of_family = family_of(config).query_scale(config, places)
    if of_family is not None:
        return of_family.to(like)
    module = attention_module(bridge, layer)
    if not getattr(module, "attn_temperature_tuning", False) or turns(bridge, layer):
        return None
    # a table in float32, as the family's own: the same in every run
    steps = torch.floor((places.float() + 1) / module.floor_scale)
    scale: Tensor = torch.log1p(steps) * module.attn_scale + 1
    return scale.to(like)
