"""Concepts: a binary property of prompts, and activations as examples of it.

An example is what stands at one hook point, at the last token of one role.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from circuitkit.errors import AlignmentError, MethodError, PromptError
from circuitkit.interpretation.directions.probes import Examples
from circuitkit.interventions.budget import pairs_per_batch
from circuitkit.model import SubjectModel
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import counted_from, require_finite_tensor
from circuitkit.prompts.pairs import END, PromptPair, PromptPairs

MIN_PAIRS = 16
MIN_ORDER = 0.2  # of the prompts, in which two roles stand either way round


@dataclass(frozen=True)
class Concept:
    """A binary property. `labels` gives that of each clean prompt; None: clean, or corrupted?"""

    name: str
    labels: Callable[[PromptPairs], Sequence[bool]] | None = None


CLEAN = Concept("clean or corrupted")


def concept_of(name: str, holds: Callable[[PromptPair], bool]) -> Concept:
    """Return the concept that holds of the clean prompts of some pairs."""
    return Concept(name, lambda pairs: [bool(holds(pair)) for pair in pairs.pairs])


def order_concepts(splits: Sequence[PromptPairs]) -> dict[tuple[str, str], Concept]:
    """Return which of two roles stands first in a clean prompt, where that varies: `A before B`.

    Both orders make up MIN_ORDER of every split. Of roles that move together one pair is kept.
    """
    every = [roles for pairs in splits for roles in pairs.roles]
    common = sorted(set.intersection(*(set(roles) for roles in every)) - {END}) if every else []
    found: dict[tuple[str, str], Concept] = {}
    seen: set[tuple[bool, ...]] = set()
    for first, second in combinations(common, 2):
        labels = _is_before(first, second)
        shares = [np.mean(labels(pairs)) for pairs in splits]
        if all(MIN_ORDER <= share <= 1 - MIN_ORDER for share in shares):
            told = tuple(label for pairs in splits for label in labels(pairs))
            if told not in seen:
                found[first, second] = Concept(f"{first} before {second}", labels)
            seen |= {told, tuple(not label for label in told)}
    return found


def _is_before(first: str, second: str) -> Callable[[PromptPairs], list[bool]]:
    return lambda pairs: [roles[first][0] < roles[second][0] for roles in pairs.roles]


def labels_of(concept: Concept, pairs: PromptPairs, split: str) -> Bool[ndarray, " pair"] | None:
    """Return the concept's labels of clean prompts, None where clean or corrupted is asked."""
    where = f"directions of {concept.name!r}, {split} pairs"
    if len(pairs) < MIN_PAIRS:
        raise PromptError(
            f"{where}: must be at least {MIN_PAIRS}, got {len(pairs)}. A probe would fit anything. "
            "Raise --n."
        )
    if concept.labels is None:
        return None
    labels = np.asarray(concept.labels(pairs), dtype=bool)
    if labels.shape != (len(pairs),):
        raise MethodError(
            f"{where}: must have one label each, got {labels.size} labels of {len(pairs)} pairs. "
            "Labels belong to clean prompts. Give as many."
        )
    if labels.all() or not labels.any():
        raise MethodError(
            f"{where}: labels must be of both kinds, got only {bool(labels[0])}. There is no "
            "difference to find. Use other pairs or another concept."
        )
    return labels


def activations_at(
    model: SubjectModel,
    pairs: PromptPairs,
    points: Sequence[Point],
    roles: Sequence[str],
    memory: int | None,
) -> Float[Tensor, "point role side pair d_model"]:
    """Return what stands at the points and roles, on clean prompts, then on corrupted ones.

    Raises:
        AlignmentError: the prompts of a pair have unequal lengths.
    """
    if not pairs.is_level:
        raise AlignmentError(
            "directions: clean and corrupted prompts must have equally many tokens, got pairs that "
            "are aligned span by span. Both are read at one place. Use pairs of equal length."
        )
    shape = (len(points), len(roles), 2, len(pairs), model.graph.d_model)
    kept = torch.zeros(shape, dtype=torch.float64)
    places = torch.stack([last_positions(pairs, role) for role in roles])
    size, start = pairs_per_batch(model, pairs, memory), 0
    for part in pairs.batches(size):
        chunk = slice(start, start + len(part))
        at = places[:, chunk].to(model.device)
        rows = torch.arange(len(part), device=model.device).expand_as(at)
        for side, batch in enumerate((part.clean_batch, part.corrupted_batch)):
            places_seen = kept[:, :, side, chunk]
            hooks = {
                point: partial(_keep, target=target, rows=rows, at=at)
                for point, target in zip(points, places_seen, strict=True)
            }
            with torch.no_grad():
                model.run(batch, hooks)
            for point, seen in zip(points, places_seen, strict=True):
                with counted_from(start):
                    by_pair = seen.transpose(0, 1)
                    require_finite_tensor(by_pair, f"model {model.name!r}, {name_of(point)}")
        start += len(part)
    return kept


def _keep(x: Tensor, *, target: Tensor, rows: Tensor, at: Tensor) -> None:
    target.copy_(x[rows, at].double())


def examples_of(
    activations: Float[Tensor, "role side pair d_model"],
    pairs: PromptPairs,
    roles: Sequence[str],
    labels: Bool[ndarray, " pair"] | None,
    sides: str,
) -> list[Examples]:
    """Return the examples of each role.

    Without labels both prompts of a pair are examples. Of `one` side only, they alternate from pair
    to pair: the two prompts of a pair are not independent.
    """
    n = len(pairs)
    tokens = torch.stack([pairs.clean, pairs.corrupted])
    side = torch.zeros(n, dtype=torch.long) if labels is not None else torch.arange(n) % 2
    pair = torch.arange(n)
    is_paired = labels is None and sides == "both"
    if is_paired:
        side, pair = torch.cat([side, 1 - side]), torch.cat([pair, pair])
    found = []
    for x, role in zip(activations, roles, strict=True):
        at = last_positions(pairs, role)
        y = labels if labels is not None else (side == 0).numpy()
        found.append(
            Examples(x[side, pair].numpy(), y, tokens[side, pair, at[pair]].numpy(), is_paired)
        )
    return found


def last_positions(pairs: PromptPairs, role: str) -> Int[Tensor, " pair"]:
    """Return the position of the role's last token in each pair."""
    return torch.tensor([roles[role][1] - 1 for roles in pairs.roles])


def name_of(point: Point) -> str:
    """Return the name of a hook point in tables, as `resid_post 2`."""
    return f"{point.site.replace(' ', '_')} {point.layer}"
