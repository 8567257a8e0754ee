"""Every way to edit a fact by name, and the one call that makes any of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from circuitkit import names
from circuitkit.control.editing.edit import Edit
from circuitkit.control.editing.facts import Fact
from circuitkit.control.editing.rank_one import edit_rank_one
from circuitkit.control.editing.second_moment import SecondMoment
from circuitkit.control.editing.value import Descent
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel


@dataclass(frozen=True)
class Recipe:
    """How a fact is edited: the method's name, how its value is found, and the seed of prefixes."""

    method: str = "r-rome"
    descent: Descent = field(default_factory=Descent)
    seed: int = 0


def edit_fact(
    model: SubjectModel,
    fact: Fact,
    layer: int,
    moments: Mapping[int, SecondMoment],
    recipe: Recipe,
) -> Edit:
    """Return the edit of one fact in a layer; MEMIT and AlphaEdit also change layers before it.

    `moments` must hold the second moment of each layer that is changed.

    Raises:
        MethodError: the method cannot make it there.
        PromptError, AnswerError: the fact cannot be read.
    """
    return edit_rank_one(
        model,
        fact,
        moments[layer],
        form=recipe.method,
        descent=recipe.descent,
        seed=recipe.seed,
    )


def require_method(method: str) -> None:
    """Refuse a method that is not known.

    Raises:
        MethodError: it is not.
    """
    if method not in names.EDITS:
        raise MethodError(
            f"--method: must be one of {', '.join(names.EDITS)}, got {method!r}. It says how the "
            "matrix is changed. Choose one."
        )


def layers_changed(recipe: Recipe, layer: int) -> tuple[int, ...]:
    """Return the layers that an edit at a layer changes."""
    return (layer,)
