"""An edit: other weights for a few matrices of one model, and how they came about.

The model is never touched: `made` returns another that shares every other weight, and to undo an
edit is to drop it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from circuitkit.control.editing.facts import Fact
from circuitkit.control.editing.projection import projection_of
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel
from circuitkit.model.changed import with_weights

MAX_GROWTH = 10.0  # |W' - W| at most, in norms of W
WEIGHTS = "edit"


@dataclass(frozen=True)
class Edit:
    """Other weights of the model with the digest `model`, by their names in its state dict.

    `growth` is |W' - W| / |W| of each layer's matrix. `losses` are those of the descent.
    """

    name: str
    method: str
    facts: tuple[Fact, ...]
    weights: Mapping[str, Tensor] = field(repr=False)
    model: str
    growth: Mapping[int, float]
    losses: tuple[float, ...] = ()
    kind: ClassVar[str] = WEIGHTS

    def made(self, model: SubjectModel) -> SubjectModel:
        """Return the edited model; the given one stays as it is.

        Raises:
            MethodError: the edit was made for other weights.
        """
        if not model.has_weights(self.model):
            raise MethodError(
                f"edit {self.name!r}: must be made in the model that it was found in (digest "
                f"{self.model}), got {model.name!r} with digest {model.digest}. It holds whole "
                "matrices, which would undo whatever else was changed. Edit that model anew."
            )
        return with_weights(model, self.weights, name=f"{model.name} + {self.name}")


@dataclass(frozen=True)
class Edits:
    """Edits made one after the other, each in the model that the ones before it left."""

    name: str
    steps: tuple[Edit, ...]
    kind: ClassVar[str] = WEIGHTS

    def made(self, model: SubjectModel) -> SubjectModel:
        """Return the model with all edits made.

        Raises:
            MethodError: a step was made for other weights.
        """
        for step in self.steps:
            model = step.made(model)
        return model


def edit_of(
    model: SubjectModel,
    method: str,
    facts: Sequence[Fact],
    changes: Mapping[int, Tensor],
    *,
    losses: Sequence[float] = (),
    max_growth: float = MAX_GROWTH,
) -> Edit:
    """Return the edit that adds to the matrices of some layers, each [d_mlp, d_model].

    Raises:
        MethodError: a matrix would change by more than `max_growth` norms of itself.
    """
    weights, growth = {}, {}
    for layer, change in changes.items():
        projection = projection_of(model, layer)
        own = projection.weight.double()
        growth[layer] = float(change.norm() / own.norm())
        if not growth[layer] <= max_growth:
            raise MethodError(
                f"edit by {method}, layer {layer}: a matrix must change by at most {max_growth:g} "
                f"norms of itself, got {growth[layer]:.3g}. Such an edit breaks the whole model. "
                "Edit another layer, or use r-rome, which divides by no small number."
            )
        weights[projection.name] = projection.stored(own + change.to(own.device))
    name = f"{method} at {', '.join(map(str, changes))}"
    return Edit(name, method, tuple(facts), weights, model.digest, growth, tuple(losses))


def finite(change: Tensor, method: str) -> Tensor:
    """Return a change of weights, all of whose entries are numbers.

    Raises:
        MethodError: one is not.
    """
    if not bool(torch.isfinite(change).all()):
        raise MethodError(
            f"edit by {method}: the change of weights must be finite, got NaN or infinity. The "
            "model could not run. Lower the learning rate, or edit another layer."
        )
    return change
