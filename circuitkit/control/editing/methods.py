"""Every way to edit a fact by name, and the one call that makes any of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from circuitkit import names
from circuitkit.control.editing.edit import Edit
from circuitkit.control.editing.facts import Fact
from circuitkit.control.editing.fine_tuning import FINE_TUNING, FineTuning, edit_by_fine_tuning
from circuitkit.control.editing.rank_one import FORMS, edit_rank_one
from circuitkit.control.editing.second_moment import SecondMoment
from circuitkit.control.editing.several_layers import METHODS, Spread, edit_over_layers
from circuitkit.control.editing.value import Descent
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel

MOST_LAYERS = 5  # that an edit is spread over, as MEMIT does for GPT-J


@dataclass(frozen=True)
class Recipe:
    """How a fact is edited: by which method, how its value is found, and the seed of prefixes.

    Where no `descent` is given, it is the method's own.
    """

    method: str = "r-rome"
    descent: Descent | None = None
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    seed: int = 0

    def __post_init__(self) -> None:
        """Require a method that is known."""
        require_method(self.method)


def edit_fact(
    model: SubjectModel,
    fact: Fact,
    layer: int,
    moments: Mapping[int, SecondMoment],
    recipe: Recipe,
) -> Edit:
    """Return the edit of one fact in a layer; MEMIT and AlphaEdit also change layers before it.

    `moments` must hold the second moment of each layer that is changed (fine-tuning needs none).

    Raises:
        MethodError: the method cannot make it there.
        PromptError, AnswerError: the fact cannot be read.
    """
    method, descent, seed = recipe.method, recipe.descent, recipe.seed
    if method == FINE_TUNING:
        return edit_by_fine_tuning(model, fact, layer, recipe.fine_tuning)
    if method in FORMS:
        moment = moments[layer]
        return edit_rank_one(model, fact, moment, form=method, descent=descent, seed=seed)
    spread = Spread(layers_changed(method, layer), method)
    return edit_over_layers(model, [fact], moments, spread, descent=descent, seed=seed)


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


def layers_changed(method: str, layer: int) -> tuple[int, ...]:
    """Return the layers that an edit at a layer changes: it, and for METHODS those before it."""
    first = max(0, layer - MOST_LAYERS + 1) if method in METHODS else layer
    return tuple(range(first, layer + 1))
