"""The forward pass over the parts of a model, with a hook at every place.

It computes what the model's own code computes, from the same weights, but can start at any layer
and at any position: earlier positions of a causal model need only lend their keys and values. The
unembedding is applied at the labelled position alone.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.model import hook_points
from circuitkit.model.attention import KeysValues, LayerContext
from circuitkit.model.hook_points import Point
from circuitkit.model.layers import MLP, Layer

Hook = Callable[[Tensor], Tensor | None]
Hooks = Mapping[Point, Hook]
NO_HOOKS: Hooks = {}


@dataclass
class Sources:
    """Keys and values of earlier positions, layer by layer; those of a run are kept in `fresh`."""

    past: Sequence[KeysValues] = ()
    fresh: list[KeysValues] = field(default_factory=list)

    def of(self, layer: int) -> KeysValues | None:
        """Return those of the earlier positions at a layer."""
        return self.past[layer] if self.past else None


def run_layers(
    layers: Sequence[Layer],
    contexts: Sequence[LayerContext],
    x: Float[Tensor, "row pos d_model"],
    hooks: Hooks = NO_HOOKS,
    *,
    first: int = 0,
    sources: Sources | None = None,
    projected: tuple[Tensor, Tensor, Tensor] | None = None,
    labelled: Int[Tensor, " row"] | None = None,
) -> Float[Tensor, "row pos_or_label d_model"]:
    """Return the residual stream after the last layer, given that in front of layer `first`.

    `projected` are q, k and v of that first layer where they are known already. With `labelled`
    positions, all that follows the last layer's heads is computed at those alone, and returned.
    """
    sources = sources or Sources()
    for index in range(first, len(layers)):
        known = projected if index == first else None
        cut = labelled if index == len(layers) - 1 else None
        x = _run_layer(layers[index], contexts[index], x, hooks, index, sources, known, cut)
    return x


def sees_whole_rows(hooks: Hooks, last: int) -> bool:
    """Return whether a hook behind the last layer's heads expects every position."""
    return any(point.layer == last and point.site in hook_points.BEHIND_HEADS for point in hooks)


def spread(
    x: Float[Tensor, "row 1 d_model"], labelled: Int[Tensor, " row"], n_pos: int
) -> Float[Tensor, "row pos d_model"]:
    """Return zeros but for `x` at one position of each row."""
    out = x.new_zeros(len(x), n_pos, x.shape[-1])
    out[torch.arange(len(x), device=x.device), labelled] = x[:, 0]
    return out


def at_label(
    x: Float[Tensor, "row pos ..."], labelled: Int[Tensor, " row"]
) -> Float[Tensor, "row 1 ..."]:
    """Return `x` at one position of each row."""
    return x[torch.arange(len(x), device=x.device), labelled].unsqueeze(1)


def at(hooks: Hooks, point: Point, x: Tensor) -> Tensor:
    """Return `x`, or what the hook at the point makes of it."""
    hook = hooks.get(point)
    if hook is None:
        return x
    found = hook(x)
    return x if found is None else found


def _run_layer(
    layer: Layer,
    context: LayerContext,
    x: Tensor,
    hooks: Hooks,
    index: int,
    sources: Sources,
    projected: tuple[Tensor, Tensor, Tensor] | None,
    labelled: Tensor | None,
) -> Tensor:
    x = at(hooks, hook_points.resid_pre(index), x)
    attention = layer.attention
    q, k, v = projected or attention.project(x)
    q = at(hooks, hook_points.projection(index, "q"), q)
    k = at(hooks, hook_points.projection(index, "k"), k)
    v = at(hooks, hook_points.projection(index, "v"), v)
    pattern = hook_points.pattern(index)
    on_pattern = (lambda p: at(hooks, pattern, p)) if pattern in hooks else None
    z, fresh = attention.attend(q, k, v, context, past=sources.of(index), on_pattern=on_pattern)
    sources.fresh.append(fresh)
    z = at(hooks, hook_points.z(index), z)
    written = at(hooks, hook_points.written_z(index), attention.written(z))
    if labelled is not None:
        x, written = at_label(x, labelled), at_label(written, labelled)
    attn_out = at(hooks, hook_points.attn_out(index), attention.sum_of_writes(written))
    middle = x + attn_out
    if not layer.is_parallel:
        middle = at(hooks, hook_points.resid_mid(index), middle)
    if layer.mlp is not None:
        mlp_in = at(hooks, hook_points.mlp_in(index), x if layer.is_parallel else middle)
        middle = middle + at(
            hooks, hook_points.mlp_out(index), _run_mlp(layer.mlp, mlp_in, hooks, index)
        )
    return at(hooks, hook_points.resid_post(index), middle)


def _run_mlp(mlp: MLP, x: Tensor, hooks: Hooks, index: int) -> Tensor:
    hook = hooks.get(hook_points.neurons(index))
    with ExitStack() as stack:
        if hook is not None:
            stack.enter_context(mlp.hooked_neurons(hook))
        return mlp(x)
