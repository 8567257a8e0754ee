"""CPR and CMD: one number each for how good a ranking of edges is, over all circuit sizes.

    f(k)  faithfulness of the circuit of the best int(k * edges) edges, never clamped
    CPR   area under f(k)              1 at best for a circuit that adds nothing of its own
    CMD   area under |1 - f(k)|        0 at best

Both by the trapezoid rule over k = .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, under resample
ablation, as the MIB benchmark (Mueller et al. 2025, arXiv:2504.13151, section 3). The grid does not
reach zero, so a perfect ranking has CPR 0.999.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError
from circuitkit.glossary import CRITERIA
from circuitkit.interventions.ablation import Ablation, ResampleAblation
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate, Values, estimate
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.faithfulness import measure_faithfulness_points
from circuitkit.validation.questions import ENOUGH
from circuitkit.validation.verdict import Finding

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
RESAMPLE = ResampleAblation()


@dataclass(frozen=True)
class Areas:
    """Both areas, and the faithfulness at each fraction of the grid."""

    cpr: float
    cmd: float
    faithfulness: tuple[float, ...]


def measure_areas(
    model: SubjectModel,
    pairs: PromptPairs,
    select: Callable[[int], Circuit],
    *,
    metric: Metric,
    ablation: Ablation = RESAMPLE,
    memory: int | None = None,
) -> Areas:
    """Return the areas of the circuits that `select(n_edges)` gives.

    Raises:
        VanishingGapError: the metric of the model and of the empty circuit cannot be told apart.
    """
    circuits = [select(int(fraction * select(0).graph.n_edges)) for fraction in FRACTIONS]
    work = Work(ablation, memory=memory)
    points = measure_faithfulness_points(model, pairs, circuits, metric, work)
    return areas_of(points)


def areas_of(faithfulness: Sequence[float]) -> Areas:
    """Return the areas, given the faithfulness at each of FRACTIONS."""
    f = np.asarray(faithfulness)
    cpr = float(np.trapezoid(f, FRACTIONS))
    cmd = float(np.trapezoid(np.abs(1 - f), FRACTIONS))
    return Areas(cpr, cmd, tuple(f.tolist()))


class CPR(Criterion):
    """The area under the faithfulness of the circuit's ranking."""

    name = "cpr"
    question = ENOUGH
    measures = CRITERIA["cpr"]
    summary = "area under f over the sizes of MIB's grid, under resample ablation"

    def measure(self, case: Case) -> Finding:
        return Finding(_area(case, self.name, lambda f: f))


class CMD(Criterion):
    """The area between the faithfulness of the circuit's ranking and 1."""

    name = "cmd"
    question = ENOUGH
    measures = CRITERIA["cmd"]
    summary = "area under |1 - f| over the sizes of MIB's grid, under resample ablation"

    def measure(self, case: Case) -> Finding:
        return Finding(_area(case, self.name, lambda f: np.abs(1 - f)))


def _area(case: Case, name: str, height: Callable[[Values], Values]) -> Estimate:
    if case.select is None:
        raise CriterionError(
            f"{name}: the circuit must have scores, got none. They rank the edges of every size. "
            "Judge a circuit that `circuitkit discover` wrote."
        )
    circuits = [case.select(int(fraction * case.circuit.graph.n_edges)) for fraction in FRACTIONS]
    full, empty = case.ends(ablation=RESAMPLE.name)
    rows = case.values(circuits, ablation=RESAMPLE.name)

    def area(full: Values, empty: Values, *rows: Values, axis: int = -1) -> Values:
        zero = empty.mean(axis=axis)
        gap = full.mean(axis=axis) - zero
        f = np.stack([(row.mean(axis=axis) - zero) / gap for row in rows])
        return np.asarray(np.trapezoid(height(f), FRACTIONS, axis=0))

    return estimate((full, empty, *rows), area, clusters=case.validation.clusters)
