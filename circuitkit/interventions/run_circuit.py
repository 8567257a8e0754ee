"""Running circuits: edges inside carry the live value, every other edge the ablated one.

    receiver r reads   base + sum over kept edges s->r of (a_s - ablated a_s)
    base             = sum over all s before r of ablated a_s  + attention output biases

a_s is what s writes in this very run. So the full circuit is the clean run, the empty one the
fully ablated run, and zero ablation sums exactly what is kept. Nothing is pruned: a component
without kept in-edges computes on ablated inputs. Many circuits run as one batch;
those that read the same up to some layer share what is computed up to there.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import GraphError
from circuitkit.interventions.ablated_reads import AblatedReads, ReadsOfRun, ReadsOfSums
from circuitkit.interventions.ablation import Ablation, CorruptedRun
from circuitkit.interventions.budget import circuits_per_batch
from circuitkit.interventions.recorded import RecordedRun, receiver_points
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.attention import Attention
from circuitkit.model.recording import (
    Activations,
    counted_from,
    record_run,
    sender_outputs,
)
from circuitkit.model.runs import behind, whole_run
from circuitkit.prompts.pairs import Labels, PromptPairs
from circuitkit.work.progress import Progress, silent


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
        require_same_graph(model, circuit)
    metric.check(pairs.labels)
    masks, order = _side_by_side([circuit.edge_mask for circuit in circuits])
    n_circuits, n_pairs = circuits_per_batch(model, pairs, len(circuits), memory)
    values = torch.empty(len(circuits), len(pairs), dtype=torch.float64)
    done = 0
    progress(0, values.numel())
    for start in range(0, len(pairs), n_pairs):
        part = pairs.select(range(start, min(start + n_pairs, len(pairs))))
        with counted_from(start):
            runner = CircuitRunner(model, part, ablation)
            labels = runner.labels(metric)
        for first in range(0, len(circuits), n_circuits):
            chunk = masks[first : first + n_circuits]
            block = _values(runner, chunk, labels, metric)
            values[first : first + len(chunk), start : start + len(part)] = block
            done += block.numel()
            progress(done, values.numel())
    return values[torch.argsort(order)]


def _values(
    runner: "CircuitRunner",
    edge_masks: Bool[Tensor, "circuit sender receiver"],
    labels: Labels,
    metric: Metric,
) -> Float[Tensor, "circuit pair"]:
    logits = runner.logits(edge_masks)
    repeated = labels.repeated(len(edge_masks)).to(logits.device)
    rows = metric.values(logits.flatten(0, 1), repeated)
    return rows.double().cpu().reshape(len(edge_masks), -1)


def require_same_graph(model: SubjectModel, circuit: Circuit) -> None:
    """Refuse a circuit of another architecture.

    Raises:
        GraphError: it is.
    """
    if circuit.graph != model.graph:
        raise GraphError(
            f"circuit: must be of the architecture of model {model.name!r} ({model.graph}), got a "
            f"circuit of ({circuit.graph}). Its edges do not exist there. Name the model it was "
            "made for."
        )


def _side_by_side(
    masks: Sequence[Bool[Tensor, "sender receiver"]],
) -> tuple[Bool[Tensor, "circuit sender receiver"], Int[Tensor, " circuit"]]:
    """Return the masks ordered so that those which begin alike are neighbours, and the order.

    They then share the computation of what is alike, from the first receivers on.
    """
    keys = [np.packbits(mask.T.numpy()).tobytes() for mask in masks]
    order = sorted(range(len(masks)), key=lambda row: keys[row])
    return torch.stack([masks[row] for row in order]), torch.tensor(order)


class CircuitRunner:
    """Runs circuits on one batch of pairs; what they have in common is computed once.

    That is: positions at which nothing can differ, what every sender writes when ablated, and what
    receivers read, and heads project, when nothing they read is live.
    """

    def __init__(self, model: SubjectModel, pairs: PromptPairs, ablation: Ablation) -> None:
        self.model, self.pairs = model, pairs
        n_shared = ablation.n_shared_positions(model, pairs)
        self.run = behind(model, whole_run(model, pairs.clean_batch), n_shared)
        shared = self.run if n_shared else None
        if isinstance(ablation, CorruptedRun):
            corrupted = ablation.run(model, pairs, shared)
            recorded = RecordedRun(model, corrupted, receiver_points(model))
            self.ablated = sender_outputs(model, recorded.activations)
            self.ablated_reads: AblatedReads = ReadsOfRun(model, recorded)
        else:
            self.ablated = sender_outputs(model, ablation.values(model, pairs, shared))
            self.ablated_reads = ReadsOfSums(model, self.run, self.ablated)

    def logits(
        self, edge_masks: Bool[Tensor, "circuit sender receiver"], first: int = 0
    ) -> Float[Tensor, "circuit pair vocab"]:
        """Return the logits at the labelled position, for each circuit and pair.

        `first` promises that every receiver in front of this layer keeps all its edges: what is
        written there is that of the clean run, and is not computed again.
        """
        with torch.no_grad():
            return _CircuitRun(self, edge_masks).logits(first)

    def labels(self, metric: Metric) -> Labels:
        """Return what is expected of each pair, with the clean logits where the metric needs them.

        Raises:
            ActivationError: an activation of the clean run is NaN or infinite.
        """
        if not metric.needs_clean_logits:
            return self.pairs.labels
        return self.pairs.with_clean_logits(self._clean_record[1]).labels

    @cached_property
    def live(self) -> Float[Tensor, "sender place d_model"]:
        """How far each sender's clean write is from its ablated one."""
        return sender_outputs(self.model, self._clean_record[0]) - self.ablated

    @cached_property
    def _clean_record(self) -> tuple[Activations, Tensor]:
        return record_run(self.model, self.run)


class _CircuitRun:
    """The state of one batched forward pass: how far each sender's live value is from ablated.

    A circuit that reads the same as the one before it, up to some stage (the attention or the MLP
    of a layer, the logits), is not computed until it reads something else: then it begins with
    what was computed for that one. `change` is [row, sender, place, d_model], a row being a circuit
    that is computed by now and a place a (pair, pos). It is filled as the senders are computed, and
    read by the receivers that come after. Receivers that read the same edges are computed together.
    """

    def __init__(
        self, runner: CircuitRunner, edge_masks: Bool[Tensor, "circuit sender receiver"]
    ) -> None:
        self.runner, self.model, self.ablated = runner, runner.model, runner.ablated
        self.masks = edge_masks.to(self.model.device).transpose(1, 2).contiguous()
        self.parts_at = _stages_of_parting(edge_masks, self.model.graph)
        self.n_pairs, self.n_pos = runner.run.entering.shape[:2]
        self.space = self.ablated.new_empty(len(edge_masks), *self.ablated.shape)
        self._set_rows([0])

    @property
    def n_rows(self) -> int:
        """The number of circuits that are computed by now."""
        return len(self.rows)

    def logits(self, first: int) -> Float[Tensor, "circuit pair vocab"]:
        """Run every layer from `first` on and unembed."""
        graph, run = self.model.graph, self.runner.run
        if first == 0:
            self._write(0, run.entering.flatten(0, 1))
        else:
            known = graph.n_senders_before_attention(first)
            self.change[:, :known] = self.runner.live[:known]
        for index in range(first, graph.n_layers):
            self._part(2 * index, graph.n_senders_before_attention(index))
            self._run_heads(index)
            if graph.has_mlps:
                self._part(2 * index + 1, graph.head_sender(index) + graph.n_heads)
                self._run_mlp(index)
        logits = self.model.unembed(self._logits_input(run.context.label_pos))
        return logits.reshape(len(self.masks), self.n_pairs, -1)

    def _part(self, stage: int, known: int) -> None:
        """Begin the circuits that read something of their own at this stage.

        `known` senders are computed by now. Rows keep the circuits' order, so none moves forward,
        and copying from the last on overwrites nothing that is still to be read.
        """
        rows = [row for row, at in enumerate(self.parts_at) if at <= stage]
        if len(rows) == self.n_rows:
            return
        begun = np.searchsorted(self.rows, rows, side="right") - 1
        for row in range(len(rows) - 1, 0, -1):
            if begun[row] != row:
                self.space[row, :known] = self.space[int(begun[row]), :known]
        self._set_rows(rows)

    def _set_rows(self, rows: list[int]) -> None:
        self.rows = rows
        self.change = self.space[: len(rows)]
        self.kept = self.masks[rows]
        self.context = self.runner.run.context.repeated(len(rows))

    def _run_heads(self, index: int) -> None:
        graph, attention = self.model.graph, self.model.layers[index].attention
        first = graph.head_sender(index)
        heads = slice(first, first + graph.n_heads)
        receivers = slice(graph.first_receiver(index), graph.mlp_receiver(index))
        if not bool(self.kept[:, receivers].any()):  # no circuit keeps an edge into it
            self.change[:, heads] = self.runner.ablated_reads.change(index, "heads")
            return
        q, k, v = self._project(index).unflatten(0, (-1, self.n_pos)).chunk(3, dim=2)
        past = self.runner.run.past[index].repeated(self.n_rows) if self.runner.run.past else None
        z, _ = attention.attend(q, k, v, self.context.layers[index], past=past)
        by_circuit = self._places(attention.written(z)).transpose(1, 2)  # circuit, head, place
        torch.matmul(by_circuit, attention.w_out, out=self.change[:, heads])
        self.change[:, heads] -= self.ablated[heads]

    def _run_mlp(self, index: int) -> None:
        graph, mlp = self.model.graph, self.model.layers[index].mlp
        assert mlp is not None
        sender = graph.head_sender(index) + graph.n_heads
        if not bool(self.kept[:, graph.mlp_receiver(index)].any()):
            self.change[:, sender] = self.runner.ablated_reads.change(index, "mlp")
            return
        self._write(sender, self._places(mlp(self._mlp_input(index))))

    def _places(self, x: Tensor) -> Tensor:
        """[row * pair, pos, ...] to [row, place, ...]."""
        return x.reshape(self.n_rows, -1, *x.shape[2:])

    def _write(self, sender: int, output: Tensor) -> None:
        self.change[:, sender] = output - self.ablated[sender]

    def _project(self, layer: int) -> Float[Tensor, "row_place receiver d_head"]:
        """Return q, k and v of every head, each from what its own receivers read."""
        graph, attention = self.model.graph, self.model.layers[layer].attention
        n_senders = graph.n_senders_before_attention(layer)
        receivers = slice(graph.first_receiver(layer), graph.mlp_receiver(layer))
        kept = self.kept[:, receivers, :n_senders]
        out = self.runner.ablated_reads.projections(layer).repeat(self.n_rows, 1, 1)
        alike = [rows for rows in _receivers_alike(kept) if bool(kept[:, rows[0]].any())]
        if not alike:
            return out
        masks = kept[:, [rows[0] for rows in alike]]
        x = self._read(masks, self.runner.ablated_reads.attn_in(layer))
        x_hat = attention.norm.x_hat(x)
        w, b = _per_receiver(attention)
        for group, rows in enumerate(alike):
            at = [_source_of(attention, receiver) for receiver in rows]
            weight = w[:, at].flatten(1)
            found = torch.addmm(b[at].flatten(), x_hat[:, group].reshape(-1, len(w)), weight)
            out[:, rows] = found.unflatten(1, (len(rows), -1))
        return out

    def _read(
        self, kept: Bool[Tensor, "circuit receiver sender"], base: Float[Tensor, "place d_model"]
    ) -> Float[Tensor, "circuit receiver place d_model"]:
        change = self.change[:, : kept.shape[2]].flatten(2)
        read = torch.bmm(kept.to(change.dtype), change)
        return read.view(*kept.shape[:2], *base.shape).add_(base)

    def _mlp_input(self, layer: int) -> Float[Tensor, "row pos d_model"]:
        graph = self.model.graph
        receiver = graph.mlp_receiver(layer)
        n_senders = graph.n_senders_before_mlp(layer)
        kept = self.kept[:, receiver : receiver + 1, :n_senders]
        read = self._read(kept, self.runner.ablated_reads.mlp_in(layer))
        return read.reshape(-1, self.n_pos, graph.d_model)

    def _logits_input(self, label_pos: Tensor) -> Float[Tensor, "circuit_pair d_model"]:
        places = torch.arange(self.n_pairs, device=label_pos.device) * self.n_pos + label_pos
        begun = np.searchsorted(self.rows, range(len(self.masks)), side="right") - 1
        change = self.change[:, :, places][begun.tolist()]
        base = self.runner.ablated_reads.logits_in(places)
        kept = self.masks[:, -1].to(base.dtype)
        return torch.einsum("cs,cspd->cpd", kept, change).add(base).flatten(0, 1)


def _stages_of_parting(
    edge_masks: Bool[Tensor, "circuit sender receiver"], graph: ComponentGraph
) -> list[int]:
    """Return the stage at which each circuit first differs from the one before it.

    Attention of layer l is stage 2 l, its MLP 2 l + 1, the logits 2 n_layers. The first is 0.
    """
    differs = (edge_masks[1:] != edge_masks[:-1]).any(1)
    differs[:, -1] = True  # a circuit that is the same all the way parts at the logits
    first: list[int] = differs.int().argmax(1).tolist()
    stages = [0]
    for receiver in first:
        layer = graph.layer_of_receiver(receiver)
        is_mlp = layer < graph.n_layers and graph.has_mlps and receiver == graph.mlp_receiver(layer)
        stages.append(2 * layer + is_mlp)
    return stages


def _receivers_alike(kept: Bool[Tensor, "circuit receiver sender"]) -> list[list[int]]:
    """Return the receivers in groups that read the same edges in every circuit."""
    rows = kept.transpose(0, 1).flatten(1)
    _, group_of = torch.unique(rows, dim=0, return_inverse=True)
    groups: dict[int, list[int]] = {}
    for receiver, group in enumerate(group_of.tolist()):
        groups.setdefault(group, []).append(receiver)
    return list(groups.values())


def _per_receiver(attention: Attention) -> tuple[Tensor, Tensor]:
    """Return W' [d_model, projection, d_head] and c' [projection, d_head], without copying."""
    d_head = attention.d_head
    return attention.w.unflatten(1, (-1, d_head)), attention.b.unflatten(0, (-1, d_head))


def _source_of(attention: Attention, receiver: int) -> int:
    """Return the projection that a layer's receiver (q, k, v of each head) uses: its group's."""
    read, head = divmod(receiver, attention.n_heads)
    if read == 0:
        return head
    n_groups = attention.n_kv_heads
    return attention.n_heads + (read - 1) * n_groups + head * n_groups // attention.n_heads
