"""The audit puts every number of a card on the side on which it speaks."""

from dataclasses import replace

from circuitkit.interpretation.audit import audit, section
from circuitkit.interpretation.findings import ATTENDS, DOES, Card, HeadWeights, Link, Loss, Role
from circuitkit.interpretation.interpret import interpret
from circuitkit.statistics.bootstrap import Estimate


def around(value, spread=0.1):
    return Estimate(value, value - spread, value + spread, 20)


def role(name, kind, score, *, claimed=True, null=0.02):
    return Role(name, kind, around(score), "share", null, 0.001, claimed, f"evidence of {name}")


LOOKS = role("answer", ATTENDS, 0.7, null=0.1)
MOVES = role("mover", DOES, 0.6)


def card(*roles, direct=2.0, alone=3.0, **changes):
    made = Card(
        component="a1.h0",
        group="movers",
        summary="",
        roles=roles,
        reads=(),
        feeds=(Link("a1.h0->logits", around(2.5)),),
        direct=around(direct),
        promotes=(),
        demotes=(),
        losses=(Loss(("a1.h0",), around(alone)),),
        backups=(),
    )
    return replace(made, **changes)


class Found:
    gap = around(5.0)

    def __init__(self, *cards):
        self.cards = cards


def test_a_role_has_its_own_evidence_first_and_then_the_strongest():
    [moves, looks] = audit(Found(card(MOVES, LOOKS)))
    assert moves.speaks_for[0] == "evidence of mover (p = 0.001)"
    assert moves.speaks_for[1].startswith("ablating it alone costs 3 [")  # 0.6 of the gap
    assert moves.speaks_for[2].startswith("it looks at answer: 0.7 [")  # 0.6 over chance
    assert len(moves.speaks_for) == 3
    assert moves.against == "nothing that was measured"
    assert looks.role == "answer"


def test_what_contradicts_a_role_is_held_against_it():
    [wrong] = audit(Found(card(MOVES, direct=-2.0)))
    assert wrong.against.startswith("it adds -2 [")
    [silent] = audit(Found(card(MOVES, alone=0.05)))
    assert silent.against == "ablating it alone costs 0.05 [-0.05, 0.15], which is not shown"
    rival = role("key-supplier", DOES, 0.3, claimed=False)
    [tried] = audit(Found(card(MOVES, rival)))
    assert tried.against.startswith("tried and not shown, key-supplier: 0.3 [")


def test_an_opposer_is_supported_by_what_speaks_against_the_answer():
    opposes = role("opposer", DOES, -0.6)
    against = card(opposes, direct=-2.0, alone=-3.0, feeds=(Link("a1.h0->logits", around(-2.5)),))
    [found] = audit(Found(against))
    assert len(found.speaks_for) == 3
    assert found.against == "nothing that was measured"
    [found] = audit(Found(card(opposes)))
    assert len(found.speaks_for) == 1
    assert found.against.startswith("ablating it alone costs 3 [")


def test_a_backup_is_supported_by_doing_little_alone():
    [found] = audit(Found(card(role("backup", DOES, 0.6), alone=0.05)))
    assert found.speaks_for[1].startswith("ablating it alone costs 0.05")


def test_idle_parts_and_roles_that_are_not_claimed_are_not_audited():
    idle = role("idle", DOES, 0.0)
    assert audit(Found(card(idle, replace(MOVES, claimed=False)))) == ()
    assert section(Found(card(idle))).tables == ()


def test_every_claimed_role_of_an_interpretation_has_a_row(interpreted, with_circuit):
    made = interpreted("planted-ioi:decoys:0")
    truth = made.instance.truth(made.case.model)
    found = interpret(with_circuit(made.case, truth), "planted-ioi")
    claimed = [(c.component, r.name) for c in found.cards for r in c.roles if r.claimed]
    [table] = section(found).tables
    assert [row[:2] for row in table.rows] == claimed
    assert all(row[2] and row[3] for row in table.rows)


def test_a_p_value_has_no_digits_that_nobody_needs():
    tiny = replace(MOVES, p=5.06e-162)
    rival = replace(role("key-supplier", DOES, 0.3, claimed=False), p=3e-40)
    [found] = audit(Found(card(tiny, rival)))
    assert found.speaks_for[0] == "evidence of mover (p < 0.001)"
    assert found.against.endswith("(p < 0.001)")


def test_weights_that_copy_speak_against_a_suppressor():
    role_of = role("suppressor", DOES, 0.6)
    for copying, side in ((-0.9, "speaks_for"), (0.9, "against")):
        weights = HeadWeights(copying, 0.0, (), (), ())
        [found] = audit(Found(card(role_of, direct=0.1, alone=0.0, feeds=(), weights=weights)))
        assert f"its OV weights alone copy by {copying:.2g}" in str(getattr(found, side))
