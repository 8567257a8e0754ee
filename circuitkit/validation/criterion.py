"""The contract of all criteria.

A criterion is one class in one file: a name, a sentence, its default bound, and `measure(case)`. It
knows what the case holds (case.py), never the method that found the circuit.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from circuitkit.circuits.graph import ComponentGraph
from circuitkit.moved import old_names
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.validation.case import Case
from circuitkit.validation.questions import Question
from circuitkit.validation.verdict import Finding


class Criterion(ABC):
    """A judgement on a circuit. `default` is its bound; an open one means: reported only.

    `question` is what it answers. `measures` says in plain words what its value is, `summary` how
    it is defined. `value_is_p` is set where the value itself is a p-value; fewer pairs than
    `least_pairs` are not judged.
    """

    name: ClassVar[str]
    question: ClassVar[Question]
    measures: ClassVar[str]
    summary: ClassVar[str]
    value_is_p: ClassVar[bool] = False
    least_pairs: ClassVar[int] = 16  # under which an interval or test says little
    default: ClassVar[Bound] = Bound()

    def bound_on(self, graph: ComponentGraph, bound: Bound) -> Bound:
        """Return the bound as it is meant on a graph: the same, unless a criterion says else."""
        return bound

    @abstractmethod
    def measure(self, case: Case) -> Finding:
        """Return what is found.

        Raises:
            CriterionError: it cannot be measured on this case.
        """


def magnitude(signed: Estimate) -> Estimate:
    """Return the estimate of |x| from that of x: 0 is inside where the signs differ."""
    low, high = sorted((abs(signed.low), abs(signed.high)))
    crosses = signed.low <= 0 <= signed.high
    return Estimate(abs(signed.value), 0.0 if crosses else low, high, signed.n)


def exact(value: float) -> Estimate:
    """Return a count or share that has no interval."""
    return Estimate(value, value, value, 1)


if not TYPE_CHECKING:  # names that this module had
    __getattr__ = old_names(__name__)
