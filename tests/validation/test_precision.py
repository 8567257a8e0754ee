import warnings

import pytest
import torch

from circuitkit.errors import PrecisionWarning
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.validation.precision import measure_coarseness, warn_if_coarse
from circuitkit.zoo import load_model


def test_half_precision_is_warned_about_with_the_number(toy_directory, pairs, metric):
    model = load_model(toy_directory, dtype="bfloat16")
    ablation = ResampleAblation()
    coarse = measure_coarseness(model, pairs, ablation=ablation, metric=metric)
    assert 1e-3 < coarse < 5
    with pytest.warns(PrecisionWarning, match=f"differs by up to {coarse:.2g} logits"):
        warn_if_coarse(model, pairs, ablation=ablation, metric=metric)


def test_single_and_double_precision_are_not(toy, toy_directory, pairs, metric):
    ablation = ResampleAblation()
    narrow = load_model(toy_directory, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (toy, narrow):
            warn_if_coarse(model, pairs, ablation=ablation, metric=metric)
    sizes = [
        measure_coarseness(model, pairs, ablation=ablation, metric=metric)
        for model in (narrow, toy)
    ]
    assert 1e-3 > sizes[0] > 1e-9 > sizes[1]
