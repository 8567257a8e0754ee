"""Gradients of the metric at the input of every receiver, and their contraction with senders.

Nothing d_model wide is kept per head. One plain run is differentiated at the outputs of the q, k
and v projections, at the MLPs' inputs and at the logits' input. A head's gradient g goes back to
the residual stream through its own projection and the norm in front of it (model/norms.py), so that
a sender's change c meets it as

    c . d gain / d input  =  (c . W' g  -  (c . x_hat) (g . p) / d_model) / s

of which the first product is the wide one, taken for all senders and receivers of a layer at once;
the second is one number per sender and one per receiver.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.func import jvp

from circuitkit.circuits.graph import READS
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.attention import Attention, per_head
from circuitkit.model.finite import Finite
from circuitkit.model.forward import sees_whole_rows, spread
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import (
    Activations,
    Recorder,
    by_head,
    require_finite,
    sender_outputs,
)
from circuitkit.model.runs import Run
from circuitkit.prompts.batch import Labels
from circuitkit.work.devices import sent

SENDERS_AT_ONCE = 16  # whose changes are carried through an MLP together


@dataclass(frozen=True)
class LayerGradients:
    """One layer's gradients in narrow form, with the run's values that pulling back needs.

    `outputs` and `projections` are values and gradients at the q, k and v projections' outputs, one
    per query head. `mlp_in` is absent in attention-only models.
    """

    attn_in: Float[Tensor, "row pos d_model"]
    outputs: dict[str, Float[Tensor, "row pos head d_head"]]
    projections: dict[str, Float[Tensor, "row pos head d_head"]]
    mlp_in: Float[Tensor, "row pos d_model"] | None
    units: "UnitGradients | None" = None


@dataclass(frozen=True)
class UnitGradients:
    """What an MLP reads whose parts read alone, and the gradient at what it writes."""

    read: Float[Tensor, "row pos d_model"]
    written: Float[Tensor, "row pos d_model"]


@dataclass(frozen=True)
class ReceiverGradients:
    """Gradients of the summed gain at the input of every receiver, row by row."""

    layers: tuple[LayerGradients, ...]
    logits_in: Float[Tensor, "row label d_model"]  # at the columns `labelled`
    labelled: Int[Tensor, "row label"]


def differentiate(
    model: SubjectModel,
    run: Run,
    labels: Labels,
    metric: Metric,
    replaced: dict[Point, Hook] | None = None,
    later: Finite | None = None,
) -> tuple[Activations, ReceiverGradients]:
    """Return what the senders write in a run, and the receivers' gradients of the gain.

    Rows do not interact, so the gradient of the sum over rows is each row's own gradient. Hooks in
    `replaced` act on the run before it is marked. Whether activations are finite is left to who
    reads `later`, where that is given.

    Raises:
        ActivationError: an activation is NaN or infinite.
    """
    tape = _Tape(model)
    recorder = Recorder(model)
    replaced = replaced or {}
    last_at_label = not sees_whole_rows(replaced, model.graph.n_layers - 1)
    hooks = _joined(replaced, _joined(recorder.hooks(), tape.hooks()))
    with torch.enable_grad(), model.frozen():
        # the graph begins here: nothing before block 0 is differentiated
        entering = run.entering.detach().requires_grad_()
        logits = model.run_from(
            entering,
            run.context,
            hooks,
            sources=run.sources(),
            last_at_label=last_at_label,
        )
        gain = metric.gain(logits, labels.to(logits.device)).sum()
        gradients = torch.autograd.grad(gain, list(tape.leaves.values()), allow_unused=True)
    activations = recorder.activations(run, last_at_label=last_at_label)
    require_finite(activations, model.name, later=later)
    return activations, tape.gradients(gradients, run, last_at_label=last_at_label)


class _Tape:
    """Hooks that mark the tensors at which the run is differentiated."""

    def __init__(self, model: SubjectModel) -> None:
        self.graph = model.graph
        self.alone = {units.layer for units in model.graph.units if units.read_alone}
        self.leaves: dict[Point, Tensor] = {}
        self.attn_in: dict[int, Tensor] = {}

    def hooks(self) -> dict[Point, Hook]:
        hooks: dict[Point, Hook] = {
            hook_points.FINAL_NORM_IN: self._marker(hook_points.FINAL_NORM_IN)
        }
        for layer in range(self.graph.n_layers):
            hooks[hook_points.resid_pre(layer)] = self._keeper(layer)
            for read in READS:
                point = hook_points.projection(layer, read)
                hooks[point] = self._marker(point, is_projection=True)
            if self.graph.has_mlps:
                point = hook_points.mlp_in(layer)
                hooks[point] = self._marker(point)
            if layer in self.alone:
                point = hook_points.mlp_out(layer)
                hooks[point] = self._marker(point)
        return hooks

    def _keeper(self, layer: int) -> Hook:
        def keep(x: Tensor) -> None:
            self.attn_in[layer] = x.detach()

        return keep

    def _marker(self, point: Point, *, is_projection: bool = False) -> Hook:
        def mark(x: Tensor) -> Tensor:
            if is_projection:
                x = per_head(x, self.graph.heads_in(point.layer))
            # A view is a tensor of its own to autograd: its gradient is this receiver's alone.
            self.leaves[point] = x.view_as(x)
            return self.leaves[point]

        return mark

    def gradients(
        self, values: tuple[Tensor | None, ...], run: Run, *, last_at_label: bool
    ) -> ReceiverGradients:
        by_point = {
            point: torch.zeros_like(leaf) if value is None else value
            for (point, leaf), value in zip(self.leaves.items(), values, strict=True)
        }
        labelled, n_pos = run.context.labelled, run.entering.shape[1]
        n_last = self.graph.n_layers - 1
        for last in (hook_points.mlp_in(n_last), hook_points.mlp_out(n_last)):
            if last in by_point and last_at_label:
                by_point[last] = spread(by_point[last], labelled, n_pos)
                if n_last in self.alone:
                    self.leaves[last] = spread(self.leaves[last].detach(), labelled, n_pos)
        layers = tuple(
            LayerGradients(
                self.attn_in[layer],
                {r: self.leaves[hook_points.projection(layer, r)].detach() for r in READS},
                {read: by_point[hook_points.projection(layer, read)] for read in READS},
                by_point.get(hook_points.mlp_in(layer)),
                self._units(layer, by_point),
            )
            for layer in range(self.graph.n_layers)
        )
        logits_in = by_point[hook_points.FINAL_NORM_IN]
        return ReceiverGradients(
            layers, logits_in.reshape(*labelled.shape, logits_in.shape[-1]), labelled
        )

    def _units(self, layer: int, by_point: dict[Point, Tensor]) -> UnitGradients | None:
        if layer not in self.alone:
            return None
        read = self.leaves[hook_points.mlp_in(layer)].detach()
        return UnitGradients(read, by_point[hook_points.mlp_out(layer)])


class Contraction:
    """What the senders changed at some places, to meet the gradients of one or more runs.

    A place is a (row, pos), by its number in the flat batch. Places where nothing changed, as those
    in front of the first corrupted token, contribute nothing and should be left out. The gradients
    of several runs are pooled while they are narrow: W' is the same for all of them, so the wide
    product is taken once. Places and labelled columns, alike in all runs, are given on the host.
    """

    def __init__(
        self,
        model: SubjectModel,
        change: Activations,
        places: Int[Tensor, " place"],
        labelled: Int[Tensor, "row label"],
    ) -> None:
        self.model = model
        self.n_pos = change.input.shape[1]
        device = change.input.device
        self.places: Int[Tensor, " place"] | slice = slice(None)  # all of them: nothing to pick out
        if len(places) != change.input.shape[0] * self.n_pos:
            self.places = sent(places, device)
        rows, columns = places // self.n_pos, places % self.n_pos
        at, label = (columns.unsqueeze(1) == labelled[rows]).nonzero(as_tuple=True)
        self.labelled = tuple(sent(x, device) for x in (at, rows[at], label))
        chosen = change.map(lambda x: x.flatten(0, 1)[self.places].unsqueeze(0))
        self.senders = sender_outputs(model, chosen)
        self.by_place = self.senders.permute(1, 2, 0)  # [place, d_model, sender]
        self.pooled: list[dict[str, Tensor]] = [{} for _ in model.layers]
        shape = model.graph.edge_mask.shape
        self.total = torch.zeros(shape, dtype=torch.float64, device=device)

    def add(self, weight: float, gradients: ReceiverGradients) -> None:
        """Add the gradients of a run, times a weight."""
        for layer, grads in enumerate(gradients.layers):
            self._add_layer(layer, weight, grads)
        at, row, label = self.labelled
        grad = gradients.logits_in[row, label] * weight
        at_logits = torch.einsum("spd,pd->s", self.senders[:, at], grad)
        self.total[:, -1] += at_logits.double()

    def _add_layer(self, layer: int, weight: float, grads: LayerGradients) -> None:
        attention, graph = self.model.layers[layer].attention, self.model.graph
        x = grads.attn_in.flatten(0, 1)[self.places]
        scale = attention.norm.inverse_scale(x) * weight
        along = []
        for read in READS:
            grad = by_head(grads.projections[read])[:, self.places] * scale
            self._pool(layer, read, grad)
            if attention.norm.has_live_scale:
                output = by_head(grads.outputs[read])[:, self.places]
                along.append(_along(attention, read, grad, output))
        if grads.mlp_in is not None:
            self._pool(layer, "mlp", grads.mlp_in.flatten(0, 1)[self.places] * weight)
        if grads.units is not None:
            self._add_units(layer, weight, grads.units)
        if along:
            n_senders = graph.n_senders_before_attention(layer)
            x_hat = attention.norm.x_hat(x).unsqueeze(1)
            shared = torch.bmm(x_hat, self.by_place[..., :n_senders])[:, 0] / x.shape[-1]
            columns = slice(graph.first_receiver(layer), graph.mlp_receiver(layer))
            self.total[:n_senders, columns] -= (shared.T @ torch.cat(along).T).double()

    def _add_units(self, layer: int, weight: float, grads: UnitGradients) -> None:
        """Add what each part of an MLP that reads alone gets; what is left gets it in `scores`."""
        block, graph = self.model.layers[layer], self.model.graph
        units, mlp = block.units, block.mlp
        assert units is not None
        assert mlp is not None
        x = grads.read.flatten(0, 1)[self.places]
        grad = grads.written.flatten(0, 1)[self.places] * weight
        at_units = grad @ units.directions.T
        first, end = graph.mlp_receivers(layer).start, graph.mlp_receivers(layer).stop
        for start in range(0, graph.n_senders_before_mlp(layer), SENDERS_AT_ONCE):
            rows = slice(start, min(start + SENDERS_AT_ONCE, graph.n_senders_before_mlp(layer)))
            change = self.senders[rows]
            copies = x.expand_as(change).contiguous()
            acts = _carried(partial(units.acts, mlp), copies, change)
            found = torch.einsum("spu,pu->su", acts, at_units).double()
            self.total[rows, first : first + len(units.directions)] += found
            rest = -found.sum(1)
            if units.code is not None:
                made = _carried(partial(units.reconstruction, mlp), copies, change)
                explained = torch.einsum("spd,pd->s", made, grad).double()
                self.total[rows, end - 2] -= explained
                rest = rest + explained
            self.total[rows, end - 1] += rest

    def _pool(self, layer: int, what: str, grad: Tensor) -> None:
        known = self.pooled[layer].get(what)
        self.pooled[layer][what] = grad if known is None else known.add_(grad)

    def scores(self) -> Float[Tensor, "sender receiver"]:
        """Return the dot products of all that was added, summed over places; float64, on the CPU.

        Nothing can be added afterwards.
        """
        graph = self.model.graph
        n_receivers = 3 * graph.n_heads + graph.has_mlps
        # one buffer for the gradients of every layer: fresh memory costs as much as the product
        buffer = self.senders.new_empty(n_receivers, *self.senders.shape[1:])
        for layer, pooled in enumerate(self.pooled):
            n_heads, n_reads = graph.heads_in(layer), graph.n_reads_in(layer)
            receivers, columns = buffer[: n_reads + graph.has_mlps], self._columns(layer)
            n_senders = graph.n_senders_before_mlp(layer)  # a few too many for heads, masked below
            attention = self.model.layers[layer].attention
            for i, read in enumerate(READS):
                if attention.n_read_heads(read):  # a mixer has neither keys nor values
                    heads = receivers[i * n_heads : (i + 1) * n_heads]
                    _pull_back(attention, read, pooled[read], heads)
            if graph.has_mlps:
                receivers[-1] = pooled["mlp"]
            # place by place: the flat product is tall and thin, and a fifth slower
            by_place = torch.bmm(receivers.transpose(0, 1), self.by_place[..., :n_senders])
            self.total[:n_senders, columns] += by_place.sum(0).T.double()
        return torch.where(graph.edge_mask, self.total.cpu(), 0.0)

    def _columns(self, layer: int) -> slice | list[int]:
        """Return the receivers of a layer that the wide product is for.

        Of an MLP whose parts read alone it is the one that gets what no other gets.
        """
        graph = self.model.graph
        units, first = graph.units_in(layer), graph.first_receiver(layer)
        end = graph.first_receiver(layer + 1)
        if units is None or not units.read_alone:
            return slice(first, end)
        return [*range(first, graph.mlp_receiver(layer)), end - 1 - units.has_error]


def _carried(function: Callable[[Tensor], Tensor], x: Tensor, change: Tensor) -> Tensor:
    """Return how what a function makes of `x` changes with it, to first order."""
    with warnings.catch_warnings():  # of torch about itself, when it does this first
        warnings.simplefilter("ignore", DeprecationWarning)
        moved: Tensor = jvp(function, (x,), (change,))[1]
    return moved


def changed_places(
    change: Activations, masks: Bool[Tensor, "column row pos"], finite: Finite
) -> list[Int[Tensor, " place"]]:
    """Return the places of each column, flat and on the host, where some sender's write changed.

    Where neither the input nor any head changed, no MLP read anything else than before. One look
    at the device tells this and whether what was gathered is finite.

    Raises:
        ActivationError: it is not.
    """
    changed = (change.input != 0).any(-1)
    for z in change.z:
        changed |= (z != 0).flatten(2).any(-1)
    there = (changed & masks).flatten()
    read = torch.cat([there, finite.flags()]).cpu()
    finite.require(read[len(there) :])
    by_column = read[: len(there)].view(len(masks), -1)
    return [column.nonzero()[:, 0] for column in by_column]


def _pull_back(
    attention: Attention,
    read: str,
    grad: Float[Tensor, "head place d_head"],
    out: Float[Tensor, "head place d_model"],
) -> None:
    """Write W' g of every head; the heads of a group share W', which is not copied."""
    weight = attention.weight(read)
    groups = (len(weight), -1)
    torch.bmm(
        grad.reshape(*groups, grad.shape[-1]),
        weight.transpose(1, 2),
        out=out.view(len(weight), -1, out.shape[-1]),
    )


def _along(
    attention: Attention,
    read: str,
    grad: Float[Tensor, "head place d_head"],
    output: Float[Tensor, "head place d_head"],
) -> Float[Tensor, "head place"]:
    """Return g . p of every head, p being its projection without the bias."""
    bias = attention.bias(read)
    bias = bias.repeat_interleave(len(grad) // max(len(bias), 1), 0)
    return (grad * (output - bias.unsqueeze(1))).sum(-1)


def _joined(first: dict[Point, Hook], second: dict[Point, Hook]) -> dict[Point, Hook]:
    """Return both sets of hooks; where both hook a place, `second` sees what `first` returns."""
    joined = first | second
    for point in first.keys() & second.keys():
        joined[point] = _after(first[point], second[point])
    return joined


def _after(first: Hook, second: Hook) -> Hook:
    def hook(x: Tensor) -> Tensor | None:
        found = first(x)
        y = x if found is None else found
        final = second(y)
        return found if final is None else final

    return hook
