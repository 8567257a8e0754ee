"""Ability: can the model do the task at all?

    gap   = mean over pairs of  gain(clean run) - gain(corrupted run),  in the metric's unit
    share = of pairs on which that is positive, ties counting one half; 1/2 is chance

A circuit of something that the model does not do explains noise, whatever its other numbers.
"""

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError
from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bound import Bound
from circuitkit.statistics.gaps import dust_of
from circuitkit.statistics.shares import share_of
from circuitkit.validation.baseline import measure_baseline
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.equivalence import above_zero
from circuitkit.validation.questions import ABLE
from circuitkit.validation.verdict import Finding


class Ability(Criterion):
    """How much better the model does on clean than on corrupted prompts."""

    name = "ability"
    question = ABLE
    measures = CRITERIA["ability"]
    summary = "metric gained by the clean prompt over the corrupted one: the model does the task"
    default = Bound(min=0.0)

    def measure(self, case: Case) -> Finding:
        baseline = measure_baseline(case.model, case.validation, case.metric)
        fault = baseline.preference_fault if baseline.gap.high >= 0 else ""
        if baseline.gap.low >= 0:  # which the interval alone would let pass
            fault = baseline.fault
        if fault:
            raise CriterionError(f"ability: {fault}")
        return Finding(baseline.gap, f"accuracy {baseline.accuracy}")


class AbilityShare(Criterion):
    """On how many pairs the model does better on the clean prompt.

    A gap that cannot be told from zero leaves `ability` open; a share near one half refutes.
    """

    name = "ability-share"
    question = ABLE
    measures = CRITERIA["ability-share"]
    summary = "share of pairs on which the clean prompt's metric beats the corrupted one's"
    default = Bound(min=0.75)

    def measure(self, case: Case) -> Finding:
        ends = [Circuit.full(case.model.graph), Circuit.empty(case.model.graph)]
        clean, corrupted = case.values(ends, ablation="resample")  # all ablated: the corrupted run
        difference = clean - corrupted if case.metric.higher_is_better else corrupted - clean
        above = above_zero(difference, dust_of(clean, corrupted))
        return Finding(share_of(above, case.validation.clusters))
