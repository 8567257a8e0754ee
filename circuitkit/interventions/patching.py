"""Exact activation patching: put values of one run into another, one place at a time.

    noising    effect = gain(clean run) - gain(clean run with corrupted values put in)
    denoising  effect = gain(corrupted run with clean values put in) - gain(corrupted run)

gain is the metric with the sign that makes more better, so both are positive where the place
supports the behaviour: noising asks whether it is needed, denoising whether it is enough
(Heimersheim and Nanda 2024, arXiv:2404.15255). Unit: the metric's. Patches run many to a batch.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.errors import MethodError
from circuitkit.graph import head_name
from circuitkit.interventions.budget import pairs_per_batch
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.record import record
from circuitkit.progress import Progress, silent
from circuitkit.prompts import PromptBatch, PromptPairs


class Direction(Enum):
    """Which run is repaired or damaged."""

    NOISING = "noising"
    DENOISING = "denoising"


@dataclass(frozen=True)
class Place:
    """One row of a patching sweep: where in the model values are replaced."""

    name: str
    hook_point: str
    heads: tuple[int, ...] = ()  # of the activation's head axis; () replaces every entry


@dataclass(frozen=True)
class Site:
    """A kind of place, found once in every layer, or once for every head of a layer."""

    name: str
    description: str
    label: str  # of a layer, as "resid {}"; heads have their own names
    hook_point: Callable[[int], str]
    is_per_head: bool = False

    def places(self, model: SubjectModel) -> tuple[Place, ...]:
        """Return the places from the first layer to the last."""
        layers = range(model.graph.n_layers)
        if not self.is_per_head:
            return tuple(Place(self.label.format(i), self.hook_point(i)) for i in layers)
        return tuple(
            Place(head_name(layer, head), self.hook_point(layer), (head,))
            for layer in layers
            for head in range(model.graph.n_heads)
        )


SITES = (
    Site("resid", "residual stream entering each block", "resid {}", hook_points.resid_pre),
    Site("attn", "attention output of each layer", "attn {}", hook_points.attn_out),
    Site("mlp", "MLP output of each layer", "m{}", hook_points.mlp_out),
    Site("heads", "output of each attention head", "", hook_points.z, is_per_head=True),
)


def site_named(name: str) -> Site:
    """Return the site of this name.

    Raises:
        MethodError: there is none.
    """
    for site in SITES:
        if site.name == name:
            return site
    known = ", ".join(site.name for site in SITES)
    raise MethodError(
        f"site {name!r}: must be one of {known}. It says where values are patched. Choose one."
    )


@dataclass(frozen=True)
class Columns:
    """Named groups of positions, one patch each; a group may be empty for a pair."""

    names: tuple[str, ...]
    masks: Bool[Tensor, "column pair pos"]


def all_positions(pairs: PromptPairs) -> Columns:
    """Return one column that holds every real token."""
    return Columns(("all",), pairs.mask.unsqueeze(0))


def by_position(pairs: PromptPairs) -> Columns:
    """Return one column per token position, counted from the first real token."""
    n_columns = int(pairs.lengths.max())
    place = pairs.clean_batch.position_ids
    masks = [(place == column) & pairs.mask for column in range(n_columns)]
    return Columns(tuple(str(column) for column in range(n_columns)), torch.stack(masks))


def by_role(pairs: PromptPairs) -> Columns:
    """Return one column per role, in the order of their usual places, then one for the rest.

    Roles that fewer than half of the pairs have are left to the rest.
    """
    counts = Counter(name for roles in pairs.roles for name in roles)
    common = [name for name, count in counts.items() if 2 * count >= len(pairs)]

    def usual_place(name: str) -> float:
        ends = [pairs.clean.shape[1] - roles[name][0] for roles in pairs.roles if name in roles]
        return -sum(ends) / len(ends)

    names = sorted(common, key=usual_place)
    masks = torch.zeros(len(names) + 1, *pairs.mask.shape, dtype=torch.bool)
    for column, name in enumerate(names):
        for row, roles in enumerate(pairs.roles):
            if name in roles:
                masks[column, row, slice(*roles[name])] = True
    masks[-1] = pairs.mask & ~masks[:-1].any(0)
    return Columns((*names, "rest"), masks)


COLUMNS: dict[str, Callable[[PromptPairs], Columns]] = {
    "role": by_role,
    "position": by_position,
    "all": all_positions,
}


def columns_named(name: str) -> Callable[[PromptPairs], Columns]:
    """Return how positions are grouped into columns.

    Raises:
        MethodError: there is no grouping of that name.
    """
    if name not in COLUMNS:
        raise MethodError(
            f"columns {name!r}: must be one of {', '.join(COLUMNS)}. It says which positions are "
            "patched together. Choose one."
        )
    return COLUMNS[name]


@dataclass(frozen=True)
class PatchingEffects:
    """Effect of each patch on each pair; positive supports the behaviour. Unit: the metric's.

    `gap` is gain(clean) - gain(corrupted) of each pair, what patching everything amounts to.
    """

    site: str
    direction: Direction
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    effects: Float[Tensor, "row column pair"]
    gap: Float[Tensor, " pair"]


@dataclass(frozen=True)
class _Patch:
    place: Place
    mask: Bool[Tensor, "pair pos"]


def patch_activations(
    model: SubjectModel,
    pairs: PromptPairs,
    site: Site,
    columns: Columns,
    *,
    metric: Metric,
    direction: Direction = Direction.NOISING,
    memory: int | None = None,
    progress: Progress = silent,
) -> PatchingEffects:
    """Return the exact effect of patching every place of `site` at every column of positions.

    Raises:
        PromptError: the metric needs labels that the pairs lack.
        ActivationError: an activation of either run is NaN or infinite.
        MemoryBudgetError: not even one patch on one pair fits.
    """
    metric.check(pairs.labels)
    places = site.places(model)
    n_rows = pairs_per_batch(model, pairs, memory)
    effects = torch.empty(len(places), len(columns.names), len(pairs), dtype=torch.float64)
    gaps = []
    done = 0
    progress(0, effects.numel())
    for start in range(0, len(pairs), n_rows):
        rows = range(start, min(start + n_rows, len(pairs)))
        sweep = _Sweep(model, pairs.select(rows), metric, direction)
        gaps.append(sweep.gap)
        masks = columns.masks[:, rows.start : rows.stop]
        for i, place in enumerate(places):
            block = sweep.effects([_Patch(place, mask) for mask in masks], n_rows)
            effects[i, :, rows.start : rows.stop] = block
            done += block.numel()
            progress(done, effects.numel())
    names = tuple(place.name for place in places)
    return PatchingEffects(site.name, direction, names, columns.names, effects, torch.cat(gaps))


class _Sweep:
    """Both runs of some pairs, and patched runs between them."""

    def __init__(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, direction: Direction
    ) -> None:
        self.model, self.metric, self.direction = model, metric, direction
        self.noising = direction is Direction.NOISING
        base, donor = pairs.clean_batch, pairs.corrupted_batch
        self.base, self.donor = (base, donor) if self.noising else (donor, base)
        logits = {True: record(model, base)[1], False: record(model, donor)[1]}
        self.labels = pairs.with_clean_logits(logits[True]).labels.to(model.device)
        clean, corrupted = (metric.gain(logits[side], self.labels) for side in (True, False))
        self.gap = (clean - corrupted).double().cpu()
        self.base_gain = clean if self.noising else corrupted
        self.donors: dict[str, Tensor] = {}

    def effects(self, patches: Sequence[_Patch], max_rows: int) -> Float[Tensor, "patch pair"]:
        """Return the effects of patches at one hook point, as many to a batch as fit."""
        n_pairs = len(self.base.tokens)
        chunk = max(1, max_rows // n_pairs)
        parts = [self._chunk(patches[i : i + chunk]) for i in range(0, len(patches), chunk)]
        return torch.cat(parts)

    def _chunk(self, patches: Sequence[_Patch]) -> Float[Tensor, "patch pair"]:
        place = patches[0].place
        masks = torch.cat([patch.mask for patch in patches]).to(self.model.device)
        donor = self._donor(place.hook_point)
        hook = _replacer(place, donor.repeat(len(patches), *[1] * (donor.ndim - 1)), masks)
        batch: PromptBatch = self.base.repeated(len(patches))
        with torch.no_grad():
            logits = self.model.run(batch, {place.hook_point: hook})
        gain = self.metric.gain(logits, self.labels.repeated(len(patches)))
        change = self.base_gain.repeat(len(patches)) - gain
        return (change if self.noising else -change).double().cpu().reshape(len(patches), -1)

    def _donor(self, hook_point: str) -> Tensor:
        if hook_point not in self.donors:
            kept: list[Tensor] = []
            with torch.no_grad():
                self.model.run(self.donor, {hook_point: lambda x: kept.append(x.detach())})
            self.donors = {hook_point: kept[0]}  # one at a time: they are large
        return self.donors[hook_point]


def _replacer(place: Place, donor: Tensor, masks: Bool[Tensor, "row pos"]) -> Hook:
    where = masks.reshape(*masks.shape, *[1] * (donor.ndim - 2))
    if place.heads:
        heads = torch.zeros(donor.shape[2], dtype=torch.bool, device=masks.device)
        heads[list(place.heads)] = True
        where = where & heads[:, None]

    def replace(activation: Tensor) -> Tensor:
        return torch.where(where, donor, activation)

    return replace
