"""Faithfulness: how much of the behaviour the circuit keeps when all else is ablated.

    f(C) = (m(C) - m(0)) / (m(M) - m(0))

m is the metric's mean over pairs, C the circuit, M the whole model, 0 the empty circuit under the
same ablation. A ratio of means, never clamped: 1 is the model, 0 the empty circuit, above 1 or
below 0 can happen. Intervals see the pairs of all three together. Refused where m(M) - m(0)
cannot be told from zero (statistics/gaps.py). Marks et al. 2024 (arXiv:2403.19647); Mueller et al.
2025 (MIB).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.glossary import CRITERIA
from circuitkit.interventions.ablation import Ablation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate, Values, mean_estimate, share_of_whole
from circuitkit.statistics.bound import Bound
from circuitkit.statistics.clusters import Clusters
from circuitkit.statistics.gaps import require_gap
from circuitkit.statistics.power import least_visible
from circuitkit.validation.case import Case, HeldOut
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.questions import ENOUGH
from circuitkit.validation.verdict import Finding
from circuitkit.work.notebook import Shown
from circuitkit.work.text import brief


class FaithfulnessCriterion(Criterion):
    """The faithfulness of the circuit's edges."""

    name = "faithfulness"
    question = ENOUGH
    measures = CRITERIA["faithfulness"]
    summary = "f(C): share of the behaviour that the circuit's edges keep"
    default = Bound(min=0.8)

    def measure(self, case: Case) -> Finding:
        value = measured(case, case.circuit)
        note = f"{case.ablation} ablation; {least_visible(value)}"
        return Finding(value, note)


class NodeFaithfulness(Criterion):
    """The faithfulness of the circuit's components with every edge between them."""

    name = "node-faithfulness"
    question = ENOUGH
    measures = CRITERIA["node-faithfulness"]
    summary = "f of all edges between the circuit's components"

    def measure(self, case: Case) -> Finding:
        circuit = case.circuit.between_components
        same_as = "faithfulness" if circuit.edges == case.circuit.edges else ""
        return Finding(measured(case, circuit), f"{circuit.n_edges} edges", same_as=same_as)


@dataclass(frozen=True)
class Faithfulness(Shown):
    """The faithfulness of one circuit, with what it is made of.

    `circuit`, `model` and `empty` are mean metrics; `per_pair` is each pair's own ratio, wild
    where that pair's denominator is small and left out where it is zero.
    """

    ablation: str
    value: Estimate
    circuit: Estimate
    model: Estimate
    empty: Estimate
    per_pair: tuple[float, ...]

    def __repr__(self) -> str:
        return brief(
            f"Faithfulness({self.value} under {self.ablation} ablation, n = {self.value.n})"
        )


def measure_faithfulness(
    model: SubjectModel,
    pairs: PromptPairs,
    circuits: Sequence[Circuit],
    *,
    ablation: Ablation,
    metric: Metric,
    memory: int | None = None,
) -> list[Faithfulness]:
    """Return the faithfulness of each circuit with intervals, all run in the same batches.

    Raises:
        VanishingGapError: the metric of the model and of the empty circuit cannot be told apart.
        GraphError: a circuit belongs to another architecture.
    """
    work = Work(ablation, memory=memory)
    values, full, empty = _run(model, pairs, circuits, metric, work)
    return [_faithfulness(ablation.name, row, full, empty, pairs.clusters) for row in values]


def faithfulness_under(case: Case, ablation: str) -> Faithfulness:
    """Return the faithfulness of the case's circuit under one of its ablations.

    Raises:
        VanishingGapError: as `measure_faithfulness`.
        CriterionError: an ablation other than the verdict's does not fit the pairs.
    """
    full, empty = case.ends(ablation=ablation)
    [values] = case.values([case.circuit], ablation=ablation)
    return _faithfulness(ablation, values, full, empty, case.validation.clusters)


def measure_faithfulness_points(
    model: SubjectModel,
    pairs: PromptPairs,
    circuits: Sequence[Circuit],
    metric: Metric,
    work: Work,
) -> list[float]:
    """Return the faithfulness of each circuit without intervals: for controls and searches.

    `work` says under which ablation, in how much memory, and who is told of the progress.

    Raises:
        VanishingGapError, GraphError: as `measure_faithfulness`.
    """
    values, full, empty = _run(model, pairs, circuits, metric, work)
    return [float(_ratio(row, full, empty)) for row in values]


def _run(
    model: SubjectModel,
    pairs: PromptPairs,
    circuits: Sequence[Circuit],
    metric: Metric,
    work: Work,
) -> tuple[Values, Values, Values]:
    """Return the metric of each pair for each circuit, for the model and for the empty circuit."""
    ends = [Circuit.full(model.graph), Circuit.empty(model.graph)]
    values = evaluate_circuits(
        model,
        pairs,
        [*ends, *circuits],
        ablation=work.ablation,
        metric=metric,
        memory=work.memory,
        progress=work.progress,
    ).numpy()
    full, empty = values[0], values[1]
    require_gap(full, empty, work.ablation.name, metric, pairs.clusters)
    return values[2:], full, empty


def measured(case: Case, circuit: Circuit) -> Estimate:
    """Return f of a circuit of the case on its validation pairs, under the verdict's ablation."""
    _, empty = case.ends()
    [values] = case.values([circuit])
    return case.share_of_gap(values - empty)


def measured_on(case: Case, held: HeldOut) -> Estimate:
    """Return f of the case's circuit on other pairs, under the verdict's ablation made for them."""
    [found] = measure_faithfulness(
        case.model,
        held.pairs,
        [case.circuit],
        ablation=held.ablations[case.ablation],
        metric=case.metric,
        memory=case.memory,
    )
    return found.value


def _faithfulness(
    ablation: str, values: Values, full: Values, empty: Values, clusters: Clusters
) -> Faithfulness:
    defined = full != empty
    per_pair = (values - empty)[defined] / (full - empty)[defined]
    return Faithfulness(
        ablation=ablation,
        value=share_of_whole(values - empty, full - empty, clusters=clusters),
        circuit=mean_estimate(values, clusters=clusters),
        model=mean_estimate(full, clusters=clusters),
        empty=mean_estimate(empty, clusters=clusters),
        per_pair=tuple(float(ratio) for ratio in per_pair),
    )


def _ratio(circuit: Values, full: Values, empty: Values, axis: int = -1) -> Values:
    zero = empty.mean(axis=axis)
    return np.asarray((circuit.mean(axis=axis) - zero) / (full.mean(axis=axis) - zero))
