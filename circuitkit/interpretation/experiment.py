"""What a finding is measured on: a model, pairs of prompts, a metric."""

from dataclasses import dataclass

from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.validation.case import Case

N_SWEPT = 32  # pairs of the lens and of tracing


@dataclass(frozen=True)
class Experiment:
    """A model on some pairs under a metric. `memory` bounds a batch, in bytes (None: what is free).

    Results do not depend on `memory`.
    """

    model: SubjectModel
    pairs: PromptPairs
    metric: Metric
    memory: int | None = None


def first_pairs(case: Case) -> PromptPairs:
    """Return a case's first N_SWEPT validation pairs: enough where every cell is a run."""
    return case.validation.select(range(min(N_SWEPT, len(case.validation))))
