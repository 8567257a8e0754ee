"""Gradients of the metric at the output of every node: the input, heads, their q, k and v, MLPs.

One run is kept and differentiated as often as asked, each time with the outputs of one layer held
fixed, or of none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from circuitkit.circuits.graph import READS
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.attention import per_head
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import require_finite_tensor
from circuitkit.model.runs import Run

NOTHING = -1  # no layer is held


@dataclass(frozen=True)
class NodeValues:
    """Values (or gradients) at every node's place; q, k and v have one head per query head."""

    at: dict[Point, Tensor]


def node_points(model: SubjectModel) -> tuple[Point, ...]:
    """Return the places of all nodes, those of a layer together."""
    points = [hook_points.resid_pre(0)]
    for layer in range(model.graph.n_layers):
        if layer not in model.graph.mixers:
            points += [hook_points.projection(layer, read) for read in READS]
        points.append(hook_points.written_z(layer))
        if model.graph.has_mlps:
            points.append(hook_points.mlp_out(layer))
    return tuple(points)


def record_nodes(model: SubjectModel, run: Run) -> NodeValues:
    """Return the value of every node in a run."""
    kept: dict[Point, Tensor] = {}

    def keep(x: Tensor, point: Point) -> None:
        kept[point] = per_query_head(model, point, x.detach())

    hooks: dict[Point, Hook] = {point: partial(keep, point=point) for point in node_points(model)}
    with torch.no_grad():
        model.run_from(run.entering, run.context, hooks, sources=run.sources())
    return _finite(model, kept)


def _finite(model: SubjectModel, values: dict[Point, Tensor]) -> NodeValues:
    for point, value in values.items():
        where = f"model {model.name!r}, layer {point.layer}, {point.site}"
        require_finite_tensor(value, where)
    return NodeValues(values)


def differentiate_nodes(
    runs: PairRuns, held_layers: Sequence[int]
) -> tuple[NodeValues, list[NodeValues]]:
    """Return the clean run's values, and the gradients of the gain with each of the layers held.

    Holding a layer stops gradients at what its heads and MLP add to the residual stream; NOTHING
    holds none. The gradient at each attention pattern is among them.
    """
    tape = _NodeTape(runs.model)
    model, run = runs.model, runs.clean
    with torch.enable_grad(), model.frozen():
        entering = run.entering.detach().requires_grad_()
        logits = model.run_from(entering, run.context, tape.hooks(), sources=run.sources())
        gain = runs.metric.gain(logits, runs.labels.to(logits.device)).sum()
        gradients = [tape.gradients(gain, held) for held in held_layers]
    values = {point: leaf.detach() for point, leaf in tape.leaves.items()}
    return _finite(model, values), gradients


def per_query_head(model: SubjectModel, point: Point, x: Tensor) -> Tensor:
    """Return keys and values repeated for every query head of their group; others as they are."""
    return per_head(x, model.graph.heads_in(point.layer)) if point.site in READS else x


class _NodeTape:
    def __init__(self, model: SubjectModel) -> None:
        self.model = model
        self.leaves: dict[Point, Tensor] = {}
        self.held = NOTHING

    def hooks(self) -> dict[Point, Hook]:
        layers = range(self.model.graph.n_layers)
        attending = (layer for layer in layers if layer not in self.model.graph.mixers)
        marked = [*node_points(self.model), *map(hook_points.pattern, attending)]
        hooks: dict[Point, Hook] = {point: partial(self._mark, point=point) for point in marked}
        for layer in layers:
            hooks[hook_points.attn_out(layer)] = partial(self._gate, layer=layer)
            if self.model.graph.has_mlps:
                hooks[hook_points.mlp_out(layer)] = partial(self._mark_and_gate, layer=layer)
        return hooks

    def _mark(self, x: Tensor, point: Point) -> Tensor:
        x = per_query_head(self.model, point, x)
        self.leaves[point] = x.view_as(x)
        return self.leaves[point]

    def _gate(self, x: Tensor, layer: int) -> Tensor:
        gated = x.view_as(x)
        gated.register_hook(lambda grad: torch.zeros_like(grad) if self.held == layer else grad)
        return gated

    def _mark_and_gate(self, x: Tensor, layer: int) -> Tensor:
        return self._gate(self._mark(x, hook_points.mlp_out(layer)), layer)

    def gradients(self, gain: Tensor, held: int) -> NodeValues:
        self.held = held
        leaves = list(self.leaves.values())
        found = torch.autograd.grad(gain, leaves, allow_unused=True, retain_graph=True)
        pairs = zip(self.leaves.items(), found, strict=True)
        return NodeValues(
            {point: torch.zeros_like(x) if g is None else g for (point, x), g in pairs}
        )
