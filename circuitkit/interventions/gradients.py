"""Gradients of the metric at the input of every receiver, and their contraction with senders.

Nothing d_model wide is kept per head. One plain run is differentiated at the outputs of the q, k
and v projections, at the MLPs' inputs and at the logits' input. Each head's gradient g then goes
back to the residual stream through its own projection and the norm in front of it:

    gradient at <q> of head h = J_norm^T (W_Q^h g_q^h)        (the same for k and v)

and all gradients of a layer meet all earlier senders in one matrix product.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.graph import READS
from circuitkit.model.record import Activations, Recorder, by_head, require_finite
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.prompts import Labels, PromptBatch


@dataclass(frozen=True)
class LayerGradients:
    """One layer's gradients in narrow form, and the residual stream its attention reads."""

    attn_in: Float[Tensor, "row pos d_model"]
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
                {read: by_name[hook_points.projection(layer, read)] for read in READS},
                by_name[hook_points.mlp_norm_in(layer)],
            )
            for layer in range(self.model.graph.n_layers)
        )
        return ReceiverGradients(layers, by_name[hook_points.FINAL_NORM_IN])


def contract(
    model: SubjectModel,
    change: Float[Tensor, "sender place d_model"],
    gradients: ReceiverGradients,
    batch: PromptBatch,
) -> Float[Tensor, "sender receiver"]:
    """Return each sender's change dotted with each receiver's gradient, summed over places.

    A place is a (row, pos). Zero where there is no edge. Float64, on the CPU.
    """
    graph = model.graph
    scores = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    for layer, grads in enumerate(gradients.layers):
        first = graph.first_receiver(layer)
        heads = _head_input_gradients(model, layer, grads)
        n_senders = graph.n_senders_before_attention(layer)
        block = change[:n_senders].flatten(1) @ heads.flatten(1).T
        scores[:n_senders, first : first + 3 * graph.n_heads] = block.double().cpu()
        n_senders = graph.n_senders_before_mlp(layer)
        column = change[:n_senders].flatten(1) @ grads.mlp_in.flatten()
        scores[:n_senders, first + 3 * graph.n_heads] = column.double().cpu()
    rows, n_pos = batch.tokens.shape
    labelled = torch.arange(rows) * n_pos + batch.label_pos
    labelled = labelled.to(change.device)
    at_label = change[:, labelled].flatten(1) @ gradients.logits_in.flatten(0, 1)[labelled].flatten()
    scores[:, -1] = at_label.double().cpu()
    return scores


def _head_input_gradients(
    model: SubjectModel, layer: int, grads: LayerGradients
) -> Float[Tensor, "receiver place d_model"]:
    """Return the gradients at the residual stream of all q, then all k, then all v inputs."""
    weights = model.attention[layer]
    n_heads = model.graph.n_heads
    at_attn_in = grads.attn_in.flatten(0, 1)
    wide = at_attn_in.new_empty(3 * n_heads, *at_attn_in.shape)
    for i, read in enumerate(READS):
        out = wide[i * n_heads : (i + 1) * n_heads]
        narrow = by_head(grads.projections[read])
        torch.bmm(narrow, weights.w[read].transpose(1, 2), out=out)
    return model.attn_norms[layer].pull_back(at_attn_in, wide)


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
