"""Directions: is a concept encoded at a place, and does the model use what is encoded there?

    difference  d = mean(x of prompts with the concept) - mean(x of those without), discovery pairs
    ablated     (m(clean) - m(clean with x <- x - ((x - c) . u) u)) / gap,   u = d / |d|
    added       (m(corrupted with x <- x + d) - m(corrupted)) / gap
    gap         m(clean) - m(corrupted)

x is the activation at one hook point, at the last token of one role; c is the middle of the two
means, m the metric's gain on validation pairs. Shares are ratios of means over pairs with 95 %
intervals; all that follows x is computed anew. A direction that a linear reader needs and that says
everything gives 0.5 ablated (down to the middle) and 1 added. Arditi et al. 2024 (arXiv:2406.11717,
section 2.4), at one place instead of all.

What a probe reads off (probes.py) need not be used. "Used" is claimed where ablating or adding has
an interval above 0 and does more than each of N_RANDOM random directions of the same length: two
chances at 1 in 40 each. Rows are not corrected for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from circuitkit.errors import GraphError, PromptError
from circuitkit.interpretation.concepts import (
    CLEAN,
    Concept,
    activations_at,
    examples_of,
    labels_of,
    name_of,
)
from circuitkit.interpretation.direction_effects import DirectionEffects, Means
from circuitkit.interpretation.probes import Examples, Probed, probe
from circuitkit.interpretation.record import DirectionRow
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.progress import Progress, silent
from circuitkit.prompts import PromptPairs
from circuitkit.validation.bootstrap import Estimate, Values, estimate
from circuitkit.validation.gap import ROUNDING

N_RANDOM = 39
NEGLIGIBLE = 1e-6  # of an activation's length: differences below are rounding
SITES = ("resid pre", "resid mid", "resid post", "attn out", "mlp out")  # as wide as the model

ENCODED_AND_USED = "encoded and used"
ENCODED_ONLY = "encoded, not shown to be used"
USED_ONLY = "used, not linearly encoded"
NEITHER = "neither shown"


def measure_directions(
    model: SubjectModel,
    discovery: PromptPairs,
    validation: PromptPairs,
    metric: Metric,
    *,
    roles: Sequence[str] = (),
    points: Sequence[Point] = (),
    concept: Concept = CLEAN,
    n_random: int = N_RANDOM,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress = silent,
) -> tuple[DirectionRow, ...]:
    """Return a row for each hook point and role: directions of discovery, numbers of validation.

    By default: every role that all pairs have, and the residual stream around every layer.

    Raises:
        PromptError: fewer than MIN_PAIRS pairs, a missing role, or missing labels of the metric.
        MethodError: the concept's labels are too few, too many or all alike.
        GraphError: a hook point that the model does not have, or that is of another width.
        VanishingGapError: the metric of clean and corrupted runs cannot be told apart.
        ActivationError: an activation is NaN or infinite.
        MemoryBudgetError: not even one run of one pair fits.
    """
    metric.check(validation.labels)
    splits = {"discovery": discovery, "validation": validation}
    labels = {name: labels_of(concept, pairs, name) for name, pairs in splits.items()}
    roles = tuple(roles) or _common_roles(splits)
    points = tuple(points) or _residual_points(model)
    for name, pairs in splits.items():
        _require_roles(pairs, roles, name)
    for point in points:
        _require_point(model, point)
    seen, held_out = (
        [
            examples_of(activations, pairs, roles, labels[name], sides)
            for activations in activations_at(model, pairs, points, roles, memory)
        ]
        for (name, pairs), sides in zip(splits.items(), ("both", "one"), strict=True)
    )
    found = [
        [_Found.of(a, b, seed) for a, b in zip(*rows, strict=True)]
        for rows in zip(seen, held_out, strict=True)
    ]
    causal = DirectionEffects(model, validation, metric, points, roles, n_random, seed)
    effects, gap = causal.effects(
        [[place.means for place in row] for row in found], memory, progress
    )
    return tuple(
        _row(point, role, found[i][j], effects[i, j], gap)
        for i, point in enumerate(points)
        for j, role in enumerate(roles)
    )


def selectivity(row: DirectionRow) -> float:
    """Return how much better the probe is than probes for labels that mean nothing."""
    return row.accuracy.value - row.control.value


@dataclass(frozen=True)
class _Found:
    """The direction of one place, and what a probe reads there."""

    probed: Probed
    means: Means

    @classmethod
    def of(cls, training: Examples, held_out: Examples, seed: int) -> "_Found":
        true, false = (training.x[training.labels == side].mean(0) for side in (True, False))
        difference = true - false
        if np.linalg.norm(difference) <= NEGLIGIBLE * np.linalg.norm(true):
            difference = np.zeros_like(difference)
        return cls(
            probe(training, held_out, seed=seed),
            Means(torch.from_numpy(difference), torch.from_numpy((true + false) / 2)),
        )

    @property
    def cosine(self) -> float:
        """Between the difference of means and the probe's direction; 0 where there is none."""
        both = self.means.difference.numpy(), self.probed.direction
        lengths = float(np.prod([np.linalg.norm(x) for x in both]))
        return float(np.dot(*both)) / lengths if lengths > 0 else 0.0


def _row(
    point: Point,
    role: str,
    found: _Found,
    effects: Float[ndarray, "kind direction pair"],
    gap: Values,
) -> DirectionRow:
    shares = [estimate((own[0], gap), _ratio_of_means) for own in effects]
    is_used = any(
        _beats(share, others[1:].mean(1) / gap.mean())
        for share, others in zip(shares, effects, strict=True)
    )
    return DirectionRow(
        place=name_of(point),
        position=role,
        accuracy=found.probed.accuracy,
        control=found.probed.control,
        cosine=found.cosine,
        ablated=shares[0],
        added=shares[1],
        says=says(found.probed.is_encoded, is_used),
    )


def says(is_encoded: bool, is_used: bool) -> str:
    """Return the row's conclusion in words."""
    if is_encoded:
        return ENCODED_AND_USED if is_used else ENCODED_ONLY
    return USED_ONLY if is_used else NEITHER


def _beats(share: Estimate, others: Float[ndarray, " direction"]) -> bool:
    return bool(share.low > 0 and share.value > max(ROUNDING, *others))


def _ratio_of_means(change: Values, gap: Values, axis: int = -1) -> Values:
    return np.asarray(change.mean(axis=axis) / gap.mean(axis=axis))


def _common_roles(splits: dict[str, PromptPairs]) -> tuple[str, ...]:
    """Return the roles that all pairs have, in the order of their places."""
    every = [roles for pairs in splits.values() for roles in pairs.roles]
    common = set.intersection(*(set(roles) for roles in every))
    return tuple(sorted(common, key=lambda name: (sum(r[name][1] for r in every), name)))


def _residual_points(model: SubjectModel) -> tuple[Point, ...]:
    behind = (hook_points.resid_post(layer) for layer in range(model.graph.n_layers))
    return (hook_points.resid_pre(0), *behind)


def _require_roles(pairs: PromptPairs, wanted: Sequence[str], split: str) -> None:
    for pair, roles in zip(pairs.pairs, pairs.roles, strict=True):
        missing = [name for name in wanted if name not in roles]
        if missing:
            raise PromptError(
                f"directions, {split} pairs: every pair must have the role {missing[0]!r}, got "
                f"{sorted(roles)} for {pair.clean!r}. Its activation is asked for. Choose roles "
                "that every prompt has."
            )


def _require_point(model: SubjectModel, point: Point) -> None:
    graph = model.graph
    lacks = (point.site == "mlp out" and not graph.has_mlps) or (
        point.site == "resid mid" and graph.parallel_attn_mlp
    )
    if point.site not in SITES or not 0 <= point.layer < graph.n_layers or lacks:
        raise GraphError(
            f"directions: a hook point must be one of {', '.join(SITES)} of layers 0 to "
            f"{graph.n_layers - 1}, and exist in model {model.name!r}, got {point.site!r} of layer "
            f"{point.layer}. Directions live where the model is d_model wide. Choose another."
        )
