"""Exact effects of single edges: one receiver reads one sender's value from the other run.

    noising    effect = gain(clean run) - gain(clean run, r reads s's ablated write)
    denoising  effect = gain(corrupted run, r reads s's clean write) - gain(corrupted run)

All else is computed as it follows. Positive where the edge supports the behaviour; unit: the
metric's. This is what edge attribution estimates, and the same as running the circuit of all edges
but one.

An edge into a layer leaves everything before as it was, and only one projection (or the MLP, or the
logits) differs in that layer: each run starts there, behind the positions that both prompts share,
and many edges run as one batch. A sender's change is normalised once for all receivers of a layer.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.circuits.graph import READS, ComponentGraph
from circuitkit.errors import MethodError
from circuitkit.interventions.ablation import Ablation, CorruptedRun, ResampleAblation
from circuitkit.interventions.budget import rows_per_batch
from circuitkit.interventions.recorded import BothRuns, Direction, receiver_points
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.attention import per_head
from circuitkit.model.recording import counted_from, sender_outputs
from circuitkit.model.runs import behind, labelled_places, whole_run
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.devices import sent
from circuitkit.work.progress import Progress, silent

RESAMPLE = ResampleAblation()


@dataclass(frozen=True)
class EdgeEffects:
    """The effect of each edge on each pair; positive supports the behaviour. Unit: the metric's."""

    edges: tuple[str, ...]
    effects: Float[Tensor, "edge pair"]
    gap: Float[Tensor, " pair"]  # gain(clean) - gain(corrupted)


def measure_edges(
    model: SubjectModel,
    pairs: PromptPairs,
    edges: Sequence[str],
    metric: Metric,
    *,
    ablation: Ablation = RESAMPLE,
    direction: Direction = Direction.NOISING,
    memory: int | None = None,
    progress: Progress = silent,
) -> EdgeEffects:
    """Return the exact effect of each of some edges alone.

    Raises:
        GraphError: an edge does not exist.
        MethodError: denoising under another ablation than resampling.
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one edge on one pair fits.
    """
    _require_run(direction, ablation)
    numbers = [model.graph.edge_number(name) for name in edges]
    metric.check(pairs.labels)
    n_pairs, max_rows = rows_per_batch(model, pairs, memory)
    effects = torch.zeros(len(edges), len(pairs), dtype=torch.float64)
    gaps = []
    done = 0
    progress(0, effects.numel())
    for start in range(0, len(pairs), n_pairs):
        part = pairs.select(range(start, min(start + n_pairs, len(pairs))))
        with counted_from(start):
            bench = EdgeBench(model, part, metric, ablation, direction, max_rows)
        gaps.append(bench.both.gap)
        for chosen, block in bench.effects(numbers):
            effects[chosen, start : start + len(part)] = block
            done += block.numel()
            progress(done, effects.numel())
    return EdgeEffects(tuple(edges), effects, torch.cat(gaps))


def _require_run(direction: Direction, ablation: Ablation) -> None:
    if direction is Direction.DENOISING and not isinstance(ablation, CorruptedRun):
        raise MethodError(
            f"edges: denoising needs resample ablation, got {ablation.name!r}. There is no run in "
            "which every value is ablated so. Use noising."
        )


class _Edge(NamedTuple):
    """One edge to be measured."""

    place: int  # in what was asked for
    sender: int
    within: int  # the receiver, counted within its layer: q of all heads, k of all, v of all


def _by_reader(graph: ComponentGraph, numbers: Sequence[int]) -> dict[tuple[int, str], list[_Edge]]:
    """Return these edges by what they enter: the `heads` or `mlp` of a layer, `logits`."""
    found: dict[tuple[int, str], list[_Edge]] = defaultdict(list)
    for place, number in enumerate(numbers):
        sender, receiver = graph.edge_index[number].tolist()
        layer = graph.layer_of_receiver(receiver)
        if layer == graph.n_layers:
            what = "logits"
        else:
            what = "heads" if receiver < graph.mlp_receiver(layer) else "mlp"
        found[layer, what].append(_Edge(place, sender, receiver - graph.first_receiver(layer)))
    return found


class EdgeBench:
    """One batch of pairs, on which any edge can be measured."""

    def __init__(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        ablation: Ablation,
        direction: Direction,
        max_rows: int,
    ) -> None:
        self.model, self.max_rows = model, max_rows
        noising = direction is Direction.NOISING
        n_shared = ablation.n_shared_positions(model, pairs)
        clean_run = behind(model, whole_run(model, pairs.clean_batch), n_shared)
        shared = clean_run if n_shared else None
        corruption = ablation if isinstance(ablation, CorruptedRun) else RESAMPLE
        runs = clean_run, corruption.run(model, pairs, shared)
        self.both = BothRuns(model, pairs, runs, metric, direction, receiver_points(model))
        if isinstance(ablation, CorruptedRun):
            ablated = self.both.corrupted.activations
        else:
            ablated = ablation.values(model, pairs)
        self.base, clean = self.both.base, self.both.clean
        away = ablated.minus(clean.activations)
        # [sender, place, d_model]: what an edge adds to its receiver's input when it is measured
        self.added = sender_outputs(model, away if noising else away.map(torch.neg))
        # read once: a sender that wrote the same in both runs has no effect, and is not run
        self.moves: list[bool] = (self.added != 0).flatten(1).any(1).tolist()
        self.n_rows, self.n_pos = clean_run.entering.shape[:2]

    def at(self, mask: Bool[Tensor, "row all_pos"]) -> "EdgeBench":
        """Return the same bench on which an edge is changed at these positions alone."""
        bench = copy(self)
        own = mask[:, -self.n_pos :].flatten().to(self.added.device)
        bench.added = self.added * own.unsqueeze(1)
        bench.moves = (bench.added != 0).flatten(1).any(1).tolist()
        return bench

    def effects(self, numbers: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
        """Yield places in `numbers` and the effects of those edges, [edge, pair]."""
        size = max(1, self.max_rows // self.n_rows)
        dead = []
        for (layer, what), edges in _by_reader(self.model.graph, numbers).items():
            live = [edge for edge in edges if self.moves[edge.sender]]
            dead += [edge.place for edge in edges if not self.moves[edge.sender]]
            for start in range(0, len(live), size):
                chunk = live[start : start + size]
                logits = self._logits(layer, what, chunk)
                yield [edge.place for edge in chunk], self.both.effects(logits, len(chunk))
        if dead:
            yield dead, torch.zeros(len(dead), self.n_rows, dtype=torch.float64)

    def _logits(
        self, layer: int, what: str, edges: Sequence[_Edge]
    ) -> Float[Tensor, "row *label vocab"]:
        senders = [edge.sender for edge in edges]
        if what == "heads":
            return self._into_heads(layer, senders, [edge.within for edge in edges])
        if what == "mlp":
            before = self.model.graph.n_reads_in(layer)
            return self._into_mlp(layer, senders, [edge.within - before for edge in edges])
        return self._into_logits(senders)

    def _added(self, senders: list[int]) -> Float[Tensor, "sender place d_model"]:
        return self.added[sent(torch.tensor(senders), self.added.device)]

    def _rows(self, x: Tensor) -> Float[Tensor, "sender row pos d_model"]:
        return x.reshape(-1, self.n_rows, self.n_pos, x.shape[-1])

    def _continued(
        self, x: Tensor, n: int, first: int, projected: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> Tensor:
        """Return the logits of `n` copies of the rows, each from its own state at a layer."""
        with torch.no_grad():
            return self.model.run_from(
                x,
                self.base.run.context.repeated(n),
                first=first,
                sources=self.base.past(n),
                projected=projected,
                last_at_label=True,
            )

    def _into_heads(self, layer: int, senders: list[int], within: list[int]) -> Tensor:
        n_heads, attention = self.model.graph.heads_in(layer), self.model.layers[layer].attention
        kept, n = self.base.kept, len(senders)
        entering = kept[hook_points.resid_pre(layer)]
        # Each sender's change passes the norm once, however many receivers of the layer read it.
        alone = sorted(set(senders))
        x = entering + self._rows(self._added(alone))  # [sender, row, pos, d_model]
        moved = attention.project(x.flatten(0, 1))
        # [edge * row, pos, head, d_head]: as in the base run, but for the one read of each edge
        reads = [
            per_head(kept[hook_points.projection(layer, read)], n_heads).repeat(n, 1, 1, 1)
            for read in READS
        ]
        new = [per_head(x, n_heads).unflatten(0, (len(alone), -1)) for x in moved]
        for i, (sender, receiver) in enumerate(zip(senders, within, strict=True)):
            read, head = divmod(receiver, n_heads)
            rows = slice(i * self.n_rows, (i + 1) * self.n_rows)
            reads[read][rows, :, head] = new[read][alone.index(sender), :, :, head]
        q, k, v = reads
        return self._continued(entering.repeat(n, 1, 1), n, layer, (q, k, v))

    def _into_mlp(self, layer: int, senders: list[int], parts: list[int]) -> Tensor:
        kept, n = self.base.kept, len(senders)
        block = self.model.layers[layer]
        assert block.mlp is not None
        units = block.units
        if units is not None and units.spec.read_alone:
            written = self._into_parts(layer, senders, parts)
        else:
            read = kept[hook_points.mlp_in(layer)] + self._rows(self._added(senders))
            with torch.no_grad():
                written = block.mlp(read.flatten(0, 1))
        # The residual stream behind the MLP, without what the MLP wrote in the base run.
        rest = kept[hook_points.resid_post(layer)] - kept[hook_points.mlp_out(layer)]
        return self._continued(rest.repeat(n, 1, 1) + written, n, layer + 1)

    def _into_parts(self, layer: int, senders: list[int], parts: list[int]) -> Tensor:
        """Return what an MLP writes of which one part alone reads the change of each edge."""
        kept, block = self.base.kept, self.model.layers[layer]
        units, mlp = block.units, block.mlp
        assert units is not None
        assert mlp is not None
        entering, alone = kept[hook_points.mlp_in(layer)], sorted(set(senders))
        which = sorted(set(parts))
        with torch.no_grad():
            read = torch.cat((entering.unsqueeze(0), entering + self._rows(self._added(alone))))
            writes = units.writes_of(mlp, read.flatten(0, 1), which)
        writes = writes.unflatten(1, (1 + len(alone), -1))  # of the base run, then of each sender
        changes = [
            writes[which.index(part), 1 + alone.index(sender)] - writes[which.index(part), 0]
            for sender, part in zip(senders, parts, strict=True)
        ]
        return torch.cat([kept[hook_points.mlp_out(layer)] + change for change in changes])

    def _into_logits(self, senders: list[int]) -> Tensor:
        added = self._added(senders)[:, labelled_places(self.base.run)]
        final = self.base.kept[hook_points.FINAL_NORM_IN]  # [row, *label, d_model]
        with torch.no_grad():
            return self.model.unembed((final + added.unflatten(1, final.shape[:-1])).flatten(0, 1))
