"""What a batch of circuits has in common, found in its edge masks before anything is run.

Stages are where something is read: the heads of layer l at 2 l, its MLP at 2 l + 1, the logits at
2 n_layers. All of this is decided on the host. The device is given two tensors, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.circuits.graph import ComponentGraph
from circuitkit.model import SubjectModel
from circuitkit.work.devices import sent

Group = tuple[Int[Tensor, " _receiver"], Int[Tensor, " _receiver"]]
"""Receivers of a layer that keep the same edges, counted within it; and their projections."""


@dataclass(frozen=True)
class Stage:
    """What is read at one stage, by the circuits that are under way there.

    `rows` are those circuits, and `kept` the edges kept by each group of receivers that read the
    same in every circuit. Receivers that keep none in any circuit are in no group.
    """

    rows: list[int]
    kept: Bool[Tensor, "circuit group sender"]
    groups: tuple[Group, ...] = ()  # of heads only
    parts: tuple[list[int], ...] = ()  # the groups of an MLP's parts that read alone


def stage_of(layer: int, what: str) -> int:
    """Return the stage of the `heads` or `mlp` of a layer; n_layers: the logits."""
    return 2 * layer + (what == "mlp")


def plan_of(
    edge_masks: Bool[Tensor, "circuit *column sender receiver"],
    model: SubjectModel,
    first: int = 0,
) -> dict[int, Stage]:
    """Return the stages of a run of these circuits from layer `first` on."""
    graph, masks = model.graph, edge_masks.numpy()
    begins_at = np.array(stages_of_parting(edge_masks, graph))
    found: list[tuple[int, list[int], NDArray[np.bool_], list[list[int]]]] = []
    for layer in range(first, graph.n_layers + 1):
        for what in ("heads", "mlp")[: 1 + (graph.has_mlps and layer < graph.n_layers)]:
            stage = stage_of(layer, what)
            rows = np.flatnonzero(begins_at <= stage).tolist()
            kept, groups = _kept(masks, rows, graph, layer, what)
            found.append((stage, rows, kept, groups))
    return _sent(found, model)


def _kept(
    masks: NDArray[np.bool_], rows: list[int], graph: ComponentGraph, layer: int, what: str
) -> tuple[NDArray[np.bool_], list[list[int]]]:
    """Return the edges kept by each group, [circuit, group, sender], and the groups of heads.

    Of edges at columns, senders are counted column by column.
    """
    if layer == graph.n_layers:
        return _by_receiver(masks[..., -1:], rows), []
    first, mlp = graph.first_receiver(layer), graph.mlp_receiver(layer)
    is_mlp = what == "mlp"
    at = graph.mlp_receivers(layer) if is_mlp else slice(first, mlp)
    before = graph.n_senders_before_mlp if is_mlp else graph.n_senders_before_attention
    # sliced before rows are picked: a copy of what this stage reads, not of whole masks
    kept = _by_receiver(masks[..., : before(layer), at], rows)
    if is_mlp and kept.shape[1] == 1:
        return kept[:, : int(kept.any())], []
    groups = receivers_alike(kept)
    return kept[:, [group[0] for group in groups]], groups


def _by_receiver(masks: NDArray[np.bool_], rows: list[int]) -> NDArray[np.bool_]:
    """Return the masks of some circuits as [circuit, receiver, column * sender]."""
    chosen = np.moveaxis(masks[rows], -1, 1)
    return chosen.reshape(*chosen.shape[:2], -1)


def receivers_alike(kept: NDArray[np.bool_]) -> list[list[int]]:
    """Return the receivers in groups that keep the same edges in every circuit.

    `kept` is [circuit, receiver, sender]. Those that keep none are left out.
    """
    groups: dict[bytes, list[int]] = {}
    for receiver in np.flatnonzero(kept.any((0, 2))):
        key = np.packbits(kept[:, receiver]).tobytes()
        groups.setdefault(key, []).append(int(receiver))
    return list(groups.values())


def stages_of_parting(
    edge_masks: Bool[Tensor, "circuit *column sender receiver"], graph: ComponentGraph
) -> list[int]:
    """Return the stage at which each circuit first differs from the one before it; the first is 0.

    A circuit that is the same all the way parts at the logits.
    """
    differs = (edge_masks[1:] != edge_masks[:-1]).flatten(1, -2).any(1)
    differs[:, -1] = True
    first: list[int] = differs.int().argmax(1).tolist()
    stages = [0]
    for receiver in first:
        layer = graph.layer_of_receiver(receiver)
        is_mlp = layer < graph.n_layers and receiver >= graph.mlp_receiver(layer)
        stages.append(stage_of(layer, "mlp" if is_mlp else "heads"))
    return stages


def _sent(
    found: Sequence[tuple[int, list[int], NDArray[np.bool_], list[list[int]]]], model: SubjectModel
) -> dict[int, Stage]:
    """Return the stages with their tensors on the device, masks and numbers sent in one piece."""
    masks = _in_one_piece([kept for _, _, kept, _ in found], model.device)
    numbers = []
    for stage, _, _, groups in found:
        for group in groups if stage % 2 == 0 else ():
            attention = model.layers[stage // 2].attention
            sources = [attention.source_of(receiver) for receiver in group]
            numbers += [np.array(group), np.array(sources)]
    sent = iter(_in_one_piece(numbers, model.device))
    plan = {}
    for (stage, rows, _, groups), mask in zip(found, masks, strict=True):
        if stage % 2:
            plan[stage] = Stage(rows, mask, parts=tuple(groups))
        else:
            plan[stage] = Stage(rows, mask, tuple((next(sent), next(sent)) for _ in groups))
    return plan


def _in_one_piece(arrays: Sequence[NDArray[np.generic]], device: torch.device) -> list[Tensor]:
    if not arrays:
        return []
    flat = sent(torch.from_numpy(np.concatenate([array.ravel() for array in arrays])), device)
    parts = flat.split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]
