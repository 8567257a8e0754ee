from dataclasses import replace

import numpy as np
import pytest

from circuitkit.errors import CriterionError
from circuitkit.validation.robustness import AblationSpread

SPREAD = np.linspace(-0.1, 0.1, 17)


def under(told, f, no_gap=()):
    def tell(c, choosing, ablation):
        if c.n_edges == 0:
            return SPREAD
        gap = 0.0 if ablation in no_gap else 2.0
        return gap * (1.0 if c.n_edges == 75 else f[ablation]) + SPREAD

    return told(tell)


def test_it_is_the_largest_difference_of_two(told):
    f = {"zero": 1.2, "mean": 0.9, "resample": 0.4}
    finding = AblationSpread().measure(under(told, f))
    assert finding.value.value == pytest.approx(0.8)
    assert finding.note == "zero 1.2, mean 0.9, resample 0.4"


def test_an_ablation_without_a_gap_is_left_out_and_said(told):
    f = {"zero": 1.2, "mean": 0.9, "resample": 0.4}
    finding = AblationSpread().measure(under(told, f, no_gap=["zero"]))
    assert finding.value.value == pytest.approx(0.5)
    assert finding.note.startswith("zero: no gap, mean 0.9")
    with pytest.raises(CriterionError, match="two ablations must have a gap"):
        AblationSpread().measure(under(told, f, no_gap=["zero", "mean"]))


def test_an_ablation_that_does_not_fit_the_pairs_is_left_out_and_said(new_case, case):
    others = {**case.ablations, "mean": case.held_out["answers"].ablations["mean"]}
    held = replace(new_case(), ablations=others)
    assert "under mean ablation: " in AblationSpread().measure(held).note


def test_it_is_measured_under_each_ablation(case):
    f = [
        float(case.faithfulness([case.circuit], ablation=a)[0])
        for a in ("zero", "mean", "resample")
    ]
    assert AblationSpread().measure(case).value.value == pytest.approx(max(f) - min(f))
