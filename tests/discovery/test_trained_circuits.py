"""Methods on small published models whose important heads are known from ablation figures.

Skipped where their files are absent. A head's score is the best of its out-edges.
"""

import pytest

from circuitkit.discovery.methods import method_named
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference, LogProbability
from tests.trained import (
    broken_palindromes,
    girls_and_boys,
    induction_model,
    palindrome_model,
    repeated_sequences,
    story_model,
)

GOOD = ("eap-ig", "exact", "relp", "exact-nodes")


def head_scores(method, model, pairs, metric):
    scores = method_named(method).score_edges(model, pairs, metric, Work())
    best = scores.values.abs().amax(1).tolist()
    return dict(zip(model.graph.senders, best, strict=True))


@pytest.fixture(scope="module")
def palindrome_pairs():
    return broken_palindromes()


@pytest.mark.parametrize("method", [*GOOD, "eap", "atp", "acdc", "exact-joint"])
def test_two_heads_carry_the_palindromes(method, palindrome_pairs):
    model = palindrome_model()
    found = head_scores(method, model, palindrome_pairs, LogitDifference())
    carriers, others = (found["a0.h0"], found["a1.h0"]), (found["a0.h1"], found["a1.h1"])
    assert min(carriers) > 1.3 * max(others)  # the second of layer 1 matters more when resampled


@pytest.fixture(scope="module")
def repeats():
    return repeated_sequences()


@pytest.mark.parametrize("method", [*GOOD, "eap", "eap-ig-activations"])
def test_the_previous_token_head_and_three_induction_heads_lead_the_induction_model(
    method, repeats
):
    model = induction_model()
    found = head_scores(method, model, repeats, LogProbability())
    layer_0 = sorted((found[f"a0.h{h}"], h) for h in range(4))
    layer_1 = sorted((found[f"a1.h{h}"], h) for h in range(4))
    assert layer_0[-1][1] == 2
    assert layer_1[0][1] == 0
    assert layer_1[0][0] < 0.2 * layer_1[1][0]


@pytest.fixture(scope="module")
def stories():
    model = story_model()
    return model, girls_and_boys(model)


@pytest.mark.parametrize("method", [*GOOD, "eap"])
def test_head_4_2_leads_the_pronoun_of_the_story_model(method, stories):
    model, pairs = stories
    found = head_scores(method, model, pairs, LogitDifference())
    heads = {name: score for name, score in found.items() if name.startswith("a")}
    assert max(heads, key=heads.get) == "a4.h2"
    early = [found[f"m{layer}"] for layer in (1, 2)]
    assert min(early) > sorted(heads.values())[len(heads) // 2]  # above the median head
