"""The baseline: can the model do the task at all? Asked before any circuit is drawn.

A model can do a task if, over the pairs, its 95 % intervals show that
  1. the gain (metric, more is better) is higher on clean than on corrupted prompts, and
  2. where there are wrong answers, the right ones have the higher mean logit more often than not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from circuitkit.errors import BaselineError
from circuitkit.metrics import Accuracy, LogitDifference, Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import record
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate, mean_estimate
from circuitkit.statistics.shares import share_of
from circuitkit.work.notebook import Shown
from circuitkit.work.text import brief

BATCH = 256  # pairs a pass; no result depends on it


@dataclass(frozen=True)
class Baseline(Shown):
    """How the whole model does on the task.

    `clean` and `corrupted` are the metric's means; `gap` is the mean gain of clean over
    corrupted; `accuracy` the share whose most likely token is an answer; `preference` the share
    whose answers beat the wrong answers (None where the task has no wrong answers).
    """

    metric: str
    unit: str
    clean: Estimate
    corrupted: Estimate
    gap: Estimate
    accuracy: Estimate
    preference: Estimate | None

    def __repr__(self) -> str:
        return brief(
            f"Baseline({self.metric}: gap {self.gap} {self.unit}, accuracy {self.accuracy})"
        )

    @property
    def fault(self) -> str:
        """Why the model cannot do the task; empty if it can."""
        if self.gap.low <= 0:
            return f"the metric is not better on clean than on corrupted prompts: gap {self.gap}"
        return self.preference_fault

    @property
    def preference_fault(self) -> str:
        """That the right answers do not beat the wrong ones; empty if they do."""
        if self.preference is not None and self.preference.low <= 0.5:
            return f"right answers do not beat wrong ones: share {self.preference}"
        return ""


def measure_baseline(model: SubjectModel, pairs: PromptPairs, metric: Metric) -> Baseline:
    """Return how the model does on these pairs.

    Raises:
        PromptError: the metric needs labels that the pairs lack.
    """
    metric.check(pairs.labels)
    clean_logits = _logits(model, pairs, clean=True)
    corrupted_logits = _logits(model, pairs, clean=False)
    labels = pairs.with_clean_logits(clean_logits).labels
    gap = metric.gain(clean_logits, labels) - metric.gain(corrupted_logits, labels)
    accurate = Accuracy().values(clean_logits, labels).double().numpy()
    preference = None
    if bool((labels.wrong_answers >= 0).any(1).all()):
        difference = LogitDifference().values(clean_logits, labels)
        preference = share_of((difference > 0).double().numpy(), pairs.clusters)
    return Baseline(
        metric=metric.name,
        unit=metric.unit,
        clean=_mean(metric.values(clean_logits, labels), pairs),
        corrupted=_mean(metric.values(corrupted_logits, labels), pairs),
        gap=_mean(gap, pairs),
        accuracy=share_of(accurate, pairs.clusters),
        preference=preference,
    )


def require_able(baseline: Baseline, model_name: str, task_name: str) -> None:
    """Refuse to look for a circuit of something that the model does not do.

    Raises:
        BaselineError: the model cannot do the task.
    """
    if baseline.fault:
        raise BaselineError(
            f"model {model_name!r} on task {task_name!r}: must be able to do the task, got "
            f"accuracy {baseline.accuracy}; {baseline.fault}. A circuit of it would explain "
            "noise. Use another model or task, or go on regardless with --anyway."
        )


def _logits(model: SubjectModel, pairs: PromptPairs, *, clean: bool) -> Tensor:
    parts = pairs.batches(BATCH)
    batches = (part.clean_batch if clean else part.corrupted_batch for part in parts)
    return torch.cat([record(model, batch)[1].double().cpu() for batch in batches])


def _mean(values: Tensor, pairs: PromptPairs) -> Estimate:
    return mean_estimate(values.numpy(), clusters=pairs.clusters)
