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


@dataclass(frozen=True)
class Start:
    """Where a pass begins: at a layer, perhaps with q, k and v known there, and what lies before.

    `sources` are the keys and values of earlier positions, and gather those of the pass.
    """

    layer: int = 0
    projected: tuple[Tensor, Tensor, Tensor] | None = None
    sources: Sources = field(default_factory=Sources)


def run_layers(
    layers: Sequence[Layer],
    contexts: Sequence[LayerContext],
    x: Float[Tensor, "row pos d_model"],
    start: Start,
    *,
    hooks: Hooks = NO_HOOKS,
    labelled: Int[Tensor, "row label"] | None = None,
) -> Float[Tensor, "row pos_or_label d_model"]:
    """Return the residual stream after the last layer, given that in front of the first.

    With `labelled` positions, all that follows the last layer's heads is computed at those alone,
    and returned.
    """
    for index in range(start.layer, len(layers)):
        block = _Block(layers[index], contexts[index], index, hooks)
        x = at(hooks, hook_points.resid_pre(index), x)
        written = block.z_of_heads(x, start)
        if labelled is not None and index == len(layers) - 1:
            x, written = at_label(x, labelled), at_label(written, labelled)
        x = block.behind_heads(x, written)
    return x


def sees_whole_rows(hooks: Hooks, last: int) -> bool:
    """Return whether a hook behind the last layer's heads expects every position."""
    return any(point.layer == last and point.site in hook_points.BEHIND_HEADS for point in hooks)


def spread(
    x: Float[Tensor, "row label d_model"], labelled: Int[Tensor, "row label"], n_pos: int
) -> Float[Tensor, "row pos d_model"]:
    """Return zeros but for `x` at some positions of each row, no two the same."""
    out = x.new_zeros(len(x), n_pos, x.shape[-1])
    out[torch.arange(len(x), device=x.device).unsqueeze(1), labelled] = x
    return out


def at_label(
    x: Float[Tensor, "row pos ..."], labelled: Int[Tensor, "row label"]
) -> Float[Tensor, "row label ..."]:
    """Return `x` at some positions of each row."""
    return x[torch.arange(len(x), device=x.device).unsqueeze(1), labelled]


def one_label_dropped(x: Float[Tensor, "row label d_model"]) -> Float[Tensor, "row *label d_model"]:
    """Return `x` without the axis of labels where there is one label: what the logits read."""
    return x.squeeze(1) if x.shape[1] == 1 else x


def at(hooks: Hooks, point: Point, x: Tensor) -> Tensor:
    """Return `x`, or what the hook at the point makes of it."""
    hook = hooks.get(point)
    if hook is None:
        return x
    found = hook(x)
    return x if found is None else found


@dataclass(frozen=True)
class _Block:
    """A layer, what it needs to know of the prompts, and its hooks."""

    layer: Layer
    context: LayerContext
    index: int
    hooks: Hooks

    def z_of_heads(
        self, x: Float[Tensor, "row pos d_model"], start: Start
    ) -> Float[Tensor, "row pos head d_head"]:
        """Return z of every head over the norm behind it, given what is in front of the layer."""
        index, hooks, attention = self.index, self.hooks, self.layer.attention
        known = start.projected if index == start.layer else None
        q, k, v = known or attention.project(x)
        q = at(hooks, hook_points.projection(index, "q"), q)
        k = at(hooks, hook_points.projection(index, "k"), k)
        v = at(hooks, hook_points.projection(index, "v"), v)
        pattern = hook_points.pattern(index)
        on_pattern = (lambda p: at(hooks, pattern, p)) if pattern in hooks else None
        past = start.sources.of(index)
        z, fresh = attention.attend(q, k, v, self.context, past=past, on_pattern=on_pattern)
        start.sources.fresh.append(fresh)
        z = at(hooks, hook_points.z(index), z)
        return at(hooks, hook_points.written_z(index), attention.written(z))

    def behind_heads(
        self, x: Float[Tensor, "row pos d_model"], written: Float[Tensor, "row pos head d_head"]
    ) -> Float[Tensor, "row pos d_model"]:
        """Return the residual stream behind the layer, given that in front and z of every head."""
        layer, index, hooks = self.layer, self.index, self.hooks
        attn_out = at(hooks, hook_points.attn_out(index), layer.attention.sum_of_writes(written))
        middle = x + attn_out
        if not layer.is_parallel:
            middle = at(hooks, hook_points.resid_mid(index), middle)
        if layer.mlp is not None:
            mlp_in = at(hooks, hook_points.mlp_in(index), x if layer.is_parallel else middle)
            mlp_out = at(hooks, hook_points.mlp_out(index), self._run_mlp(layer.mlp, mlp_in))
            middle = middle + mlp_out
        return at(hooks, hook_points.resid_post(index), middle)

    def _run_mlp(self, mlp: MLP, x: Tensor) -> Tensor:
        hook = self.hooks.get(hook_points.neurons(self.index))
        with ExitStack() as stack:
            if hook is not None:
                stack.enter_context(mlp.hooked_neurons(hook))
            return mlp(x)
