"""Roles in small published models, against what their ablation figures say.

Skipped where their files are absent.
"""

from dataclasses import replace

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.selection import prune_dead_ends, select_top
from circuitkit.discovery.methods import method_named
from circuitkit.interpretation.roles.causes import losses, share
from circuitkit.interpretation.roles.claims import find_roles
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference, LogProbability
from circuitkit.validation.case import Case
from tests.trained import (
    broken_palindromes,
    girls_and_boys,
    induction_model,
    palindrome_model,
    repeated_sequences,
    story_model,
)


def case_of(model, pairs, metric, ablation):
    return Case(
        model=model,
        circuit=Circuit.full(model.graph),
        metric=metric,
        validation=pairs,
        discovery=pairs,
        ablations={ablation.name: ablation},
        ablation=ablation.name,
    )


def claims(roles, component):
    return {role.name for role in roles[component] if role.claimed}


def test_the_induction_model_has_a_previous_token_head_three_induction_heads_and_an_idle_one():
    pairs = repeated_sequences()
    case = case_of(induction_model(), pairs, LogProbability(), ResampleAblation())
    roles = find_roles(case)
    assert {"previous-token", "key-supplier"} <= claims(roles, "a0.h2")
    for head in ("a1.h1", "a1.h2", "a1.h3"):
        assert {"induction", "mover"} <= claims(roles, head)
    assert claims(roles, "a1.h0") == {"idle"}
    for head in ("a0.h0", "a0.h1", "a0.h3"):
        assert "previous-token" not in claims(roles, head)


def test_two_heads_carry_the_palindromes_and_the_others_do_not():
    pairs = broken_palindromes()
    case = case_of(palindrome_model(), pairs, LogitDifference(), MeanAblation(pairs))
    heads = ("a0.h0", "a1.h0", "a0.h1", "a1.h1")
    shares = [share(case, effects) for effects in losses(case, [(head,) for head in heads])]
    assert all(carrier.low > 0.9 for carrier in shares[:2])
    assert all(other.value < 0.3 and other.high < 1 / 3 for other in shares[2:])


def test_head_4_2_and_the_early_mlps_lead_the_pronoun_of_the_story_model():
    model = story_model()
    pairs, metric = girls_and_boys(model), LogitDifference()
    case = case_of(model, pairs, metric, ResampleAblation())
    names = model.graph.senders[1:]
    effects = losses(case, [(name,) for name in names]).mean(1)
    order = [name for _, name in sorted(zip(-effects, names, strict=True))]
    assert set(order[:4]) == {"a4.h2", "m1", "m2", "m3"}
    scores = method_named("eap-ig").score_edges(model, pairs, metric, Work())
    roles = find_roles(replace(case, circuit=prune_dead_ends(select_top(scores, 120))))
    assert "writer" in claims(roles, "a4.h2")
    for early in ("m1", "m2", "m3"):
        assert claims(roles, early) & {"mlp-supplier", "value-supplier"}


def test_the_reflection_head_is_not_called_idle():
    pairs = broken_palindromes()
    case = case_of(palindrome_model(), pairs, LogitDifference(), ResampleAblation())
    assert "idle" not in claims(find_roles(case), "a0.h0")
