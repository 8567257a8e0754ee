"""Roles on planted models, where the weights say which is true."""

import numpy as np
import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.findings import ATTENDS, DOES
from circuitkit.interpretation.roles.claims import find_roles

LOOKS, IS = ATTENDS, DOES
# what was planted: what must be claimed of it. `backup` is what a difficulty adds
EXPECTED = {
    "planted-induction": {
        "previous": {(LOOKS, "previous-token"), (IS, "key-supplier")},
        "mover": {(LOOKS, "induction"), (IS, "mover")},
        "backup": {(IS, "backup")},
    },
    "planted-predecessor": {
        "previous": {(LOOKS, "previous-token"), (IS, "value-supplier")},
        "mover": {(LOOKS, "duplicate-token"), (IS, "writer")},
        "backup": {(IS, "backup")},
    },
    "planted-ioi": {
        "duplicate": {(LOOKS, "duplicate-token"), (IS, "key-supplier"), (IS, "value-supplier")},
        "inhibitor": {(LOOKS, "wrong-answer"), (IS, "inhibition")},
        "mover": {(LOOKS, "answer"), (IS, "mover")},
        "backup": {(IS, "backup")},
    },
    "planted-skip-trigram": {"mover": {(IS, "writer")}, "backup": {(IS, "backup")}},
    "planted-facts": {
        "memory": {(IS, "value-supplier")},
        "colour": {(IS, "writer")},
        "land": {(IS, "writer")},
        "backup": {(IS, "backup")},
    },
    "planted-comparison": {
        "first_tens": {(LOOKS, "positional"), (IS, "mlp-supplier")},
        "first_ones": {(LOOKS, "positional"), (IS, "mlp-supplier")},
        "second_tens": {(LOOKS, "positional"), (IS, "mlp-supplier")},
        # its place is the one before the place where the answer is read
        "second_ones": {(LOOKS, "previous-token"), (IS, "mlp-supplier")},
        "digits": {(IS, "mlp-supplier")},
        "decision": {(IS, "writer")},
        "backup": {(IS, "backup")},
    },
}
INSTANCES = [
    f"{base}:{difficulty}:{seed}"
    for base in EXPECTED
    for difficulty, seed in (
        ("plain", 1),
        ("decoys", 0),
        ("backup", 0),
        ("noise", 2),
    )
]


@pytest.mark.parametrize("name", INSTANCES)
def test_every_planted_role_is_named_and_no_decoy_is_given_one(interpreted, name):
    found = interpreted(name)
    base = name.partition(":")[0]
    planted_roles = found.instance.components
    for role, expected in EXPECTED[base].items():
        if role in planted_roles:
            assert expected <= found.of(role), role
    truly = {planted_roles[role] for role in EXPECTED[base] if role in planted_roles}
    for component in set(found.roles) - truly:
        claims = {role.name for role in found.roles[component] if role.claimed}
        assert claims == {"idle"}, component


def test_heads_that_cancel_are_told_apart_by_sign(interpreted):
    found = interpreted("planted-ioi:cancellation:0")
    # the answer stands in the prompt once, the wrong one twice: praise of both speaks against it.
    # Both rest on the last word and write what `bag` put there: neither copies what it looks at
    assert (IS, "opposer") in found.of("praise")
    assert (IS, "writer") in found.of("blame")
    assert not {(IS, "mover"), (IS, "copy-suppression")} & (found.of("praise") | found.of("blame"))
    assert (IS, "value-supplier") in found.of("bag")


def test_the_score_of_a_role_has_its_interval_and_beats_its_null(interpreted):
    roles = interpreted("planted-ioi:decoys:0").roles
    for role in (role for its in roles.values() for role in its):
        assert role.score.low <= role.score.value <= role.score.high
        assert 0 <= role.p <= 1
        if role.claimed and role.name != "idle":
            assert role.p <= 0.01
            assert abs(role.score.value) > role.null
            assert f"{role.score}" in role.evidence


def test_claimed_roles_come_first_what_a_component_is_for_before_where_it_looks(interpreted):
    for roles in interpreted("planted-induction:plain:1").roles.values():
        flags = [role.claimed for role in roles]
        assert flags == sorted(flags, reverse=True)
        kinds = [role.kind for role in roles if role.claimed]
        assert kinds == sorted(kinds, key=[DOES, ATTENDS].index)


def test_only_the_circuit_is_interpreted(interpreted, with_circuit):
    found = interpreted("planted-ioi:decoys:0")
    truth = found.instance.truth(found.case.model)
    roles = find_roles(with_circuit(found.case, truth))
    assert list(roles) == [name for name in truth.components if name not in ("input", "logits")]
    assert all(role.name != "idle" for its in roles.values() for role in its)


def test_a_head_that_looks_at_the_right_place_but_matters_to_nobody_is_idle(
    interpreted, with_circuit
):
    found = interpreted("planted-induction:plain:1")
    previous = found.instance.components["previous"]
    decoy = next(name for name in found.roles if name[:2] == "a0" and name != previous)
    edges = [f"input->{decoy}<v>", f"{decoy}->logits", "input->logits"]
    unread = Circuit.of_edges(found.case.model.graph, edges)
    roles = find_roles(with_circuit(found.case, unread))
    assert [role.name for role in roles[decoy] if role.claimed] == ["idle"]
    pairs = found.case.validation
    assert np.isfinite(roles[decoy][0].score.value)
    assert roles[decoy][0].score.n == len(pairs)
