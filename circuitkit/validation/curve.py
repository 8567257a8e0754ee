"""The faithfulness curve: circuits of growing size against random circuits of the same sizes.

The selected circuit of size n is what a user would get by asking for n edges. A random circuit of
size n holds n edges drawn evenly from all. Both are run under one ablation, on the same pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.validation.faithfulness import (
    measure_faithfulness,
    measure_faithfulness_points,
)
from circuitkit.work.notebook import Drawn
from circuitkit.work.text import brief

SHARES = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class CurvePoint:
    """One size: the selected circuit's faithfulness, and each random circuit's."""

    n_edges: int
    faithfulness: Estimate
    random: tuple[float, ...]

    @property
    def random_mean(self) -> float:
        """Mean faithfulness of the random circuits."""
        return float(np.mean(self.random))


@dataclass(frozen=True)
class Curve(Drawn):
    """Faithfulness over circuit sizes, under one ablation."""

    ablation: str
    n_edges_in_graph: int
    points: tuple[CurvePoint, ...]

    def __repr__(self) -> str:
        sizes = [point.n_edges for point in self.points]
        of = f"{min(sizes):,} to {max(sizes):,} edges, " if sizes else ""
        return brief(f"Curve({len(sizes)} sizes, {of}{self.ablation} ablation)")


@dataclass(frozen=True)
class Ladder:
    """Circuits of growing size: `select(size)` against `draw(size, seed)` for `n_random` seeds."""

    select: Callable[[int], Circuit]
    draw: Callable[[int, int], Circuit]
    sizes: Sequence[int]
    n_random: int


def sizes_for(n_edges: int) -> tuple[int, ...]:
    """Return the circuit sizes of the curve for a graph of this many edges."""
    return tuple(sorted({max(1, round(share * n_edges)) for share in SHARES}))


def measure_curve(
    model: SubjectModel,
    pairs: PromptPairs,
    ladder: Ladder,
    metric: Metric,
    work: Work,
) -> Curve:
    """Return the curve of a ladder of circuits.

    `work` says under which ablation, in how much memory, and who is told of the progress.

    Raises:
        VanishingGapError: the metric of the model and of the empty circuit cannot be told apart.
    """
    judged = measure_faithfulness(
        model,
        pairs,
        [ladder.select(size) for size in ladder.sizes],
        ablation=work.ablation,
        metric=metric,
        memory=work.memory,
    )
    n = ladder.n_random
    drawn = [ladder.draw(size, seed) for size in ladder.sizes for seed in range(n)]
    controls = measure_faithfulness_points(model, pairs, drawn, metric, work)
    points = tuple(
        CurvePoint(size, found.value, tuple(controls[i * n : (i + 1) * n]))
        for i, (size, found) in enumerate(zip(ladder.sizes, judged, strict=True))
    )
    graph = ladder.select(0).graph  # of edges at columns, more than the model's
    return Curve(work.ablation.name, graph.n_edges, points)
