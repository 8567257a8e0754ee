"""Gradients of the metric at the input of every receiver, and their contraction with senders.

Nothing d_model wide is kept per head. One plain run is differentiated at the outputs of the q, k
and v projections, at the MLPs' inputs and at the logits' input. Each head's gradient g then goes
back to the residual stream through its own projection and the norm in front of it:

    gradient at <q> of head h = J_norm^T (W_Q^h g_q^h)        (the same for k and v; model/norms.py)

and all gradients of a layer meet all earlier senders in one matrix product.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.graph import READS
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.record import (
    Activations,
    Recorder,
    by_head,
    require_finite,
    sender_outputs,
)
from circuitkit.prompts import Labels, PromptBatch


@dataclass(frozen=True)
class LayerGradients:
    """One layer's gradients in narrow form, with the run's values that pulling back needs.

    `outputs` and `projections` are values and gradients at the q, k and v projections' outputs.
    """

    attn_in: Float[Tensor, "row pos d_model"]
    outputs: dict[str, Float[Tensor, "row pos head d_head"]]
    projections: dict[str, Float[Tensor, "row pos head d_head"]]
    mlp_in: Float[Tensor, "row pos d_model"]


@dataclass(frozen=True)
class ReceiverGradients:
    """Gradients of the summed gain at the input of every receiver, row by row."""

    layers: tuple[LayerGradients, ...]
    logits_in: Float[Tensor, "row pos d_model"]  # zero but at the labelled position


def differentiate(
    model: SubjectModel, batch: PromptBatch, labels: Labels, metric: Metric
) -> tuple[Activations, ReceiverGradients]:
    """Return what the senders write on these prompts, and the receivers' gradients of the gain.

    Rows do not interact, so the gradient of the sum over rows is each row's own gradient.

    Raises:
        ActivationError: an activation is NaN or infinite.
    """
    tape = _Tape(model)
    recorder = Recorder(model)
    with torch.enable_grad(), model.frozen():
        logits = model.run(batch, _joined(recorder.hooks(), tape.hooks()))
        gain = metric.gain(logits, labels.to(logits.device)).sum()
        gradients = torch.autograd.grad(gain, list(tape.leaves.values()), allow_unused=True)
    activations = recorder.activations()
    require_finite(activations, model.name)
    return activations, tape.gradients(gradients)


class _Tape:
    """Hooks that mark the tensors at which the run is differentiated."""

    def __init__(self, model: SubjectModel) -> None:
        self.model = model
        self.leaves: dict[str, Tensor] = {}
        self.attn_in: dict[int, Tensor] = {}

    def hooks(self) -> dict[str, Hook]:
        hooks: dict[str, Hook] = {
            hook_points.resid_pre(0): _start,
            hook_points.FINAL_NORM_IN: self._marker(hook_points.FINAL_NORM_IN),
        }
        for layer in range(self.model.graph.n_layers):
            hooks[hook_points.attn_norm_in(layer)] = self._keeper(layer)
            names = [hook_points.projection(layer, read) for read in READS]
            for name in [*names, hook_points.mlp_norm_in(layer)]:
                hooks[name] = self._marker(name)
        return hooks

    def _keeper(self, layer: int) -> Hook:
        def keep(x: Tensor) -> None:
            self.attn_in[layer] = x.detach()

        return keep

    def _marker(self, name: str) -> Hook:
        def mark(x: Tensor) -> Tensor:
            # A view is a tensor of its own to autograd: its gradient is this receiver's alone.
            self.leaves[name] = x.view_as(x)
            return self.leaves[name]

        return mark

    def gradients(self, values: tuple[Tensor | None, ...]) -> ReceiverGradients:
        by_name = {
            name: torch.zeros_like(leaf) if value is None else value
            for (name, leaf), value in zip(self.leaves.items(), values, strict=True)
        }
        layers = tuple(
            LayerGradients(
                self.attn_in[layer],
                {r: self.leaves[hook_points.projection(layer, r)].detach() for r in READS},
                {read: by_name[hook_points.projection(layer, read)] for read in READS},
                by_name[hook_points.mlp_norm_in(layer)],
            )
            for layer in range(self.model.graph.n_layers)
        )
        return ReceiverGradients(layers, by_name[hook_points.FINAL_NORM_IN])


def contract(
    model: SubjectModel, change: Activations, gradients: ReceiverGradients, batch: PromptBatch
) -> Float[Tensor, "sender receiver"]:
    """Return each sender's change dotted with each receiver's gradient, summed over places.

    A place is a (row, pos). Zero where there is no edge. Float64, on the CPU. Places where nothing
    changed, as those in front of the first corrupted token, contribute nothing and are left out.
    """
    graph = model.graph
    scores = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    places = changed_places(change, batch.mask.to(model.device))
    senders = sender_outputs(model, change.map(lambda x: x.flatten(0, 1)[places].unsqueeze(0)))
    # one buffer for the gradients of every layer: fresh memory costs as much as the product
    receivers = senders.new_empty(3 * graph.n_heads + 1, *senders.shape[1:])
    for layer, grads in enumerate(gradients.layers):
        columns = slice(graph.first_receiver(layer), graph.first_receiver(layer + 1))
        n_senders = graph.n_senders_before_mlp(layer)  # a few too many for the heads, masked below
        _write_input_gradients(model, layer, grads, places, out=receivers)
        scores[:n_senders, columns] = _dot(receivers, senders[:n_senders])
    at_logits = gradients.logits_in.flatten(0, 1)[places].unsqueeze(0)
    scores[:, -1:] = _dot(at_logits, senders)
    return scores.masked_fill(~graph.edge_mask, 0.0)


def changed_places(change: Activations, mask: Bool[Tensor, "row pos"]) -> Int[Tensor, " place"]:
    """Return the places, as row * n_pos + pos, where any sender's output changed."""
    changed = (change.input != 0).any(-1)
    for z, mlp in zip(change.z, change.mlp, strict=True):
        changed |= (z != 0).flatten(2).any(-1) | (mlp != 0).any(-1)
    return (changed & mask).flatten().nonzero()[:, 0]


def _dot(
    gradient: Float[Tensor, "receiver place d_model"],
    change: Float[Tensor, "sender place d_model"],
) -> Float[Tensor, "sender receiver"]:
    # place by place: the flat product is tall and thin, and a fifth slower
    by_place = torch.bmm(gradient.transpose(0, 1), change.permute(1, 2, 0))
    return by_place.sum(0).T.double().cpu()


def _write_input_gradients(
    model: SubjectModel,
    layer: int,
    grads: LayerGradients,
    places: Int[Tensor, " place"],
    *,
    out: Float[Tensor, "receiver place d_model"],
) -> None:
    """Fill `out` with gradients at the residual stream: all q, k and v inputs, then the MLP."""
    weights = model.attention[layer]
    grad = torch.cat([by_head(grads.projections[read])[:, places] for read in READS])
    outputs = torch.cat([by_head(grads.outputs[read])[:, places] for read in READS])
    model.attn_norms[layer].pull_back(
        grads.attn_in.flatten(0, 1)[places],
        weights.w,
        grad=grad,
        projected=outputs - weights.b.unsqueeze(1),
        out=out[:-1],
    )
    out[-1] = grads.mlp_in.flatten(0, 1)[places]


def _start(x: Tensor) -> Tensor:
    """Begin the graph at the residual stream: nothing before it is differentiated."""
    return x.detach().requires_grad_()


def _joined(first: dict[str, Hook], second: dict[str, Hook]) -> dict[str, Hook]:
    """Return both sets of hooks; where both hook a place, `first` observes what `second` sees."""
    joined = first | second
    for name in first.keys() & second.keys():
        joined[name] = _both(first[name], second[name])
    return joined


def _both(observe: Hook, act: Hook) -> Hook:
    def hook(x: Tensor) -> Tensor | None:
        observe(x)
        return act(x)

    return hook
