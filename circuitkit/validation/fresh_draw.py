"""Fresh draw: does the circuit hold on pairs that nobody could choose?

    value = f(C) on as many pairs as validate, drawn by a seed that is a digest of the circuit

Whoever may choose the seed of the validation pairs can try fifty and show the best. These pairs
depend on the circuit, the model and the task alone; none holds a prompt of discovery or validation.
Pairs of a file cannot be drawn anew: there it is the faithfulness on the file's own.
"""

from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bound import Bound
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.faithfulness import measured, measured_on
from circuitkit.validation.questions import ELSEWHERE
from circuitkit.validation.verdict import Finding

FRESH = "fresh"  # the kind of held-out pairs


class FreshDraw(Criterion):
    """The faithfulness on pairs whose seed is the circuit's own digest."""

    name = "fresh-draw"
    question = ELSEWHERE
    measures = CRITERIA["fresh-draw"]
    summary = "f on a fresh draw, whose seed is a digest of the circuit: nobody chose it"
    default = Bound(min=0.8)

    def measure(self, case: Case) -> Finding:
        held = case.held_out.get(FRESH)
        if held is None:
            note = "no pairs could be drawn anew: those of validation"
            return Finding(measured(case, case.circuit), note, same_as="faithfulness")
        independent = f"{held.pairs.n_clusters} independent of {len(held.pairs)} fresh pairs"
        return Finding(measured_on(case, held), independent)
