"""Training dictionaries of several places on the same runs, with what is done kept in a file.

    for every step:   run the step's prompts once;   one step of every dictionary

A run that was cut off goes on from the last steps kept, and ends in the same weights, bit for bit.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from circuitkit.dictionaries.training.finished import Finished, finished
from circuitkit.dictionaries.training.kept_steps import keep_steps, kept_steps
from circuitkit.dictionaries.training.learner import Learner
from circuitkit.dictionaries.training.places import TrainedPlace, read_places
from circuitkit.dictionaries.training.plan import Plan
from circuitkit.dictionaries.training.prompts import PromptSource, batch_of
from circuitkit.dictionaries.training.weights import kept_over_batch, smallest_kept
from circuitkit.model import SubjectModel
from circuitkit.work.progress import Progress, silent

SECONDS_BETWEEN = 20.0  # of work that a kill may cost
THRESHOLD_STEPS = 16  # batches that the one threshold of batchtopk is measured on


@dataclass(frozen=True)
class Training:
    """What is trained: a dictionary of each place, by one plan, on the prompts of a source."""

    model: SubjectModel
    places: Sequence[TrainedPlace]
    plan: Plan
    prompts: PromptSource

    @property
    def identity(self) -> dict[str, str]:
        """What the weights depend on, by name."""
        plan = {f"plan, {name}": str(value) for name, value in asdict(self.plan).items()}
        return plan | {
            "model": self.model.digest,
            "dtype": str(self.model.dtype),
            "places": ",".join(place.name for place in self.places),
            "prompts": self.prompts.digest,
        }

    def activations(self, step: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Return what the dictionary of each place reads and is to write in a step."""
        batch = batch_of(self.prompts.of_step(step, self.plan.prompts_per_step))
        return read_places(self.model, batch, self.places, self.plan.positions)


def train(
    training: Training, *, checkpoint: Path | None = None, progress: Progress = silent
) -> list[Finished]:
    """Return a trained dictionary of each place.

    With a `checkpoint`, what is done is kept there from time to time, and gone on from.

    Raises:
        CheckpointError: the file is of other work, or damaged.
        OutputError: it cannot be written.
        ActivationError, PromptError: the model cannot run a prompt.
    """
    plan = training.plan
    learners: dict[str, Learner] = {}
    if checkpoint is not None and checkpoint.exists():
        learners = kept_steps(checkpoint, training.identity, plan)
    done = min((learner.step for learner in learners.values()), default=0)
    kept_at = time.monotonic()
    progress(done, plan.steps)
    for step in range(done, plan.steps):
        _learn(learners, training, step)
        is_due = time.monotonic() - kept_at > SECONDS_BETWEEN or step == plan.steps - 1
        if checkpoint is not None and is_due:
            keep_steps(checkpoint, training.identity, learners)
            kept_at = time.monotonic()
        progress(step + 1, plan.steps)
    thresholds = _thresholds(learners, training)
    return [
        finished(place, plan, learners[place.name].weights, thresholds.get(place.name))
        for place in training.places
    ]


def _learn(learners: dict[str, Learner], training: Training, step: int) -> None:
    for name, (x, y) in training.activations(step).items():
        if name not in learners:
            learners[name] = Learner.begin(training.plan, x, y)
        learners[name].learn(x, y)


def _thresholds(learners: dict[str, Learner], training: Training) -> dict[str, float]:
    """Return the one threshold of each dictionary, none where the kind has none.

    It is the mean over batches that no step had of the smallest feature that was kept, so that
    about as many are active on single prompts as in training over a batch.
    """
    plan, found = training.plan, {name: list[float]() for name in learners}
    if plan.kind not in ("batchtopk", "transcoder"):
        return {}
    for step in range(plan.steps, plan.steps + THRESHOLD_STEPS):
        for name, (x, _) in training.activations(step).items():
            weights = learners[name].weights
            pre = weights.pre_activations(x / weights.scale_in)
            found[name].append(float(smallest_kept(pre, kept_over_batch(pre, plan.k))))
    return {name: sum(values) / len(values) for name, values in found.items()}
