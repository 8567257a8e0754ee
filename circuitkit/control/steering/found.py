"""How directions are found: from two classes of prompts, or in a sparse dictionary.

    difference   mean(x | true) - mean(x | false)
    probe        weight of a logistic regression in the space of x, at the length of the difference
    feature      the decoder row of one feature

x is read at one place and one of the last tokens. A probe's own length is that of a log-odds and no
dose of anything, so it gets the difference's.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from circuitkit.control.steering.classes import TwoClasses, activations_at_ends
from circuitkit.control.steering.vector import SteeringVector, require_place
from circuitkit.dictionaries.dictionary import Dictionary
from circuitkit.dictionaries.spot import spot_of
from circuitkit.errors import MethodError, PromptError
from circuitkit.interpretation.directions.concepts import name_of
from circuitkit.interpretation.directions.probes import Examples, Probed, probe, require_probes
from circuitkit.model import SubjectModel
from circuitkit.model.hook_points import Point

RANDOM, SHUFFLED = "random", "shuffled labels"


@dataclass(frozen=True)
class ProbedVector:
    """A probe's direction, and how well it reads labels of prompts that it was not fitted on."""

    vector: SteeringVector
    probed: Probed


def difference_of_means(
    model: SubjectModel, prompts: TwoClasses, point: Point, *, end: int = -1
) -> SteeringVector:
    """Return the difference of the two classes' means, from false to true.

    Raises:
        PromptError: one class only, or a prompt that is too short.
        GraphError: the model has no such place.
        MethodError: the means do not differ.
    """
    prompts.require_both("difference of means")
    require_place(point, model)
    x = activations_at_ends(model, prompts, [point], [end])[0, 0]
    return vector_of_means(model, x, np.array(prompts.labels), point, end)


def vector_of_means(
    model: SubjectModel,
    x: Float[Tensor, "prompt d_model"],
    labels: Bool[ndarray, " prompt"],
    point: Point,
    end: int,
) -> SteeringVector:
    """Return the difference of means of activations that are known."""
    chosen = torch.from_numpy(labels)
    true, false = x[chosen].mean(0), x[~chosen].mean(0)
    origin = (
        f"difference of means of {int(chosen.sum())} and {int((~chosen).sum())} prompts at "
        f"{name_of(point)}, token {end}"
    )
    found = SteeringVector(true - false, point, origin, model.name, model.digest)
    return replace(found, true=float(true @ found.unit), false=float(false @ found.unit))


def probe_direction(
    model: SubjectModel,
    training: TwoClasses,
    held_out: TwoClasses,
    point: Point,
    *,
    end: int = -1,
    seed: int = 0,
) -> ProbedVector:
    """Return a probe's direction at the length of the difference of means.

    Raises:
        PromptError: one class only, or a prompt that is too short.
        DependencyError: scikit-learn is not installed.
    """
    require_probes()
    require_place(point, model)
    examples = []
    for prompts, what in ((training, "training"), (held_out, "held-out")):
        prompts.require_both(f"probe, {what} prompts")
        read = activations_at_ends(model, prompts, [point], [end])[0, 0]
        tokens = np.array([ids[end] for ids in prompts.ids])
        examples.append(Examples(read.numpy(), np.array(prompts.labels), tokens))
    probed = probe(*examples, seed=seed)
    x = torch.from_numpy(examples[0].x)
    means = vector_of_means(model, x, examples[0].labels, point, end)
    direction = torch.from_numpy(probed.direction)
    vector = replace(
        means,
        direction=direction / direction.norm() * means.norm,
        origin=f"probe of {len(training)} prompts at {name_of(point)}, token {end}",
    )
    chosen = torch.from_numpy(examples[0].labels)
    true, false = (float(x[side].mean(0) @ vector.unit) for side in (chosen, ~chosen))
    return ProbedVector(replace(vector, true=true, false=false), probed)


def feature_direction(
    model: SubjectModel, dictionary: Dictionary, feature: int, *, layer: int | None = None
) -> SteeringVector:
    """Return what one unit of a dictionary's feature writes to the residual stream.

    Raises:
        DictionaryError: no such feature, or a dictionary that does not fit the model.
        MethodError: what it writes is no direction of the residual stream.
    """
    dictionary.features_named([feature])
    spot = spot_of(dictionary, model, layer=layer)
    name = dictionary.name or "dictionary"
    directions = dictionary.directions
    if directions is None:
        raise MethodError(
            f"{name}: a feature must add the same whatever is read, got one that scales with x "
            f"({dictionary.normalisation}). It is no fixed direction. Use another dictionary."
        )
    point = Point(spot.writes, spot.layer)
    require_place(point, model)
    return SteeringVector(
        directions[feature].detach().double().cpu(),
        point,
        f"feature {feature} of {name} ({dictionary.digest})",
        model.name,
        model.digest,
    )


def random_vector(vector: SteeringVector, seed: int = 0) -> SteeringVector:
    """Return a random direction of the same length, at the same place."""
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randn(len(vector.direction), generator=rng, dtype=torch.float64)
    return replace(
        vector,
        direction=drawn / drawn.norm() * vector.norm,
        origin=f"{RANDOM}, seed {seed}",
        true=None,
        false=None,
    )


def shuffled_vector(
    model: SubjectModel, prompts: TwoClasses, vector: SteeringVector, *, end: int, seed: int = 0
) -> SteeringVector:
    """Return the difference of means under shuffled labels, at the length of `vector`.

    Half of each true class is called true: so a difference of the classes is in neither mean. With
    labels shuffled freely it is, and such a direction is a short piece of the true one.

    Raises:
        PromptError: so few prompts of a class that they cannot be halved.
    """
    labels = np.array(prompts.labels)
    shuffled = np.zeros(len(labels), dtype=bool)
    rng = np.random.default_rng(seed)
    for side in (True, False):
        rows = rng.permutation(np.flatnonzero(labels == side))
        if len(rows) < 2:
            raise PromptError(
                f"shuffled labels: each class must have at least 2 prompts, got {len(rows)}. It is "
                "halved. Add prompts."
            )
        shuffled[rows[: len(rows) // 2]] = True
    found = difference_of_means(model, prompts.relabelled(shuffled.tolist()), vector.point, end=end)
    return replace(
        found,
        direction=found.direction / found.norm * vector.norm,
        origin=f"{SHUFFLED}, seed {seed}",
        true=None,
        false=None,
    )
