"""Exact activation patching: put values of one run into another, one place at a time.

    noising    effect = gain(clean run) - gain(clean run with corrupted values put in)
    denoising  effect = gain(corrupted run with clean values put in) - gain(corrupted run)

gain is the metric with the sign that makes more better, so both are positive where the place
supports the behaviour: noising asks whether it is needed, denoising whether it is enough
(Heimersheim and Nanda 2024, arXiv:2404.15255). Unit: the metric's.

A patch in layer l leaves all before l as it was, and a patch from position p on leaves all before
p: each patched run starts there. Patches of one layer run many to a batch.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.circuits.graph import READS
from circuitkit.interventions.ablation import CorruptedRun, ResampleAblation
from circuitkit.interventions.budget import rows_per_batch
from circuitkit.interventions.recorded import BothRuns, Direction
from circuitkit.interventions.sites import Place, Site
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel
from circuitkit.model.attention import per_head
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import counted_from
from circuitkit.model.runs import whole_run
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.devices import sent
from circuitkit.work.notebook import Shown
from circuitkit.work.progress import Progress, silent
from circuitkit.work.text import brief

RESAMPLE = ResampleAblation()


@dataclass(frozen=True)
class PatchingEffects(Shown):
    """Effect of each patch on each pair; positive supports the behaviour. Unit: the metric's.

    `gap` is gain(clean) - gain(corrupted) of each pair, what patching everything amounts to.
    """

    site: str
    direction: Direction
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    effects: Float[Tensor, "row column pair"]
    gap: Float[Tensor, " pair"]

    def __repr__(self) -> str:
        size = " x ".join(str(n) for n in self.effects.shape)
        return brief(
            f"PatchingEffects({self.direction.value} at {self.site}: {size} (row, column, pair))"
        )


def patch_activations(
    model: SubjectModel,
    pairs: PromptPairs,
    site: Site,
    columns: Columns,
    *,
    metric: Metric,
    direction: Direction = Direction.NOISING,
    corruption: CorruptedRun = RESAMPLE,
    memory: int | None = None,
    progress: Progress = silent,
) -> PatchingEffects:
    """Return the exact effect of patching every place of `site` at every column of positions.

    `corruption` gives the other run: that of the corrupted prompts, or of blurred clean ones.

    Raises:
        GraphError: the model has no such site.
        PromptError: the metric needs labels that the pairs lack.
        ActivationError: an activation of either run is NaN or infinite.
        MemoryBudgetError: not even one patch on one pair fits.
    """
    return patch_places(
        model,
        pairs,
        site.places(model),
        columns,
        metric=metric,
        direction=direction,
        corruption=corruption,
        memory=memory,
        progress=progress,
        name=site.name,
    )


def patch_places(
    model: SubjectModel,
    pairs: PromptPairs,
    places: Sequence[Place],
    columns: Columns,
    *,
    metric: Metric,
    direction: Direction = Direction.NOISING,
    corruption: CorruptedRun = RESAMPLE,
    memory: int | None = None,
    progress: Progress = silent,
    name: str = "places",
) -> PatchingEffects:
    """Return the exact effect of patching each of some places, as `patch_activations`."""
    metric.check(pairs.labels)
    n_pairs, max_rows = rows_per_batch(model, pairs, memory)
    by_layer: dict[int, list[int]] = defaultdict(list)
    for row, place in enumerate(places):
        by_layer[place.point.layer].append(row)
    effects = torch.zeros(len(places), len(columns.names), len(pairs), dtype=torch.float64)
    gaps = []
    done = 0
    progress(0, effects.numel())
    for start in range(0, len(pairs), n_pairs):
        chunk = slice(start, min(start + n_pairs, len(pairs)))
        part = pairs.select(range(chunk.start, chunk.stop))
        points = {point for place in places for point in place.points}
        with counted_from(start):
            sweep = _Sweep(model, part, metric, direction, points, corruption)
        gaps.append(sweep.both.gap)
        masks = sent(columns.masks[:, chunk], model.device)
        for rows in by_layer.values():
            effects[rows, :, chunk] = sweep.effects([places[row] for row in rows], masks, max_rows)
            done += len(rows) * len(masks) * len(part)
            progress(done, effects.numel())
    names = tuple(place.name for place in places)
    return PatchingEffects(name, direction, names, columns.names, effects, torch.cat(gaps))


@dataclass(frozen=True)
class _Patch:
    """One place and column of a layer: where in the effects, what, and at which positions."""

    place: Place
    index: tuple[int, int]
    where: Bool[Tensor, "pair pos"]


class _Sweep:
    """Both runs of some pairs, and patched runs between them."""

    def __init__(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        direction: Direction,
        points: set[Point],
        corruption: CorruptedRun,
    ) -> None:
        self.model = model
        runs = whole_run(model, pairs.clean_batch), corruption.run(model, pairs)
        self.both = BothRuns(model, pairs, runs, metric, direction, points)
        self.last = pairs.first_read

    def effects(
        self, places: Sequence[Place], masks: Bool[Tensor, "column pair pos"], max_rows: int
    ) -> Float[Tensor, "place column pair"]:
        """Return the effects of patching places of one layer; zero where both runs are equal."""
        effects = torch.zeros(len(places), *masks.shape[:2], dtype=torch.float64)
        patches: dict[int, list[_Patch]] = defaultdict(list)
        where = torch.stack([masks & self._differs(place) for place in places])
        positions = where.any(2).cpu()  # [place, column, pos], read once for all
        for i, j in positions.any(2).nonzero().tolist():
            start = self._start(positions[i, j])
            patches[start].append(_Patch(places[i], (i, j), where[i, j]))
        size = max(1, max_rows // masks.shape[1])
        for start, together in patches.items():
            for first in range(0, len(together), size):
                chunk = together[first : first + size]
                for patch, effect in zip(chunk, self._run(chunk, start), strict=True):
                    effects[patch.index] = effect
        return effects

    def _differs(self, place: Place) -> Bool[Tensor, "pair pos"]:
        base, donor = self.both.base.kept, self.both.donor.kept
        differs = [
            (base[point] != donor[point]).transpose(1, place.pos_axis).flatten(2).any(-1)
            for point in place.points
        ]
        return torch.stack(differs).any(0)

    def _start(self, positions: Bool[Tensor, " pos"]) -> int:
        """Return the first position that a patch at some positions can change."""
        if not self.model.can_lend:
            return 0
        return min(int(positions.nonzero()[0]), self.last)

    def _run(self, patches: Sequence[_Patch], start: int) -> Float[Tensor, "patch pair"]:
        n, layer = len(patches), patches[0].place.point.layer
        logits = self.both.base.again(
            self.model, n, self._hooks(patches, start), layer=layer, start=start
        )
        return self.both.effects(logits, n)

    def _hooks(self, patches: Sequence[_Patch], start: int) -> Mapping[Point, Hook]:
        n_pairs = len(patches[0].where)
        by_point: dict[Point, list[int]] = defaultdict(list)
        for i, patch in enumerate(patches):
            for point in patch.place.points:
                by_point[point].append(i)

        def hook_of(point: Point, chosen: list[int]) -> Hook:
            axis = patches[chosen[0]].place.pos_axis
            donor = self.both.donor.kept[point]
            donor = donor.narrow(axis, start, donor.shape[axis] - start)

            def put(activation: Tensor) -> Tensor:
                given, activation = self._per_head(point, donor), self._per_head(point, activation)
                out = activation.clone()
                for i in chosen:
                    rows = slice(i * n_pairs, (i + 1) * n_pairs)
                    where = patches[i].where[:, start:]
                    out[rows] = patches[i].place.replaced(activation[rows], given, where)
                return out

            return put

        return {point: hook_of(point, chosen) for point, chosen in by_point.items()}

    def _per_head(self, point: Point, x: Tensor) -> Tensor:
        """Give every query head keys and values of its own, so that one head's can be patched."""
        return per_head(x, self.model.graph.heads_in(point.layer)) if point.site in READS else x
