"""Ablation robustness: how far faithfulness moves with the choice of ablation.

    value = max - min over zero, mean and resample ablation of f(C)

Faithfulness of one circuit can lie below 0 and above 1 by that choice alone (Miller et al. 2024,
arXiv:2407.08734). A claim that holds under one ablation only should say so.
"""

import numpy as np

from circuitkit.errors import CriterionError, VanishingGapError
from circuitkit.glossary import CRITERIA
from circuitkit.statistics.bootstrap import Values, estimate
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.questions import ELSEWHERE
from circuitkit.validation.verdict import Finding

COMPARED = ("zero", "mean", "resample")


class AblationSpread(Criterion):
    """The largest difference in faithfulness between two ablations."""

    name = "ablation-spread"
    question = ELSEWHERE
    measures = CRITERIA["ablation-spread"]
    summary = f"largest f minus smallest f over {', '.join(COMPARED)} ablation"

    def measure(self, case: Case) -> Finding:
        columns: list[Values] = []
        notes = []
        for name in COMPARED:
            try:
                full, empty = case.ends(ablation=name)
            except VanishingGapError:
                notes.append(f"{name}: no gap")
                continue
            except CriterionError as error:
                notes.append(str(error))
                continue
            [circuit] = case.values([case.circuit], ablation=name)
            columns += [circuit - empty, full - empty]
            notes.append(f"{name} {columns[-2].mean() / columns[-1].mean():.3g}")
        if len(columns) < 4:
            raise CriterionError(f"ablation-spread: two ablations must have a gap, got {notes}.")
        found = estimate(columns, _spread, clusters=case.validation.clusters)
        return Finding(found, ", ".join(notes))


def _spread(*columns: Values, axis: int = -1) -> Values:
    means = [column.mean(axis=axis) for column in columns]
    f = np.stack([kept / gap for kept, gap in zip(means[::2], means[1::2], strict=True)])
    return np.asarray(f.max(0) - f.min(0))
