"""Subspaces that a rotation finds: planted truth, controls, and what is refused."""

import pytest
import torch

from circuitkit.abstraction.hypothesis import algorithm_of
from circuitkit.abstraction.judge_hypothesis import Plan, judge_hypothesis
from circuitkit.abstraction.rotation import random_subspace
from circuitkit.abstraction.shipped.planted import InductionByWord, PlantedFactsByParts
from circuitkit.errors import HypothesisError


def judged(planted_splits, places, **plan):
    model, splits = planted_splits("planted-facts")
    return judge_hypothesis(
        model, PlantedFactsByParts(), splits, alignment=places, plan=Plan(**plan)
    )


def test_a_small_subspace_of_the_stream_is_found_in_which_the_subject_is_and_no_random_one_is(
    planted_splits,
):
    places = {"subject": "post 0 at subject", "relation": "resid 0 at END"}
    found = judged(planted_splits, places, subspace=12, steps=25)
    for each in found.variables:
        assert each.place.endswith(", 12 dimensions")
        controls = {control.name: control.weaker for control in each.controls}
        assert list(controls) == ["shuffled", "copied", "random", "untrained"]
        assert each.accuracy.weaker > 0.9
        assert controls["random"] < 0.7
        assert controls["untrained"] < 0.7


def test_a_subspace_is_refused_of_several_places_or_as_large_as_its_place(planted_splits):
    model, _ = planted_splits("planted-facts")
    own = dict(PlantedFactsByParts().aligned(model.name))
    with pytest.raises(HypothesisError, match="a variable must be at one place, got 2: a1"):
        judged(planted_splits, own | {"subject": "post 0 at subject"}, subspace=1, steps=1)
    with pytest.raises(HypothesisError, match=r"its size must be from 1 to \d+ at m0 at subject"):
        judged(planted_splits, own, subspace=500, steps=1)


def test_the_place_of_a_subspace_is_not_searched(planted_splits):
    model, splits = planted_splits("planted-induction")
    assert algorithm_of(InductionByWord()).variables == ("before", "sought")
    with pytest.raises(HypothesisError, match="the place of a subspace must be given, got a sear"):
        judge_hypothesis(
            model,
            InductionByWord(),
            splits,
            alignment={"before": "a0.h0 at all"},
            plan=Plan(search=True, subspace=2),
        )


def test_random_directions_are_orthonormal_and_of_their_seed():
    one = random_subspace(9, 4, 0)
    torch.testing.assert_close(one.T @ one, torch.eye(4, dtype=torch.float64))
    assert torch.equal(one, random_subspace(9, 4, 0))
    assert not torch.equal(one, random_subspace(9, 4, 1))
