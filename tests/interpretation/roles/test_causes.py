import numpy as np
import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.roles.causes import (
    backups,
    gap_of,
    joint_losses,
    least_effect,
    losses,
    share,
)
from circuitkit.interpretation.roles.claims import _jointly_needed


def test_a_loss_is_what_the_model_without_the_components_lacks(interpreted):
    case = interpreted("planted-ioi:backup:0").case
    full = Circuit.full(case.model.graph)
    mover = interpreted("planted-ioi:backup:0").instance.components["mover"]
    [found] = losses(case, [(mover,)])
    whole, without = case.values([full, full.without([mover])])
    np.testing.assert_allclose(found, whole - without)
    [everything] = losses(case, [case.model.graph.senders])
    np.testing.assert_allclose(everything, gap_of(case), atol=1e-4)
    assert share(case, everything).value == pytest.approx(1)
    assert least_effect(case) == pytest.approx(0.02 * gap_of(case).mean())


def test_the_backup_of_a_mover_is_found_and_nothing_else(interpreted):
    found = interpreted("planted-ioi:backup:0")
    names = found.instance.components
    taking_over = backups(found.case, found.evidence.edge_effects)
    assert names["backup"] in taking_over[names["mover"]]
    assert set(taking_over[names["mover"]]) == {names["backup"]}


def test_backups_are_those_of_the_effects_that_are_given(interpreted):
    found = interpreted("planted-ioi:backup:0")
    first = backups(found.case, found.evidence.edge_effects)
    assert first
    assert backups(found.case, {}) == {}
    nothing = {edge: 0 * effects for edge, effects in found.evidence.edge_effects.items()}
    assert backups(found.case, nothing) == {}
    assert backups(found.case, found.evidence.edge_effects) is first


def test_without_a_backup_none_is_found(interpreted):
    found = interpreted("planted-ioi:decoys:0")
    assert backups(found.case, found.evidence.edge_effects) == {}


def test_a_metric_of_which_less_is_better_is_turned_round(interpreted, with_circuit):
    from dataclasses import replace

    from circuitkit.metrics import KLDivergence

    case = interpreted("planted-ioi:decoys:0").case
    less = replace(case, metric=KLDivergence())
    mover = interpreted("planted-ioi:decoys:0").instance.components["mover"]
    [found] = losses(less, [(mover,)])
    assert found.mean() > 0
    assert gap_of(less).mean() > 0
    assert share(less, found).value > 0


def test_what_another_stands_in_for_is_needed_jointly_and_a_decoy_is_not(interpreted, with_circuit):
    found = interpreted("planted-ioi:backup:0")
    names = found.instance.components
    mover, backup = names["mover"], names["backup"]
    truth = found.instance.truth(found.case.model)
    case = with_circuit(found.case, truth.without([backup]))
    [alone] = losses(case, [(mover,)])
    [jointly] = joint_losses(case, [mover])
    assert jointly.mean() > 0.5 * gap_of(case).mean() > alone.mean()
    assert joint_losses(found.case, [mover, backup]).mean(1).min() > 0.5 * gap_of(case).mean()
    decoys = sorted(set(found.roles) - set(names.values()))[:3]
    needed = _jointly_needed(case, [mover, *decoys])
    assert set(needed) == {mover}
    assert needed[mover][1] < 0.01
    assert _jointly_needed(case, []) == {}
