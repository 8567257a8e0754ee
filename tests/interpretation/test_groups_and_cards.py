import numpy as np
import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.cards import cards_of
from circuitkit.interpretation.findings import ATTENDS, DOES, Role
from circuitkit.interpretation.groups import group_edges, group_name, grouped, summary_of
from circuitkit.interpretation.roles.causes import losses
from circuitkit.statistics.bootstrap import Estimate


def role(name, kind, score=0.5, *, claimed=True):
    return Role(name, kind, Estimate(score, score, score, 9), "x", 0.02, 0.0, claimed, "")


LOOKS_BACK = role("previous-token", ATTENDS)


@pytest.mark.parametrize(
    ("component", "roles", "expected"),
    [
        ("a1.h0", [role("mover", DOES), role("induction", ATTENDS)], "induction movers"),
        ("a1.h0", [role("mover", DOES), role("answer", ATTENDS)], "movers"),
        ("a1.h0", [role("key-supplier", DOES), LOOKS_BACK], "previous-token heads"),
        ("a1.h0", [role("key-supplier", DOES)], "key-suppliers"),
        ("a1.h0", [role("inhibition", DOES), role("duplicate-token", ATTENDS)], "inhibition heads"),
        ("a1.h0", [role("mover", DOES), role("induction", ATTENDS, claimed=False)], "movers"),
        ("a1.h0", [role("at-S2", ATTENDS), role("previous-token", ATTENDS)], "unclear heads"),
        ("a1.h0", [role("idle", DOES)], "idle heads"),
        ("a1.h0", [], "unclear heads"),
        ("m1", [role("writer", DOES)], "writing MLPs"),
        ("m1", [role("value-supplier", DOES)], "feeding MLPs"),
        ("m1", [role("idle", DOES)], "idle MLPs"),
        ("m1", [], "unclear MLPs"),
    ],
)  # fmt: skip
def test_a_group_is_named_after_what_it_is_for_and_where_it_looks(component, roles, expected):
    assert group_name(component, roles) == expected


@pytest.mark.parametrize(
    ("component", "first", "second", "expected"),
    [
        ("a1.h0", ("mlp-supplier", 0.48), ("mover", 0.38), "induction movers"),
        ("a1.h0", ("mlp-supplier", 0.8), ("mover", 0.38), "induction heads"),
        ("a1.h0", ("query-supplier", 0.4), ("opposer", -0.3), "induction opposers"),
        ("m2", ("mlp-supplier", 0.28), ("writer", 0.22), "writing MLPs"),
        ("m2", ("value-supplier", 0.98), ("writer", 0.22), "feeding MLPs"),
        ("m2", ("value-supplier", -0.98), ("writer", 0.22), "feeding MLPs"),
    ],
)
def test_what_writes_into_the_logits_is_named_after_it_unless_it_does_twice_as_much_else(
    component, first, second, expected
):
    roles = [role(name, DOES, score) for name, score in (first, second)]
    roles += [role("induction", ATTENDS)]
    assert group_name(component, roles) == expected


def test_the_summary_says_both():
    roles = [role("mover", DOES), role("induction", ATTENDS, 0.92)]
    assert summary_of(roles) == (
        "Copies what it looks at into the logits; looks at what followed the same token before "
        "(92% of its attention)."
    )
    assert summary_of([]) == "Matters, but no role of it is clear."


def test_every_component_is_in_one_group(interpreted):
    found = interpreted("planted-ioi:decoys:0")
    groups = grouped(found.roles)
    members = [name for group in groups for name in group.components]
    assert sorted(members) == sorted(found.roles)
    assert {group.name for group in groups} == {
        "duplicate-token heads", "inhibition heads", "movers", "idle heads"
    }  # fmt: skip


def test_an_edge_between_groups_is_all_edges_from_one_to_the_other(interpreted, with_circuit):
    found = interpreted("planted-ioi:decoys:0")
    case = with_circuit(found.case, found.instance.truth(found.case.model))
    roles = {name: found.roles[name] for name in found.roles if name in case.circuit.components}
    edges = {(e.sender, e.receiver): e for e in group_edges(case, grouped(roles))}
    assert set(edges) == {
        ("input", "duplicate-token heads"),
        ("duplicate-token heads", "inhibition heads"),
        ("inhibition heads", "movers"),
        ("input", "movers"),
        ("movers", "logits"),
    }
    assert edges["input", "duplicate-token heads"].n_edges == 3
    names = found.instance.components
    full = Circuit.full(case.model.graph)
    cut = [f"{names['duplicate']}->{names['inhibitor']}<{read}>" for read in "kv"]
    whole, without = case.values([full, full.with_edges(full.edge_mask & ~full.graph.mask_of(cut))])
    effect = edges["duplicate-token heads", "inhibition heads"].effect
    assert effect.value == pytest.approx((whole - without).mean())


def test_a_card_holds_the_strongest_edges_and_what_goes_without_the_component(
    interpreted, with_circuit
):
    found = interpreted("planted-ioi:backup:0")
    cards = {card.component: card for card in cards_of(found.evidence, found.roles)}
    assert list(cards) == list(found.roles)
    names = found.instance.components
    card = cards[names["mover"]]
    assert card.backups == (names["backup"],)
    assert [loss.without for loss in card.losses] == [
        (names["mover"],), (names["mover"], names["backup"])
    ]  # fmt: skip
    [alone] = losses(found.case, [(names["mover"],)])
    assert card.losses[0].effect.value == pytest.approx(alone.mean())
    assert card.losses[1].effect.value > 3 * card.losses[0].effect.value
    sizes = [abs(link.effect.value) for link in card.feeds]
    assert sizes == sorted(sizes, reverse=True)
    query = f"{names['inhibitor']}->{names['mover']}<q>"
    [inhibited] = [link for link in card.reads if link.edge == query]
    assert "turns later heads away from the wrong answers" in inhibited.says.lower()
    effects = found.evidence.edge_effects[inhibited.edge]
    assert inhibited.effect.value == pytest.approx(float(np.mean(effects)))
    assert card.direct.value > 4
    assert all(token.logits > 0 for token in card.promotes)


def test_a_component_without_backups_has_one_loss(interpreted):
    found = interpreted("planted-ioi:decoys:0")
    for card in cards_of(found.evidence, found.roles):
        assert [loss.without for loss in card.losses] == [(card.component,)]
