"""Scores of all edges from gradients of a few runs: what the attribution methods have in common.

    score[s, r] = mean over pairs of  sum over places of
                  (clean - ablated output of s) . sum over runs of weight * d gain / d (input of r)

The methods differ in which runs are differentiated (their `Terms`). Gains are positive where more
is better, so an edge that supports the behaviour scores above zero.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.circuits.graph import EdgeScores
from circuitkit.errors import MethodError
from circuitkit.gradients.receivers import (
    Contraction,
    ReceiverGradients,
    changed_places,
    differentiate,
)
from circuitkit.interventions.budget import pairs_per_batch
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel
from circuitkit.model.finite import Finite
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import Activations, counted_from
from circuitkit.model.runs import Run
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.devices import sent


@dataclass(frozen=True)
class Term:
    """One run to be differentiated, and its weight.

    `side` says that its activations are those of the clean or the ablated side, so that they need
    not be computed again; such terms come first.
    """

    weight: float
    run: Run
    hooks: dict[Point, Hook] = field(default_factory=dict)
    side: Literal["clean", "ablated", "neither"] = "neither"


Terms = Callable[[PairRuns], Iterator[Term]]


def score_edges_by_terms(
    model: SubjectModel, pairs: PromptPairs, metric: Metric, terms: Terms, work: Work
) -> EdgeScores:
    """Return the score of every edge of `model.graph`, in the metric's unit.

    Raises:
        MethodError: the metric has no gradient.
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one pair fits.
        ActivationError: an activation is NaN or infinite.
    """
    whole = Columns(("all",), pairs.mask.unsqueeze(0))
    [scores] = score_columns_by_terms(model, pairs, metric, terms, whole, work)
    return scores


def score_columns_by_terms(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    terms: Terms,
    columns: Columns,
    work: Work,
) -> tuple[EdgeScores, ...]:
    """Return the same for each column of positions: what an edge carries there.

    Columns that hold every real token once between them add up to the score of the whole edge.
    """
    require_gradient(metric)
    found = mean_over_pairs(model, pairs, metric, columns, work, partial(_batch_scores, terms))
    return tuple(EdgeScores(model.graph, scores) for scores in found)


def mean_over_pairs(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    columns: Columns,
    work: Work,
    score_batch: Callable[[PairRuns, Bool[Tensor, "column pair pos"]], Float[Tensor, "column ..."]],
) -> Float[Tensor, "column ..."]:
    """Return the mean over pairs of what `score_batch` sums over the pairs of a batch.

    It gets the real places of each column, from the position on at which the runs begin.

    Raises:
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one pair fits.
        ActivationError: an activation is NaN or infinite.
    """
    metric.check(pairs.labels)
    size = work.batch_size or pairs_per_batch(model, pairs, work.memory)
    total = torch.zeros((), dtype=torch.float64)
    work.progress(0, len(pairs))
    for start in range(0, len(pairs), size):
        rows = slice(start, min(start + size, len(pairs)))
        with counted_from(start):
            part = pairs.select(range(rows.start, rows.stop))
            runs = PairRuns(model, part, work.ablation, metric)
            masks = sent(columns.masks[:, rows, runs.clean.start :], model.device) & runs.clean.mask
            total = total + score_batch(runs, masks)
        work.progress(rows.stop, len(pairs))
    return total / len(pairs)


def require_gradient(metric: Metric) -> None:
    """Refuse a metric that cannot be differentiated.

    Raises:
        MethodError: it has no gradient.
    """
    if not metric.is_differentiable:
        raise MethodError(
            f"attribution: the metric must have a gradient, got {metric.name!r}. Scores are "
            "gradients times changes. Use the logit difference or a log-probability."
        )


def _batch_scores(
    terms: Terms, runs: PairRuns, masks: Tensor
) -> Float[Tensor, "column sender receiver"]:
    waiting: list[tuple[float, ReceiverGradients]] = []  # until it is known what changed
    sides: dict[str, Activations] = {}
    contractions: list[Contraction] = []
    finite = runs.later = Finite()
    for term in terms(runs):
        written, gradients = differentiate(
            runs.model,
            term.run,
            runs.labels,
            runs.metric,
            term.hooks,
            None if term.side == "neither" else finite,  # others are not kept so long
        )
        waiting.append((term.weight, gradients))
        if term.side != "neither":
            sides[term.side] = written
            continue
        contractions = contractions or _contractions(runs, sides, masks)
        _add_all(contractions, waiting)
    contractions = contractions or _contractions(runs, sides, masks)
    _add_all(contractions, waiting)
    return torch.stack([contraction.scores() for contraction in contractions])


def _contractions(
    runs: PairRuns, sides: dict[str, Activations], masks: Tensor
) -> list[Contraction]:
    clean = sides.get("clean") or runs.clean_activations
    change = clean.minus(sides.get("ablated") or runs.ablated)
    assert runs.later is not None
    found = changed_places(change, masks, runs.later)
    labelled = runs.pairs.clean_batch.labelled - runs.clean.start
    return [Contraction(runs.model, change, places, labelled) for places in found]


def _add_all(
    contractions: list[Contraction], waiting: list[tuple[float, ReceiverGradients]]
) -> None:
    while waiting:
        weight, gradients = waiting.pop(0)
        for contraction in contractions:
            contraction.add(weight, gradients)
