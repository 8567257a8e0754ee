"""What drawn edges predict, and what the real model does when a feature is changed in it.

Changing a feature by d adds d W_dec to the MLP outputs that it writes to. Then, on the real model:

    direct      patterns, norm scales and MLPs are held (skips are live): the edges, exactly
    own write   the same, but only what the feature writes to its own MLP's output is changed
    iterative   patterns alone are held
    live        nothing is held, and only its own MLP's output is changed: what the model does

`direct` is an identity: it shows that the graph is computed rightly, not that it is right. Where
`own write` is less than predicted, the edge runs through what a cross-layer feature is said to
write to later MLPs: in the model those MLPs compute it, so the edge is no single hop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.attribution.graph import AttributionGraph
from circuitkit.attribution.recorded import RecordedPrompt, batch_of
from circuitkit.errors import MethodError
from circuitkit.model import hook_points
from circuitkit.model.forward import Hook
from circuitkit.model.hook_points import Point
from circuitkit.model.norms import Norm
from circuitkit.model.subject import SubjectModel

DIRECT, OWN_WRITE, ITERATIVE, LIVE = MODES = ("direct", "own write", "iterative", "live")


@dataclass(frozen=True)
class HeldScale(Norm):
    """A norm whose scale is that of a run, whatever it reads."""

    held: Float[Tensor, "*pos 1"] | None = None

    def inverse_scale(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any 1"]:
        """Return 1 / s of the run."""
        assert self.held is not None
        return self.held.expand(*x.shape[:-1], 1)

    def x_hat(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """Return the input over the scale of the run."""
        if self.is_identity:
            return x
        return (x - x.mean(-1, keepdim=True) if self.is_centred else x) * self.inverse_scale(x)

    def __call__(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """Return the whole norm at the scale of the run."""
        return x if self.is_identity else self.x_hat(x) * self.weight + self.bias


@dataclass(frozen=True)
class Effects:
    """How pre-activations of the graph's features, and its logit targets, change."""

    features: Float[Tensor, "source feature"]
    logits: Float[Tensor, "source logit"]

    def joined(self) -> Float[Tensor, "source target"]:
        """Return both, in the order of the graph's rows."""
        return torch.cat([self.features, self.logits], 1)


@torch.no_grad()
def intervene(graph: AttributionGraph, sources: Sequence[int], factor: float, mode: str) -> Effects:
    """Return what happens when each of some features, one at a time, gets `factor` of its value.

    `sources` are numbers of nodes of the graph; 0 takes a feature away, 2 doubles it.

    Raises:
        MethodError: a node that is no feature, or an unknown mode.
    """
    _require(graph, sources, mode)
    run = graph.run
    is_held = mode in (DIRECT, OWN_WRITE)
    model = _held(run) if is_held else run.model
    writes = _writes(graph, sources, factor - 1, own_only=mode in (OWN_WRITE, LIVE))
    n = len(sources)
    none = {layer: torch.zeros_like(write[:1]) for layer, write in writes.items()}
    before = _read(graph, model, none, mode)
    after = _read(graph, model, writes, mode)
    assert len(after.logits) == n
    return Effects(after.features - before.features, after.logits - before.logits)


def _require(graph: AttributionGraph, sources: Sequence[int], mode: str) -> None:
    n = graph.sizes.features
    if mode not in MODES:
        raise MethodError(
            f"intervention {mode!r}: must be one of {', '.join(MODES)}, got something else. It "
            "says what is held. Choose one."
        )
    wrong = [i for i in sources if not 0 <= i < n]
    if wrong or not len(sources):
        raise MethodError(
            f"intervention: sources must be features of the graph, below {n}, got "
            f"{wrong[:1] or 'none'}. Other nodes have no value to change. Give numbers of features."
        )


def _writes(
    graph: AttributionGraph, sources: Sequence[int], change: float, *, own_only: bool
) -> dict[int, Float[Tensor, "source pos d_model"]]:
    """Return what is added to each layer's MLP output, a row for each source."""
    run = graph.run
    n_layers, width = len(run.layers), run.final.shape[0]
    out = {i: run.final.new_zeros(len(sources), run.n_pos, width) for i in range(n_layers)}
    for row, source in enumerate(sources):
        at = int(graph.chosen[source])
        layer, pos, number = graph.active.index[at].tolist()
        decoder = run.transcoders.layers[layer].decoder[number]
        for further, direction in enumerate(decoder[:1] if own_only else decoder):
            out[layer + further][row, pos] = change * graph.active.values[at] * direction
    return out


def _held(run: RecordedPrompt) -> SubjectModel:
    """Return the model with the scales of its norms as they were in a run."""
    layers = []
    for layer, each in zip(run.model.layers, run.layers, strict=True):
        attention, mlp = layer.attention, layer.mlp
        assert mlp is not None
        norm = _held_norm(attention.norm, each.resid_pre)
        mlp = replace(mlp, norm=_held_norm(mlp.norm, each.mlp_in))
        layers.append(replace(layer, attention=replace(attention, norm=norm), mlp=mlp))
    return run.model.computing_with(tuple(layers), _held_norm(run.model.final_norm, run.final))


def _held_norm(norm: Norm, x: Tensor) -> HeldScale:
    return HeldScale(**vars(norm), held=norm.inverse_scale(x))


def _read(
    graph: AttributionGraph, model: SubjectModel, writes: dict[int, Tensor], mode: str
) -> Effects:
    """Return what the graph's features and logits read while MLP outputs are changed."""
    run, kept = graph.run, dict[Point, Tensor]()
    n = len(writes[0])
    hooks: dict[Point, Hook] = {}
    for layer in range(len(run.layers)):
        hooks[hook_points.mlp_in(layer)] = _keeper(kept, hook_points.mlp_in(layer))
        hooks[hook_points.mlp_out(layer)] = _writer(run, layer, writes[layer], kept, mode)
        if mode != LIVE:
            pattern = run.layers[layer].pattern.expand(n, -1, -1, -1)
            hooks[hook_points.pattern(layer)] = _constant(pattern)
        if mode in (DIRECT, OWN_WRITE) and model.layers[layer].attention.post_norm is not None:
            scale = run.layers[layer].write_scale
            z = hook_points.z(layer)
            hooks[z] = _keeper(kept, z)
            hooks[hook_points.written_z(layer)] = _scaled(kept, z, scale)
    hooks[hook_points.FINAL_NORM_IN] = _keeper(kept, hook_points.FINAL_NORM_IN)
    entering, context = model.prepare(batch_of(run.tokens.tolist()).repeated(n))
    model.run_from(entering, context, hooks)
    final = model.final_norm(kept[hook_points.FINAL_NORM_IN])
    return Effects(_pre_activations(graph, model, kept), final @ graph.logits.vectors.T)


def _pre_activations(
    graph: AttributionGraph, model: SubjectModel, kept: dict[Point, Tensor]
) -> Float[Tensor, "source feature"]:
    index, transcoders = graph.active.index[graph.chosen], graph.run.transcoders
    parts = []
    for layer in range(len(graph.run.layers)):
        own = index[index[:, 0] == layer]
        read = transcoders.read(model, layer, kept[hook_points.mlp_in(layer)])
        parts.append((read[:, own[:, 1]] * transcoders.layers[layer].encoder[own[:, 2]]).sum(-1))
    return torch.cat(parts, 1)


def _writer(
    run: RecordedPrompt, layer: int, write: Tensor, kept: dict[Point, Tensor], mode: str
) -> Hook:
    each = run.layers[layer]
    skip = run.transcoders.folded_skip(run.model, layer)
    scale = run.transcoders.inverse_scale(run.model, layer, each.mlp_in)

    def changed(out: Tensor) -> Tensor:
        if mode not in (DIRECT, OWN_WRITE):
            return out + write
        held = each.mlp_out + write
        if skip is None:
            return held
        moved = kept[hook_points.mlp_in(layer)] - each.mlp_in
        return held + (moved * scale) @ skip.T

    return changed


def _keeper(kept: dict[Point, Tensor], point: Point) -> Hook:
    def keep(activation: Tensor) -> None:
        kept[point] = activation

    return keep


def _constant(value: Tensor) -> Hook:
    return lambda activation: value


def _scaled(kept: dict[Point, Tensor], point: Point, scale: Tensor) -> Hook:
    return lambda activation: kept[point] * scale
