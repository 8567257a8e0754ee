"""Hold-out: does the circuit work on pairs of another kind than those that found it?

    value = the lowest faithfulness over the kinds of held-out pairs

All validation pairs are other prompts than those of discovery: the first kind. Others go further:
wordings that discovery never used, and answers (names, places) that never were answers there. A
task says which exist; each kind has its own reference prompts for mean ablation.
"""

from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bound import Bound
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.faithfulness import measured, measured_on
from circuitkit.validation.fresh_draw import FRESH
from circuitkit.validation.questions import ELSEWHERE
from circuitkit.validation.verdict import Finding


class HoldOut(Criterion):
    """The faithfulness on the kind of held-out pairs on which it is lowest."""

    name = "hold-out"
    question = ELSEWHERE
    measures = CRITERIA["hold-out"]
    summary = "lowest f on prompts, wordings and answers that discovery never saw"
    default = Bound(min=0.7)

    def measure(self, case: Case) -> Finding:
        found = {"prompts": measured(case, case.circuit)}
        for kind, held in case.held_out.items():
            if kind != FRESH:  # that is of the same kind as validation: fresh_draw.py
                found[kind] = measured_on(case, held)
        worst = min(found, key=lambda kind: found[kind].low)
        note = "; ".join(f"{kind}: {value} (n = {value.n})" for kind, value in found.items())
        same_as = "faithfulness" if worst == "prompts" else ""
        return Finding(found[worst], note, same_as=same_as)
