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
from circuitkit.circuits.column_graph import graph_everywhere
from circuitkit.errors import GraphError
from circuitkit.interventions.ablated_reads import AblatedReads, ReadsOfRun, ReadsOfSums
from circuitkit.interventions.ablation import Ablation, CorruptedRun
from circuitkit.interventions.budget import circuits_per_batch
from circuitkit.interventions.circuit_walk import circuit_logits
from circuitkit.interventions.edge_columns import PlacesByColumn, columns_of
from circuitkit.interventions.kept_reads import KeptReads
from circuitkit.interventions.recorded import RecordedRun, receiver_points
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import (
    Activations,
    counted_from,
    record_run,
    sender_outputs,
)
from circuitkit.model.runs import behind, whole_run
from circuitkit.prompts.batch import Labels
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs
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
    work = Work(ablation, memory=memory, progress=progress)
    kinds = list(dict.fromkeys(circuit.graph for circuit in circuits))
    if len(kinds) == 1:
        return _of_one_kind(model, pairs, circuits, metric, work)
    values = torch.empty(len(circuits), len(pairs), dtype=torch.float64)
    for kind in kinds:  # edges at columns, and edges at all positions, run apart
        rows = [row for row, circuit in enumerate(circuits) if circuit.graph == kind]
        own = [circuits[row] for row in rows]
        values[rows] = _of_one_kind(model, pairs, own, metric, work)
    return values


def _of_one_kind(
    model: SubjectModel,
    pairs: PromptPairs,
    circuits: Sequence[Circuit],
    metric: Metric,
    work: Work,
) -> Float[Tensor, "circuit pair"]:
    columns = columns_of(circuits[0], pairs)
    masks, order = _side_by_side([circuit.edge_mask for circuit in circuits])
    n_circuits, n_pairs = circuits_per_batch(model, pairs, len(circuits), work.memory)
    values = torch.empty(len(circuits), len(pairs), dtype=torch.float64)
    done = 0
    work.progress(0, values.numel())
    for start in range(0, len(pairs), n_pairs):
        part = pairs.select(range(start, min(start + n_pairs, len(pairs))))
        own = None if columns is None else columns.part(start, len(part))
        with counted_from(start):
            runner = CircuitRunner(model, part, work.ablation, own)
            labels = runner.labels(metric)
        for first in range(0, len(circuits), n_circuits):
            chunk = masks[first : first + n_circuits]
            block = _values(runner, chunk, labels, metric)
            values[first : first + len(chunk), start : start + len(part)] = block
            done += block.numel()
            work.progress(done, values.numel())
    return values[torch.argsort(order)]


def _values(
    runner: "CircuitRunner",
    edge_masks: Bool[Tensor, "circuit *column sender receiver"],
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
    if graph_everywhere(circuit.graph) != model.graph:
        raise GraphError(
            f"circuit: must be of the architecture of model {model.name!r} ({model.graph}), got a "
            f"circuit of ({circuit.graph}). Its edges do not exist there. Name the model it was "
            "made for."
        )


def _side_by_side(
    masks: Sequence[Bool[Tensor, "*column sender receiver"]],
) -> tuple[Bool[Tensor, "circuit *column sender receiver"], Int[Tensor, " circuit"]]:
    """Return the masks ordered so that those which begin alike are neighbours, and the order.

    They then share the computation of what is alike, from the first receivers on.
    """
    keys = [np.packbits(mask.numpy().T).tobytes() for mask in masks]
    order = sorted(range(len(masks)), key=lambda row: keys[row])
    return torch.stack([masks[row] for row in order]), torch.tensor(order)


class CircuitRunner:
    """Runs circuits on one batch of pairs; what they have in common is computed once.

    That is: positions at which nothing can differ, what every sender writes when ablated, and what
    receivers read, and heads project, when nothing they read is live. `columns` are those at which
    the edges of the circuits live, if not at all positions.
    """

    def __init__(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        ablation: Ablation,
        columns: Columns | None = None,
    ) -> None:
        self.model, self.pairs = model, pairs
        n_shared = ablation.n_shared_positions(model, pairs)
        self.run = behind(model, whole_run(model, pairs.clean_batch), n_shared)
        shared = self.run if n_shared else None
        self.places = None
        if columns is not None:
            masks = columns.masks[:, :, self.run.start :]
            self.places = PlacesByColumn(masks, model.device)
        corrupted = None
        if isinstance(ablation, CorruptedRun):
            corrupted = ablation.run(model, pairs, shared)
        if corrupted is not None and corrupted.stand_ins is None:
            recorded = RecordedRun(model, corrupted, receiver_points(model))
            self.ablated_reads: AblatedReads = ReadsOfRun(model, recorded)
        else:
            ablated = sender_outputs(model, ablation.values(model, pairs, shared))
            self.ablated_reads = ReadsOfSums(model, self.run, ablated)

    def logits(
        self, edge_masks: Bool[Tensor, "circuit *column sender receiver"], first: int = 0
    ) -> Float[Tensor, "circuit pair *label vocab"]:
        """Return the logits that are read, for each circuit and pair.

        `first` promises that every receiver in front of this layer keeps all its edges: what is
        written there is that of the clean run, and is not computed again.
        """
        with torch.no_grad():
            reads = KeptReads(
                self.model, self.run, edge_masks, self.ablated_reads, first, self.places
            )
            if first:
                reads.know(self.live, first)
            return circuit_logits(self.model, self.run, reads, first)

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
        clean = sender_outputs(self.model, self._clean_record[0])
        return clean - self.ablated_reads.ablated

    @cached_property
    def _clean_record(self) -> tuple[Activations, Tensor]:
        return record_run(self.model, self.run)
