"""Ability: can the model do the task at all?

    gap = mean over pairs of  gain(clean run) - gain(corrupted run),  in the metric's unit

A circuit of something that the model does not do explains noise, whatever its other numbers.
"""

from circuitkit.errors import CriterionError
from circuitkit.validation.baseline import measure_baseline
from circuitkit.validation.criterion import Case, Criterion
from circuitkit.validation.verdict import Bound, Finding


class Ability(Criterion):
    """How much better the model does on clean than on corrupted prompts."""

    name = "ability"
    summary = "metric gained by the clean prompt over the corrupted one: the model does the task"
    default = Bound(min=0.0)

    def measure(self, case: Case) -> Finding:
        baseline = measure_baseline(case.model, case.validation, case.metric)
        if baseline.fault and baseline.gap.low >= 0:  # which the interval alone would let pass
            raise CriterionError(f"ability: {baseline.fault}")
        return Finding(baseline.gap, f"accuracy {baseline.accuracy}")
