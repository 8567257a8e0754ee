"""What the metric loses by directions taken out of clean runs, and gains by those put in.

The formulas stand in directions.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.errors import VanishingGapError
from circuitkit.interpretation.directions.concepts import last_positions
from circuitkit.interventions.budget import rows_per_batch
from circuitkit.interventions.recorded import BothRuns, Direction
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import counted_from
from circuitkit.model.runs import whole_run
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Values, mean_estimate
from circuitkit.work.progress import Progress, silent


@dataclass(frozen=True)
class DirectionChange:
    """Directions to be tried at one place, each alone.

    NOISING takes them out of clean runs, down to `middle`; DENOISING adds them to corrupted ones.
    """

    point: Point
    role: str
    kind: Direction
    vectors: Float[Tensor, "direction d_model"]
    middle: Float[Tensor, " d_model"]

    def applied(self, x: Float[Tensor, "pair d_model"]) -> Float[Tensor, "direction pair d_model"]:
        """Return activations changed by each direction."""
        if self.kind is Direction.DENOISING:
            return x + self.vectors[:, None]
        units: Tensor = self.vectors / self.vectors.norm(dim=1, keepdim=True)
        along: Tensor = units @ (x - self.middle).T
        changed: Tensor = x - along[..., None] * units[:, None]
        return changed


def direction_effects(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    changes: Sequence[DirectionChange],
    *,
    memory: int | None = None,
    progress: Progress = silent,
) -> tuple[list[Float[np.ndarray, "direction pair"]], Values]:
    """Return the effects of each change, positive where the behaviour is supported, and the gap.

    A direction of no length has no effect.
    """
    n_pairs, max_rows = rows_per_batch(model, pairs, memory)
    effects = [np.zeros((len(change.vectors), len(pairs))) for change in changes]
    gap = np.zeros(len(pairs))
    points = {change.point for change in changes}
    done, total = 0, max(1, len(changes)) * len(pairs)
    progress(0, total)
    for start in range(0, len(pairs), n_pairs):
        chunk = slice(start, min(start + n_pairs, len(pairs)))
        part = pairs.select(range(chunk.start, chunk.stop))
        runs = tuple(whole_run(model, b) for b in (part.clean_batch, part.corrupted_batch))
        with counted_from(start):
            both = {
                kind: BothRuns(model, part, (runs[0], runs[1]), metric, kind, points)
                for kind in Direction
            }
        gap[chunk] = both[Direction.NOISING].gap.numpy()
        for change, found in zip(changes, effects, strict=True):
            if bool(change.vectors.norm(dim=1).all()):
                found[:, chunk] = _effects_on(model, part, both[change.kind], change, max_rows)
            done += len(part)
            progress(done, total)
    progress(total, total)
    return effects, gap


def require_recovery_gap(gap: Values, metric: Metric) -> None:
    """Refuse to divide by a gap that may be zero.

    Raises:
        VanishingGapError: its 95 % interval does not lie above zero.
    """
    found = mean_estimate(gap)
    if found.low <= 0:
        raise VanishingGapError(
            f"directions: {metric.name} must be better on clean than on corrupted prompts, got a "
            f"difference of {found} over {found.n} pairs. It is the denominator. Use more pairs "
            "(--n), or a task the model can do."
        )


def _effects_on(
    model: SubjectModel, pairs: PromptPairs, both: BothRuns, change: DirectionChange, max_rows: int
) -> Float[np.ndarray, "direction pair"]:
    at = last_positions(pairs, change.role)
    kept = both.base.kept[change.point]
    x = kept[torch.arange(len(at)), at.to(kept.device)].double().cpu()
    start = min(int(at.min()), pairs.first_read) if model.can_lend else 0
    chunks = change.applied(x).split(max(1, max_rows // len(at)))
    found = [_run_with(model, both, change.point, at, start, values) for values in chunks]
    return np.concatenate([effect.numpy() for effect in found])


def _run_with(
    model: SubjectModel,
    both: BothRuns,
    point: Point,
    at: Int[Tensor, " pair"],
    start: int,
    values: Float[Tensor, "direction pair d_model"],
) -> Float[Tensor, "direction pair"]:
    """Return the effects of putting values in at one position of each pair."""
    n = len(values)
    rows = torch.arange(n * len(at), device=model.device)
    places = (at - start).repeat(n).to(model.device)

    def put(x: Tensor) -> Tensor:
        out = x.clone()
        out[rows, places] = values.flatten(0, 1).to(x)
        return out

    hooks: dict[Point, Hook] = {point: put}
    return both.effects(both.base.again(model, n, hooks, layer=point.layer, start=start), n)
