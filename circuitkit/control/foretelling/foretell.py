"""What a circuit says that an intervention does, written before it is done, and what it does.

    foretold(i) = (m(C) - m(C under i)) / (m(M) - m(0))
    outcome(i)  = (m(M) - m(M under i)) / (m(M) - m(0))

m is the metric's mean over pairs, C the circuit with all other edges ablated, M the whole model, 0
no edge at all. `under i`: components or edges carry ablated values, weights are others, or the
prompts are. Both are shares of the gap, positive where the behaviour is lost; a circuit foretells 0
for ablations of what it does not contain. Where the model is changed (rescaled outputs, weights,
directions), ablated values are those of the changed model: its mean or its run on corrupted prompts
reaches a circuit too, that much and no more. Other prompts are held against as many of the first,
one against one in order: they are drawn independently, so that the interval is wide enough.

No outcome, the whole model on clean prompts under an intervention, is computed for a prediction.
`record.py` writes predictions down before outcomes are measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitkit.circuits.circuit import Circuit
from circuitkit.control.foretelling.interventions import Intervention
from circuitkit.errors import MethodError
from circuitkit.interventions.ablation import Ablation
from circuitkit.interventions.run_circuit import evaluate_circuits, require_same_graph
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate, Values, mean_estimate, share_of_whole
from circuitkit.statistics.gaps import require_gap
from circuitkit.work.progress import Progress, silent


@dataclass(frozen=True)
class Ground:
    """What interventions are made on: a model, pairs that did not find the circuit, an ablation."""

    model: SubjectModel
    pairs: PromptPairs
    metric: Metric
    ablation: Ablation
    memory: int | None = None


@dataclass(frozen=True)
class Foretold:
    """What circuits say: `shares` of the circuit with intervals, `by_random` of others as large.

    `touched` are the components of the circuit that each intervention ablates or rescales; empty
    for changes of weights and prompts, which may reach all.
    """

    interventions: tuple[Intervention, ...]
    shares: tuple[Estimate, ...]
    touched: tuple[tuple[str, ...], ...]
    by_random: NDArray[np.float64]  # [circuit, intervention]
    gap: Estimate


def foretell(
    ground: Ground,
    circuit: Circuit,
    interventions: Sequence[Intervention],
    controls: Sequence[Circuit] = (),
    progress: Progress = silent,
) -> Foretold:
    """Return what the circuit, and each of some controls, says that every intervention does.

    Raises:
        GraphError: the circuit or a name is of another architecture.
        MethodError: two interventions have one name, or there are none.
        VanishingGapError: m(M) - m(0) cannot be told from zero.
    """
    require_same_graph(ground.model, circuit)
    _require_names(interventions)
    for each in interventions:
        each.require_in(circuit.graph)
    full, empty = _ends(ground)
    losses = _losses(ground, [circuit, *controls], interventions, progress)
    whole = full - empty
    return Foretold(
        interventions=tuple(interventions),
        shares=tuple(
            _share(ground, each, loss, whole)
            for each, loss in zip(interventions, losses[0], strict=True)
        ),
        touched=tuple(each.touches(circuit) for each in interventions),
        by_random=np.array([[loss.mean() / whole.mean() for loss in own] for own in losses[1:]]),
        gap=mean_estimate(whole, clusters=ground.pairs.clusters),
    )


def measure_outcomes(
    ground: Ground, interventions: Sequence[Intervention], progress: Progress = silent
) -> tuple[Estimate, ...]:
    """Return what every intervention does to the whole model, as shares of the gap.

    Raises:
        GraphError, VanishingGapError: as `foretell`.
    """
    full, empty = _ends(ground)
    [losses] = _losses(ground, [Circuit.full(ground.model.graph)], interventions, progress)
    both = zip(interventions, losses, strict=True)
    return tuple(_share(ground, each, loss, full - empty) for each, loss in both)


def _share(ground: Ground, done: Intervention, loss: Values, whole: Values) -> Estimate:
    """Return a loss as a share of the gap; of two sets, the one of fewer clusters counts."""
    n = len(loss)
    clusters = ground.pairs.clusters[:n]
    if done.pairs is not None:
        clusters = min((clusters, done.pairs.clusters[:n]), key=lambda x: len(np.unique(x)))
    return share_of_whole(loss, whole[:n], clusters=clusters)


def _ends(ground: Ground) -> tuple[Values, Values]:
    graph = ground.model.graph
    full, empty = _values(ground, ground.model, [Circuit.full(graph), Circuit.empty(graph)])
    name, clusters = ground.ablation.name, ground.pairs.clusters
    require_gap(full, empty, name, ground.metric, clusters)
    return full, empty


def _losses(
    ground: Ground,
    circuits: Sequence[Circuit],
    interventions: Sequence[Intervention],
    progress: Progress,
) -> list[list[Values]]:
    """Return what each circuit loses under each intervention, by circuit, on each pair."""
    cuts = [each for each in interventions if each.change is None and each.pairs is None]
    under = [each.cut(circuit) for circuit in circuits for each in cuts]
    run = _values(ground, ground.model, [*circuits, *under])
    own, rest = run[: len(circuits)], run[len(circuits) :]
    by_cut = rest.reshape(len(circuits), len(cuts), run.shape[1])
    number = {each.name: n for n, each in enumerate(cuts)}
    found: list[list[Values]] = [[] for _ in circuits]
    for done, each in enumerate(interventions):
        progress(done, len(interventions))
        if each.name in number:
            values = by_cut[:, number[each.name]]
        elif each.change is not None:
            values = _values(ground, each.change.made(ground.model), circuits)
        else:
            assert each.pairs is not None
            values = _values(ground, ground.model, circuits, each.pairs)
        n = min(values.shape[1], own.shape[1])
        for losses, before, after in zip(found, own, values, strict=True):
            losses.append(before[:n] - after[:n])
    progress(len(interventions), len(interventions))
    return found


def _values(
    ground: Ground,
    model: SubjectModel,
    circuits: Sequence[Circuit],
    pairs: PromptPairs | None = None,
) -> Values:
    found = evaluate_circuits(
        model,
        ground.pairs if pairs is None else pairs,
        circuits,
        ablation=ground.ablation,
        metric=ground.metric,
        memory=ground.memory,
    ).numpy()
    return np.asarray(found if ground.metric.higher_is_better else -found)


def _require_names(interventions: Sequence[Intervention]) -> None:
    names = [each.name for each in interventions]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not names:
        got = f"{repeated[0]!r} twice" if repeated else "none"
        raise MethodError(
            f"interventions: must be some, each with a name of its own, got {got}. A prediction "
            "and its outcome are held together by that name. Rename one, or add some."
        )
