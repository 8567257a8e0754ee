"""Running interchanges: the values that the source prompts have at an alignment, put into the base.

    x_base  <-  x_source                                   whole places
    x_base  <-  x_base + (x_source - x_base) R R^T         a subspace, R with orthonormal columns

Positions of a role in the source go to those of the role in the base, first to first. The answer
that counts is the likeliest of the tokens that are a right or a wrong answer of some prompt, or
what is expected behind some interchange.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.abstraction.alignment import Alignment, Spot
from circuitkit.abstraction.interchanges import Interchange, Interchanges
from circuitkit.abstraction.reading import Readings
from circuitkit.circuits.graph import READS
from circuitkit.interventions.sites import Place
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.attention import per_head
from circuitkit.model.hook_points import Point
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.devices import sent

BATCH = 64  # prompts of a run
Subspace = Float[Tensor, "d k"]  # orthonormal columns


@dataclass(frozen=True)
class _Put:
    """What one hook puts where: for each row of a batch, the positions it takes values from."""

    place: Place
    where: Bool[Tensor, "row pos"]
    take: Int[Tensor, "row pos"]


class Exchanger:
    """A model and the activations of all prompts that may lend or take values."""

    def __init__(self, model: SubjectModel, pairs: PromptPairs, points: Sequence[Point]) -> None:
        self.model, self.pairs = model, pairs
        kept: dict[Point, list[Tensor]] = {point: [] for point in dict.fromkeys(points)}

        def keeper(point: Point) -> Hook:
            def keep(x: Tensor) -> None:
                kept[point].append(self._per_head(point, x.detach()))

            return keep

        entrances = {hook_points.resid_pre(point.layer) for point in kept}
        kept |= {point: [] for point in entrances}
        hooks = {point: keeper(point) for point in kept}
        logits = []
        with torch.no_grad():
            for part in pairs.batches(BATCH):
                logits.append(model.run(part.clean_batch, hooks).cpu())
        self.kept = {point: torch.cat(parts) for point, parts in kept.items()}
        self.logits = torch.cat(logits)

    def answers(self, candidates: Int[Tensor, " token"]) -> list[int]:
        """Return the answer of the model to every prompt, as it is."""
        return _likeliest(self.logits, candidates)

    def exchanged(
        self,
        interchanges: Interchanges,
        alignment: Alignment,
        subspace: Subspace | None = None,
    ) -> list[int]:
        """Return the model's answer behind each interchange."""
        found: list[int] = []
        candidates = interchanges.candidates
        with torch.no_grad():
            for start in range(0, len(interchanges), BATCH):
                items = interchanges.items[start : start + BATCH]
                logits = self.logits_of(items, interchanges.readings, alignment, subspace)
                found += _likeliest(logits, candidates)
        return found

    def logits_of(
        self,
        items: Sequence[Interchange],
        readings: Readings,
        alignment: Alignment,
        subspace: Subspace | None = None,
    ) -> Float[Tensor, "row vocab"]:
        """Return the logits behind some interchanges, run together."""
        batch = self.pairs.select([item.base for item in items]).clean_batch
        sources = torch.tensor([item.source for item in items])
        by_point: dict[Point, list[_Put]] = {}
        for spot in alignment.spots:
            where, take = _positions(items, readings, spot, self.pairs.clean.shape[1])
            for place in spot.places:
                put = _Put(place, *(sent(x, self.model.device) for x in (where, take)))
                by_point.setdefault(place.point, []).append(put)
        hooks = {p: self._hook(p, puts, sources, subspace) for p, puts in by_point.items()}
        first = min(point.layer for point in by_point)  # nothing changes before it
        entering = self.kept[hook_points.resid_pre(first)]
        bases = sent(torch.tensor([item.base for item in items]), entering.device)
        _, context = self.model.prepare(batch)
        return self.model.run_from(entering[bases], context, hooks, first=first)

    def _hook(
        self,
        point: Point,
        puts: Sequence[_Put],
        sources: Int[Tensor, " row"],
        subspace: Subspace | None,
    ) -> Hook:
        given = self.kept[point][sent(sources, self.kept[point].device)]

        def put_in(activation: Tensor) -> Tensor:
            x = self._per_head(point, activation)
            for put in puts:
                taken = put.take.reshape(*put.take.shape, *[1] * (given.ndim - 2))
                donor = given.gather(1, taken.expand(-1, -1, *given.shape[2:]))
                if subspace is not None:
                    donor = _within(x, donor, put.place, subspace)
                x = put.place.replaced(x, donor, put.where)
            return x

        return put_in

    def _per_head(self, point: Point, x: Tensor) -> Tensor:
        return per_head(x, self.model.graph.heads_in(point.layer)) if point.site in READS else x


def width_of(exchanger: Exchanger, place: Place) -> int:
    """Return how many dimensions a place has."""
    x = exchanger.kept[place.point]
    if not place.units:
        return x.shape[2:].numel()
    return len(place.units) * x.shape[3:].numel()


def _within(x: Tensor, donor: Tensor, place: Place, subspace: Subspace) -> Tensor:
    """Return the activation with the donor's part in a subspace of a place."""
    rotation = sent(subspace, x.device).to(x.dtype)
    units = list(place.units) or list(range(x.shape[2]))
    if x.ndim == 3:  # [row, pos, d]: every unit is a dimension of the place
        difference = (donor - x)[:, :, units]
        part = difference @ rotation @ rotation.T
        return x.index_add(2, torch.tensor(units, device=x.device), part)
    difference = (donor - x)[:, :, units].flatten(2)
    part = (difference @ rotation @ rotation.T).reshape(*x.shape[:2], len(units), x.shape[3])
    return x.index_add(2, torch.tensor(units, device=x.device), part)


def _positions(
    items: Sequence[Interchange], readings: Readings, spot: Spot, n_pos: int
) -> tuple[Bool[Tensor, "row pos"], Int[Tensor, "row pos"]]:
    """Return where values are put in, and the position in the source that each comes from."""
    where = torch.zeros(len(items), n_pos, dtype=torch.bool)
    take = torch.arange(n_pos).repeat(len(items), 1)
    for row, item in enumerate(items):
        start, end = readings.spans[item.base][spot.role]
        first, last = readings.spans[item.source][spot.role]
        where[row, start:end] = True
        take[row, start:end] = torch.arange(first, last)
    return where, take


def _likeliest(logits: Float[Tensor, "row vocab"], candidates: Int[Tensor, " token"]) -> list[int]:
    at = logits[:, sent(candidates, logits.device)].argmax(1).cpu()
    chosen: list[int] = candidates[at].tolist()
    return chosen


def points_of(alignments: Mapping[str, Alignment]) -> list[Point]:
    """Return every point at which values of some alignments are put in."""
    return [
        point
        for alignment in alignments.values()
        for spot in alignment.spots
        for place in spot.places
        for point in place.points
    ]
