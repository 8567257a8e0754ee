"""The three uses of a direction, as hooks of a run.

    ablated   y <- y - (y . u) u          at every write: what enters block 0 (the embedding), and
                                          what attention and MLP of every layer add
    added     x <- x + dose d             at one place
    set to t  x <- x - (x . u) u + t u    at one place: the projection becomes t

u = d / |d|. A residual stream of which every write is ablated has no part along u anywhere, so
nothing can read it. `at` marks the (row, pos) that are changed (None: every position). Arditi et
al. 2024 (arXiv:2406.11717, section 2.4); Marshall et al. 2024 (arXiv:2411.09003) for the third.
"""

from collections.abc import Callable
from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.control.steering.vector import SteeringVector
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.prompts.batch import PromptBatch

Where = Bool[Tensor, "row pos"] | None


def write_points(model: SubjectModel) -> tuple[Point, ...]:
    """Return the places at which the residual stream is written, in the order of a pass."""
    found = [hook_points.resid_pre(0)]
    for layer in range(model.graph.n_layers):
        found.append(hook_points.attn_out(layer))
        if model.graph.has_mlps:
            found.append(hook_points.mlp_out(layer))
    return tuple(found)


def ablated(model: SubjectModel, vector: SteeringVector, at: Where = None) -> dict[Point, Hook]:
    """Return the hooks that take the direction out of every write.

    Raises:
        MethodError, GraphError, ModelError: the direction is not of this model.
    """
    vector.require_fits(model)
    hook = partial(_only_at, change=partial(without, unit=vector.unit), at=at)
    return dict.fromkeys(write_points(model), hook)


def added(
    model: SubjectModel, vector: SteeringVector, dose: float, at: Where = None
) -> dict[Point, Hook]:
    """Return the hook that adds `dose` times the direction, where it was read.

    Raises:
        MethodError, GraphError, ModelError: the direction is not of this model.
    """
    vector.require_fits(model)
    change = partial(_plus, step=dose * vector.direction.double())
    return {vector.point: partial(_only_at, change=change, at=at)}


def set_to(
    model: SubjectModel, vector: SteeringVector, target: float, at: Where = None
) -> dict[Point, Hook]:
    """Return the hook that makes the projection on the unit direction `target`, where it was read.

    `vector.true` and `vector.false` are the means of the two classes.

    Raises:
        MethodError, GraphError, ModelError: the direction is not of this model.
    """
    vector.require_fits(model)
    change = partial(_with_projection, unit=vector.unit, target=target)
    return {vector.point: partial(_only_at, change=change, at=at)}


def last_tokens(batch: PromptBatch) -> Bool[Tensor, "row pos"]:
    """Return the places at which answers are read, for `at`."""
    found = batch.mask.new_zeros(batch.mask.shape)
    return found.scatter(1, batch.label_pos.unsqueeze(1), True)


def without(x: Float[Tensor, "*any d_model"], unit: Tensor) -> Float[Tensor, "*any d_model"]:
    """Return `x` without its part along a unit vector."""
    return _with_projection(x, unit=unit, target=0.0)


def _with_projection(
    x: Float[Tensor, "*any d_model"], *, unit: Float[Tensor, " d_model"], target: float
) -> Float[Tensor, "*any d_model"]:
    unit = unit.to(x)
    missing: Tensor = target - x @ unit
    return x + missing.unsqueeze(-1) * unit


def _plus(
    x: Float[Tensor, "*any d_model"], *, step: Float[Tensor, " d_model"]
) -> Float[Tensor, "*any d_model"]:
    return x + step.to(x)


def _only_at(x: Tensor, *, change: Callable[[Tensor], Tensor], at: Where) -> Tensor:
    """Return the changed activations at the marked places, the others as they are."""
    if at is None:
        return change(x)
    return change(x).where(at.to(x.device).unsqueeze(-1), x)
