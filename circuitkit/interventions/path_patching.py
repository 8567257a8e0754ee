"""Path patching: what some senders change, as far as it reaches some receivers along given paths.

1. The run is frozen: every head keeps its own value. The senders' writes alone are replaced by
   those of the other run, at chosen positions. MLPs between are *frozen* too, or *recomputed* from
   what reaches them. This gives what the receivers read: `a9.h9<q>`, an MLP's input, the logits'.
2. In a second run the receivers read that, and all that follows from it is computed.

    noising    effect = gain(clean run) - gain(second run)
    denoising  effect = gain(second run) - gain(corrupted run), with the two runs exchanged

Positive where the path supports the behaviour; unit: the metric's. With frozen MLPs only direct
paths count, and one sender and one receiver make one edge. With recomputed MLPs so do all paths
through MLPs alone, which is path patching as Wang et al. 2022 (arXiv:2211.00593, appendix B) do it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.circuits.graph import LOGITS, READS, ComponentGraph, component_of
from circuitkit.errors import GraphError
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.budget import rows_per_batch
from circuitkit.interventions.recorded import BothRuns, Direction, receiver_points
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.attention import per_head
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import counted_from, sender_outputs
from circuitkit.model.runs import behind, labelled_places, like, whole_run
from circuitkit.moved import old_names
from circuitkit.names import MLPs as MLPs
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.devices import sent
from circuitkit.work.notebook import Shown
from circuitkit.work.progress import Progress, silent
from circuitkit.work.text import brief


@dataclass(frozen=True)
class PatchedPath:
    """From any of some senders to any of some receivers.

    A receiver that is a head's name, as `a9.h9`, stands for its q, k and v inputs.
    """

    senders: tuple[str, ...]
    receivers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' + '.join(self.senders)} -> {' + '.join(self.receivers)}"


@dataclass(frozen=True)
class PathEffects(Shown):
    """The effect of each path on each pair; positive supports the behaviour. Unit: the metric's."""

    paths: tuple[str, ...]
    columns: tuple[str, ...]
    effects: Float[Tensor, "path column pair"]
    gap: Float[Tensor, " pair"]  # gain(clean) - gain(corrupted)

    def __repr__(self) -> str:
        size = " x ".join(str(n) for n in self.effects.shape)
        return brief(f"PathEffects({size} (path, column, pair))")


def patch_paths(
    model: SubjectModel,
    pairs: PromptPairs,
    paths: Sequence[PatchedPath],
    metric: Metric,
    columns: Columns,
    *,
    mlps: MLPs = MLPs.RECOMPUTED,
    direction: Direction = Direction.NOISING,
    memory: int | None = None,
    progress: Progress = silent,
) -> PathEffects:
    """Return the exact effect of each path, for senders replaced at each column of positions.

    Raises:
        GraphError: a sender or receiver does not exist, or no sender comes before a receiver.
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one path on one pair fits.
    """
    resolved = [_resolved(model, path) for path in paths]
    metric.check(pairs.labels)
    n_pairs, max_rows = rows_per_batch(model, pairs, memory)
    effects = torch.zeros(len(paths), len(columns.names), len(pairs), dtype=torch.float64)
    gaps = []
    progress(0, effects.numel())
    for start in range(0, len(pairs), n_pairs):
        rows = slice(start, min(start + n_pairs, len(pairs)))
        with counted_from(start):
            part = pairs.select(range(rows.start, rows.stop))
            bench = _Bench(model, part, metric, direction, mlps)
        gaps.append(bench.both.gap)
        masks = sent(columns.masks[:, rows], model.device)
        effects[:, :, rows] = bench.effects(resolved, masks, max_rows)
        progress(rows.stop * len(paths) * len(columns.names), effects.numel())
    return PathEffects(tuple(str(path) for path in paths), columns.names, effects, torch.cat(gaps))


@dataclass(frozen=True)
class _Resolved:
    """A path by index: its senders, and its receivers by layer (n_layers: the logits)."""

    senders: frozenset[int]
    heads: dict[int, list[int]]  # layer -> receivers within it: q, k, v of each head
    mlps: frozenset[int]
    to_logits: bool

    def first_layer(self, n_layers: int) -> int:
        return min([*self.heads, *self.mlps, n_layers])


def _resolved(model: SubjectModel, path: PatchedPath) -> _Resolved:
    graph = model.graph
    names = inputs_of(graph, path.receivers)
    for sender in path.senders:
        if sender not in graph.senders:
            raise GraphError(
                f"path {path}: a sender must be a component of this graph ({graph}), got "
                f"{sender!r}. Senders are {graph.senders[0]!r}, heads as {graph.senders[1]!r} and "
                "MLPs. Check the layer and head numbers."
            )
    senders = frozenset(graph.senders.index(sender) for sender in path.senders)
    receivers = [graph.receivers.index(name) for name in names]
    for name, receiver in zip(names, receivers, strict=True):
        if not any(bool(graph.edge_mask[sender, receiver]) for sender in senders):
            raise GraphError(
                f"path {path}: some sender must come before receiver {name!r}, got none that does. "
                "Nothing can reach it. Choose an earlier sender or a later receiver."
            )
    heads: dict[int, list[int]] = defaultdict(list)
    mlps: set[int] = set()
    for name, receiver in zip(names, receivers, strict=True):
        if name == LOGITS:
            continue
        layer = graph.layer_of_receiver(receiver)
        if receiver < graph.mlp_receiver(layer):
            heads[layer].append(receiver - graph.first_receiver(layer))
        else:
            mlps.add(layer)
    return _Resolved(senders, dict(heads), frozenset(mlps), LOGITS in names)


def inputs_of(graph: ComponentGraph, receivers: Sequence[str]) -> list[str]:
    """Return the receiver inputs of these names; a head's name stands for its q, k and v.

    Raises:
        GraphError: there is no such receiver.
    """
    found = []
    first = graph.receivers[0]
    for receiver in receivers:
        exact = [receiver] if receiver in graph.receivers else []
        inputs = exact or [name for name in graph.receivers if component_of(name) == receiver]
        if not inputs:
            raise GraphError(
                f"receiver {receiver!r}: must be an input of this graph ({graph}), got an unknown "
                f"name. Receivers look like {first!r}, {component_of(first)!r} for all three, or "
                "'logits'. Check the layer and head numbers."
            )
        found += inputs
    return found


@dataclass
class _Read:
    """What receivers read in the frozen run; a block is one path at one column of positions."""

    projections: dict[tuple[int, int], list[tuple[int, Tensor]]] = field(
        default_factory=lambda: defaultdict(list)
    )  # (layer, receiver within it) -> block, value
    mlp_in: dict[int, list[tuple[int, Tensor]]] = field(default_factory=lambda: defaultdict(list))
    logits_in: list[tuple[int, Tensor]] = field(default_factory=list)


class _Bench:
    """One batch of pairs, on which any path can be patched."""

    def __init__(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        direction: Direction,
        mlps: MLPs,
    ) -> None:
        self.model, self.mlps = model, mlps
        n_shared = ResampleAblation().n_shared_positions(model, pairs)
        clean_run = behind(model, whole_run(model, pairs.clean_batch), n_shared)
        runs = clean_run, like(clean_run, model, pairs.corrupted_batch)
        self.both = BothRuns(model, pairs, runs, metric, direction, receiver_points(model))
        self.base, donor = self.both.base, self.both.donor
        added = sender_outputs(model, donor.activations.minus(self.base.activations))
        self.n_rows, self.n_pos = clean_run.entering.shape[:2]
        self.start = clean_run.start
        self.added = added.reshape(len(added), self.n_rows, self.n_pos, -1)

    def effects(
        self, paths: Sequence[_Resolved], masks: Bool[Tensor, "column pair pos"], max_rows: int
    ) -> Float[Tensor, "path column pair"]:
        """Return the effects, paths that begin in one layer together."""
        out = torch.zeros(len(paths), len(masks), self.n_rows, dtype=torch.float64)
        masks = masks[:, :, self.start :] & self.base.run.mask
        by_layer: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for i, path in enumerate(paths):
            first = path.first_layer(self.model.graph.n_layers)
            by_layer[first] += [(i, j) for j in range(len(masks))]
        size = max(1, max_rows // self.n_rows)
        with torch.no_grad():
            for first, blocks in by_layer.items():
                for k in range(0, len(blocks), size):
                    chunk = blocks[k : k + size]
                    found = self._run(
                        [paths[i] for i, _ in chunk], masks[[j for _, j in chunk]], first
                    )
                    for (i, j), effect in zip(chunk, found, strict=True):
                        out[i, j] = effect
        return out

    def _run(
        self, paths: Sequence[_Resolved], masks: Bool[Tensor, "block pair pos"], first: int
    ) -> Float[Tensor, "block pair"]:
        n, model = len(paths), self.model
        hooks = self._hooks(self._read(paths, masks), n)
        if first == model.graph.n_layers:
            final = self.base.kept[hook_points.FINAL_NORM_IN]
            final = final.repeat(n, *[1] * (final.ndim - 1))
            logits = model.unembed(hooks[hook_points.FINAL_NORM_IN](final))  # type: ignore[arg-type]
        else:
            logits = model.run_from(
                self.base.kept[hook_points.resid_pre(first)].repeat(n, 1, 1),
                self.base.run.context.repeated(n),
                hooks,
                first=first,
                sources=self.base.past(n),
            )
        return self.both.effects(logits, n)

    def _read(self, paths: Sequence[_Resolved], masks: Bool[Tensor, "block pair pos"]) -> _Read:
        """Return what the receivers read when the senders alone are replaced (step 1)."""
        graph, kept = self.model.graph, self.base.kept
        read = _Read()
        # [block, row, pos, d_model]: how far the residual stream is from the base run's. Heads are
        # frozen, so at any layer this is the sum over the senders and recomputed MLPs before it.
        moved = self.added.new_zeros(len(paths), *self.added.shape[1:])
        self._send(moved, paths, masks, 0)
        for index, layer in enumerate(self.model.layers):
            self._keep_projections(read, paths, moved, index)
            # in parallel blocks the MLP does not read its own layer's heads
            before = moved.clone() if graph.parallel_attn_mlp else moved
            for sender in range(graph.head_sender(index), graph.mlp_sender(index)):
                self._send(moved, paths, masks, sender)
            if layer.mlp is None:
                continue
            mlp_in = kept[hook_points.mlp_in(index)] + (
                before if graph.parallel_attn_mlp else moved
            )
            for block, path in enumerate(paths):
                if index in path.mlps:
                    read.mlp_in[index].append((block, mlp_in[block]))
            sender = graph.mlp_sender(index)
            if self.mlps is MLPs.RECOMPUTED:
                out = layer.mlp(mlp_in.flatten(0, 1)).unflatten(0, (len(paths), -1))
                change = out - kept[hook_points.mlp_out(index)]
                for block, path in enumerate(paths):
                    if sender not in path.senders:  # a sender's write is given
                        moved[block] += change[block]
            self._send(moved, paths, masks, sender)
        # [block, row, *label, d_model]: the logits read the labelled positions alone
        base = kept[hook_points.FINAL_NORM_IN]
        at_labels = moved.flatten(1, 2)[:, labelled_places(self.base.run)]
        final = base + at_labels.unflatten(1, base.shape[:-1])
        read.logits_in += [(i, final[i]) for i, path in enumerate(paths) if path.to_logits]
        return read

    def _send(self, moved: Tensor, paths: Sequence[_Resolved], masks: Tensor, sender: int) -> None:
        for block, path in enumerate(paths):
            if sender in path.senders:
                moved[block] += self.added[sender] * masks[block].unsqueeze(-1)

    def _keep_projections(
        self, read: _Read, paths: Sequence[_Resolved], moved: Tensor, layer: int
    ) -> None:
        blocks = [block for block, path in enumerate(paths) if layer in path.heads]
        if not blocks:
            return
        attention, n_heads = self.model.layers[layer].attention, self.model.graph.heads_in(layer)
        # the norm in front is not frozen: it is that of what is read
        x = self.base.kept[hook_points.resid_pre(layer)] + moved[blocks]
        parts = [per_head(part, n_heads) for part in attention.project(x.flatten(0, 1))]
        parts = [part.unflatten(0, (len(blocks), -1)) for part in parts]
        for i, block in enumerate(blocks):
            for within in paths[block].heads[layer]:
                which, head = divmod(within, n_heads)
                read.projections[layer, within].append((block, parts[which][i, :, :, head]))

    def _hooks(self, read: _Read, n: int) -> dict[Point, Hook]:
        """Return hooks that let the receivers read it (step 2)."""
        by_point: dict[Point, list[tuple[int, int, Tensor]]] = defaultdict(list)
        for (layer, within), values in read.projections.items():
            which, head = divmod(within, self.model.graph.heads_in(layer))
            point = hook_points.projection(layer, READS[which])
            by_point[point] += [(block, head, value) for block, value in values]
        hooks: dict[Point, Hook] = {
            point: partial(self._put_heads, layer=point.layer, values=values, n=n)
            for point, values in by_point.items()
        }
        for layer, found in read.mlp_in.items():
            hooks[hook_points.mlp_in(layer)] = partial(_put_rows, values=found, n=n)
        if read.logits_in:
            hooks[hook_points.FINAL_NORM_IN] = partial(_put_rows, values=read.logits_in, n=n)
        return hooks

    def _put_heads(
        self, x: Tensor, layer: int, values: list[tuple[int, int, Tensor]], n: int
    ) -> Tensor:
        heads = per_head(x, self.model.graph.heads_in(layer))
        out = heads.reshape(n, -1, *heads.shape[1:]).clone()
        for block, head, value in values:
            out[block, :, :, head] = value
        return out.flatten(0, 1)


def _put_rows(x: Tensor, values: list[tuple[int, Tensor]], n: int) -> Tensor:
    out = x.reshape(n, -1, *x.shape[1:]).clone()
    for block, value in values:
        out[block] = value
    return out.flatten(0, 1)


if not TYPE_CHECKING:  # names that moved
    __getattr__ = old_names(__name__)
