"""The baseline of every edit: the same matrix, trained on the fact by descent.

    loss = -log P(target) on the bare prompt, by Adam on the matrix alone

`largest` bounds each entry of the change (the constrained fine-tuning of Zhu et al. 2020); None
leaves it free. The matrix is trained as what it adds to the projection's output, so that no weight
of the model is touched.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from circuitkit.control.editing.edit import Edit, edit_of, finite
from circuitkit.control.editing.facts import Fact, read_facts
from circuitkit.control.editing.projection import changed_output, projection_of
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel

FINE_TUNING = "fine-tuning"


@dataclass(frozen=True)
class FineTuning:
    """How long and how fast it is trained. Meng et al. use these for GPT-2 XL."""

    steps: int = 25
    learning_rate: float = 5e-4
    enough: float = 0.01  # loss at which it stops
    largest: float | None = None

    def __post_init__(self) -> None:
        """Require numbers that can be trained with."""
        for name, value in (("steps", self.steps), ("learning_rate", self.learning_rate)):
            if not value > 0:
                raise MethodError(
                    f"edit by {FINE_TUNING}: {name} must be above 0, got {value}. Nothing would be "
                    "trained. Raise it."
                )


def edit_by_fine_tuning(
    model: SubjectModel, fact: Fact, layer: int, plan: FineTuning | None = None
) -> Edit:
    """Return the edit that trains a layer's output projection on one fact.

    Raises:
        MethodError: there is no such layer, or the matrix changes beyond its clamp.
        PromptError, AnswerError: the fact cannot be read.
    """
    plan = plan or FineTuning()
    projection = projection_of(model, layer)
    pairs = read_facts([fact], model.tokenizer)
    model.require_vocabulary(pairs)
    target = int(pairs.labels.answers[0, 0])
    change = torch.zeros_like(projection.weight, requires_grad=True)
    optimizer = torch.optim.Adam([change], lr=plan.learning_rate)
    losses: list[float] = []

    def add(neurons: Tensor, output: Tensor) -> Tensor:
        return output + neurons @ change

    with model.frozen(), torch.enable_grad(), changed_output(projection, add):
        for step in range(plan.steps + 1):
            optimizer.zero_grad()
            loss = -model.run(pairs.clean_batch).log_softmax(-1)[0, target]
            losses.append(float(loss.detach()))
            if losses[-1] < plan.enough or step == plan.steps:
                break
            loss.backward()
            optimizer.step()
            if plan.largest is not None:
                with torch.no_grad():
                    change.clamp_(-plan.largest, plan.largest)
    made = finite(change.detach().double(), FINE_TUNING)
    return edit_of(model, FINE_TUNING, [fact], {layer: made}, losses=losses)
