"""Running circuits: edges inside carry the live value, every other edge the ablated one.

    receiver r reads   base + sum over kept edges s->r of (a_s - ablated a_s)
    base             = sum over all s before r of ablated a_s  + attention output biases

a_s is what s writes in this very run. So the full circuit is the clean run, the empty one the
fully ablated run, and zero ablation sums exactly what is kept. Nothing is pruned: a component
without kept in-edges computes on ablated inputs. Many circuits run as one batch.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.circuit import Circuit
from circuitkit.errors import GraphError
from circuitkit.graph import READS
from circuitkit.interventions.ablation import Ablation
from circuitkit.interventions.budget import circuits_per_batch
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.record import (
    attention_bias_before,
    record,
    sender_outputs,
)
from circuitkit.progress import Progress, silent
from circuitkit.prompts import PromptBatch, PromptPairs


def evaluate_circuits(
    model: SubjectModel,
    pairs: PromptPairs,
    circuits: Sequence[Circuit],
    *,
    ablation: Ablation,
    metric: Metric,
    memory: int | None = None,
    progress: Progress = silent,
) -> Float[Tensor, "circuit pair"]:
    """Return the metric of every pair when only each circuit's edges are live.

    Float64 on the CPU, in the metric's own unit and direction. `memory` is in bytes (default: a
    share of what is free); results do not depend on it.

    Raises:
        GraphError: a circuit belongs to another architecture.
        MemoryBudgetError: not even one circuit on one pair fits.
    """
    for circuit in circuits:
        _require_same_graph(model, circuit)
    metric.check(pairs.labels)
    masks = torch.stack([circuit.edge_mask for circuit in circuits])
    n_circuits, n_pairs = circuits_per_batch(model, pairs, len(circuits), memory)
    values = torch.empty(len(circuits), len(pairs), dtype=torch.float64)
    done = 0
    progress(0, values.numel())
    for start in range(0, len(pairs), n_pairs):
        part = pairs.select(range(start, min(start + n_pairs, len(pairs))))
        runner = CircuitRunner(model, part, ablation)
        labels = part.labels
        if metric.needs_clean_logits:
            labels = part.with_clean_logits(record(model, part.clean_batch)[1]).labels
        for first in range(0, len(circuits), n_circuits):
            chunk = masks[first : first + n_circuits]
            logits = runner.logits(chunk)
            repeated = labels.repeated(len(chunk)).to(logits.device)
            rows = metric.values(logits.flatten(0, 1), repeated)
            block = rows.double().cpu().reshape(len(chunk), len(part))
            values[first : first + len(chunk), start : start + len(part)] = block
            done += block.numel()
            progress(done, values.numel())
    return values


class CircuitRunner:
    """Runs circuits on one batch of pairs; what they have in common is computed once."""

    def __init__(self, model: SubjectModel, pairs: PromptPairs, ablation: Ablation) -> None:
        self.model = model
        self.batch = pairs.clean_batch
        self.ablated = sender_outputs(model, ablation.values(model, pairs))

    def logits(
        self, edge_masks: Bool[Tensor, "circuit sender receiver"]
    ) -> Float[Tensor, "circuit pair vocab"]:
        """Return the logits at the labelled position, for each circuit and pair."""
        run = _CircuitRun(self.model, self.batch, self.ablated, edge_masks)
        with torch.no_grad():
            rows = self.model.run(self.batch.repeated(len(edge_masks)), run.hooks())
        return rows.reshape(len(edge_masks), -1, rows.shape[-1])


class _CircuitRun:
    """The state of one batched forward pass: how far each sender's live value is from ablated.

    `change` is [circuit, sender, place, d_model], a place being a (pair, pos). It is filled as
    the senders are computed, and read by the receivers that come after.
    """

    def __init__(
        self,
        model: SubjectModel,
        batch: PromptBatch,
        ablated: Float[Tensor, "sender place d_model"],
        edge_masks: Bool[Tensor, "circuit sender receiver"],
    ) -> None:
        self.model, self.batch, self.ablated = model, batch, ablated
        self.kept = edge_masks.to(model.device, model.dtype).transpose(1, 2).contiguous()
        self.n_circuits = len(edge_masks)
        self.change = ablated.new_zeros(self.n_circuits, *ablated.shape)
        self.projected: dict[str, Tensor] = {}

    def hooks(self) -> dict[str, Hook]:
        hooks: dict[str, Hook] = {
            hook_points.resid_pre(0): self._write_input,
            hook_points.FINAL_NORM_IN: self._read_logits,
        }
        for layer in range(self.model.graph.n_layers):
            for read in READS:
                hooks[hook_points.projection(layer, read)] = self._projector(layer, read)
            hooks[hook_points.z(layer)] = self._head_writer(layer)
            hooks[hook_points.mlp_norm_in(layer)] = self._mlp_reader(layer)
            hooks[hook_points.mlp_out(layer)] = self._mlp_writer(layer)
        return hooks

    def _rows(self, x: Tensor) -> Tensor:
        """[circuit * pair, pos, ...] to [circuit, place, ...]."""
        return x.reshape(self.n_circuits, -1, *x.shape[2:])

    def _write(self, sender: int, output: Tensor) -> None:
        torch.sub(self._rows(output), self.ablated[sender], out=self.change[:, sender])

    def _read(self, n_senders: int, receivers: slice, bias: Tensor) -> Tensor:
        """Return what the receivers read: [circuit, receiver, place, d_model]."""
        kept = self.kept[:, receivers, :n_senders]
        change = self.change[:, :n_senders].flatten(2)
        base = self.ablated[:n_senders].sum(0) + bias
        read = torch.bmm(kept, change)
        return read.reshape(*kept.shape[:2], *base.shape).add_(base)

    def _write_input(self, x: Tensor) -> None:
        self._write(0, x)

    def _projector(self, layer: int, read: str) -> Hook:
        def project(_: Tensor) -> Tensor:
            if read not in self.projected:
                self._project_all(layer)
            return self.projected.pop(read)

        return project

    def _project_all(self, layer: int) -> None:
        """Compute q, k and v of every head from what that head's receivers read."""
        graph, weights = self.model.graph, self.model.attention[layer]
        first = graph.first_receiver(layer)
        read = self._read(
            graph.n_senders_before_attention(layer),
            slice(first, first + 3 * graph.n_heads),
            attention_bias_before(self.model, layer, own_layer=False),
        )
        x_hat = self.model.attn_norms[layer].x_hat(read)
        projected = torch.einsum("crpd,rde->cpre", x_hat, weights.w) + weights.b
        rows, pos = self.batch.tokens.shape
        for letter, out in zip(READS, projected.chunk(len(READS), dim=2), strict=True):
            self.projected[letter] = out.reshape(self.n_circuits * rows, pos, *out.shape[2:])

    def _head_writer(self, layer: int) -> Hook:
        graph = self.model.graph
        first = graph.head_sender(layer)

        def write(z: Tensor) -> None:
            heads = torch.einsum("cphe,hed->chpd", self._rows(z), self.model.attention[layer].w_out)
            ablated = self.ablated[first : first + graph.n_heads]
            torch.sub(heads, ablated, out=self.change[:, first : first + graph.n_heads])

        return write

    def _mlp_reader(self, layer: int) -> Hook:
        graph = self.model.graph
        receiver = graph.first_receiver(layer) + 3 * graph.n_heads

        def read(x: Tensor) -> Tensor:
            bias = attention_bias_before(self.model, layer, own_layer=not graph.parallel_attn_mlp)
            n_senders = graph.n_senders_before_mlp(layer)
            return self._read(n_senders, slice(receiver, receiver + 1), bias).reshape(x.shape)

        return read

    def _mlp_writer(self, layer: int) -> Hook:
        sender = self.model.graph.head_sender(layer) + self.model.graph.n_heads

        def write(output: Tensor) -> None:
            self._write(sender, output)

        return write

    def _read_logits(self, x: Tensor) -> Tensor:
        graph = self.model.graph
        bias = attention_bias_before(self.model, graph.n_layers, own_layer=False)
        return self._read(len(graph.senders), slice(-1, None), bias).reshape(x.shape)


def _require_same_graph(model: SubjectModel, circuit: Circuit) -> None:
    if circuit.graph != model.graph:
        raise GraphError(
            f"circuit: must be of the model's architecture ({model.graph}), got a circuit of "
            f"({circuit.graph}). Its edges do not exist there. Load the model it was made for."
        )
