"""What the metric loses by directions taken out of clean runs, and gains by those put in.

The formulas stand in directions.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from circuitkit.errors import VanishingGapError
from circuitkit.interpretation.concepts import last_positions
from circuitkit.interventions.budget import rows_per_batch
from circuitkit.interventions.recorded import BothRuns, Direction
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel
from circuitkit.model.hook_points import Point
from circuitkit.model.record import counted_from
from circuitkit.model.runs import whole_run
from circuitkit.progress import Progress
from circuitkit.prompts import PromptPairs
from circuitkit.validation.bootstrap import Values, mean_estimate


@dataclass(frozen=True)
class Means:
    """The difference of two means, and their middle."""

    difference: Float[Tensor, " d_model"]
    middle: Float[Tensor, " d_model"]


class DirectionEffects:
    """What the metric loses and gains by directions at places, on validation pairs."""

    def __init__(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        points: Sequence[Point],
        roles: Sequence[str],
        n_random: int,
        seed: int,
    ) -> None:
        self.model, self.pairs, self.metric = model, pairs, metric
        self.points, self.roles = points, roles
        generator = torch.Generator().manual_seed(seed)
        shape = (n_random, model.graph.d_model)
        self.random = torch.randn(shape, generator=generator, dtype=torch.float64)

    def effects(
        self, found: Sequence[Sequence[Means]], memory: int | None, progress: Progress
    ) -> tuple[Float[ndarray, "point role kind direction pair"], Values]:
        """Return the effect of each direction, the found one first, and the gap of each pair.

        Kinds are those of Direction: ablated from clean runs, added to corrupted ones.

        Raises:
            VanishingGapError: the gap cannot be told from zero.
        """
        n_pairs, max_rows = rows_per_batch(self.model, self.pairs, memory)
        shape = (len(self.points), len(self.roles), 2, 1 + len(self.random), len(self.pairs))
        effects, gaps = np.zeros(shape), []
        n_places = len(self.points) * len(self.roles)
        done, total = 0, n_places * len(self.pairs)
        progress(0, total)
        for start in range(0, len(self.pairs), n_pairs):
            chunk = slice(start, min(start + n_pairs, len(self.pairs)))
            part = self.pairs.select(range(chunk.start, chunk.stop))
            with counted_from(start):
                runs = [self._both(part, direction) for direction in Direction]
            gaps.append(runs[0].gap.numpy())
            size = max(1, max_rows // len(part))
            for i, point in enumerate(self.points):
                for j, role in enumerate(self.roles):
                    at = last_positions(part, role)
                    for kind, both in enumerate(runs):
                        effects[i, j, kind, :, chunk] = self._of_place(
                            both, point, at, found[i][j], size
                        )
                    done += len(part)
                    progress(done, total)
        gap = np.concatenate(gaps)
        self._require_gap(gap)
        return effects, gap

    def _both(self, pairs: PromptPairs, direction: Direction) -> BothRuns:
        batches = pairs.clean_batch, pairs.corrupted_batch
        clean, corrupted = (whole_run(self.model, batch) for batch in batches)
        return BothRuns(self.model, pairs, (clean, corrupted), self.metric, direction, self.points)

    def _of_place(
        self, both: BothRuns, point: Point, at: Int[Tensor, " pair"], found: Means, size: int
    ) -> Float[ndarray, "direction pair"]:
        length = found.difference.norm()
        if length == 0:
            return np.zeros((1 + len(self.random), len(at)))
        directions = torch.cat([found.difference[None], self.random])
        units = directions / directions.norm(dim=1, keepdim=True)
        x = both.base.kept[point][torch.arange(len(at)), at.to(self.model.device)].double().cpu()
        if both.noising:
            along = torch.einsum("pd,nd->np", x - found.middle, units)
            changed = x - along[..., None] * units[:, None]
        else:
            changed = x + length * units[:, None]
        chunks = changed.split(size)
        return np.concatenate([self._run(both, point, at, chunk).numpy() for chunk in chunks])

    def _run(
        self,
        both: BothRuns,
        point: Point,
        at: Int[Tensor, " pair"],
        values: Float[Tensor, "change pair d_model"],
    ) -> Float[Tensor, "change pair"]:
        """Return the effects of putting values in at one position of each pair."""
        n = len(values)
        start = min(int(at.min()), int(self.pairs.label_pos.min())) if self.model.is_causal else 0
        rows = torch.arange(n * len(at), device=self.model.device)
        places = (at - start).repeat(n).to(self.model.device)

        def put(x: Tensor) -> Tensor:
            out = x.clone()
            out[rows, places] = values.flatten(0, 1).to(x)
            return out

        hooks: dict[Point, Hook] = {point: put}
        logits = both.base.again(self.model, n, hooks, layer=point.layer, start=start)
        return both.effects(logits, n)

    def _require_gap(self, gap: Values) -> None:
        found = mean_estimate(gap)
        if found.low <= 0:
            raise VanishingGapError(
                f"directions: {self.metric.name} must be better on clean than on corrupted "
                f"prompts, got a difference of {found} over {found.n} pairs. It is the "
                "denominator. Use more pairs (--n), or a task the model can do."
            )
