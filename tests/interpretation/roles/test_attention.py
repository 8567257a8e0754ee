"""Attention to roles on patterns written by hand, where scores and nulls are known exactly."""

from itertools import combinations

import numpy as np
import pytest
import torch

from circuitkit.interpretation.roles.attention import (
    attention_to_roles,
    role_sources,
    shuffled_prompts,
    strongest_first,
)
from circuitkit.interpretation.roles.claims import _look, twice
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.prompts.test_chat import asking, chat_tokenizer

N = 20


def pairs_of(clean, answers=(1,), wrong=(), roles=None, n=N):
    corrupted = [token + 20 for token in clean]
    pair = PromptPair(
        clean=list(clean),
        corrupted=corrupted,
        answers=list(answers),
        wrong_answers=list(wrong),
        roles=roles or {},
    )
    return tokenize_pairs([pair] * n)


def sources_of(pairs, role, destination):
    return role_sources(pairs)[role][0, destination].nonzero()[:, 0].tolist()


def test_every_role_names_its_sources():
    pairs = pairs_of([9, 5, 7, 5, 8, 5], answers=[7], wrong=[8], roles={"SUBJ": (2, 4)})
    assert sources_of(pairs, "previous-token", 3) == [2]
    assert sources_of(pairs, "previous-token", 0) == []
    assert sources_of(pairs, "duplicate-token", 5) == [1, 3]
    assert sources_of(pairs, "induction", 5) == [2, 4]
    assert sources_of(pairs, "induction", 3) == [2]
    assert sources_of(pairs, "answer", 5) == [2]
    assert sources_of(pairs, "wrong-answer", 5) == [4]
    assert sources_of(pairs, "at-SUBJ", 5) == [2, 3]
    assert sources_of(pairs, "answer", 4) == []  # only from where the answer is read
    assert sources_of(pairs, "first-token", 4) == [0]
    assert sources_of(pairs, "self", 4) == [4]
    assert sources_of(pairs, "self", 0) == []


def test_padding_is_never_a_source():
    short = PromptPair(clean=[5, 7, 5], corrupted=[25, 27, 25], answers=[7])
    long = PromptPair(clean=[1, 2, 3, 4, 6], corrupted=[21, 22, 23, 24, 26], answers=[2])
    pairs = tokenize_pairs([short, long] * 3)
    assert not pairs.mask[0, :2].any()
    for mask in role_sources(pairs).values():
        assert not mask[0, :, :2].any()
        assert not mask[0, :2].any()
    first = role_sources(pairs)["first-token"]
    assert first[0, 4].nonzero()[:, 0].tolist() == [2]


def uniform(pairs):
    n_pos = pairs.clean.shape[1]
    lower = torch.ones(n_pos, n_pos, dtype=torch.float64).tril()
    return (lower / lower.sum(1, keepdim=True)).expand(len(pairs), -1, -1).clone()


def found(pairs, patterns, shuffled=None, destinations=None):
    every = torch.ones_like(pairs.mask) if destinations is None else destinations
    attention = attention_to_roles(
        patterns, patterns if shuffled is None else shuffled, pairs, every, role_sources(pairs)
    )
    return {each.role: each for each in attention}


def test_the_score_is_the_mean_over_destinations_that_have_a_source():
    pairs = pairs_of([9, 5, 7, 5, 8, 5])
    patterns = uniform(pairs)
    patterns[:, 3] = torch.tensor([0.1, 0.6, 0.2, 0.1, 0, 0], dtype=torch.float64)
    patterns[:, 5] = torch.tensor([0.1, 0.2, 0.1, 0.3, 0.2, 0.1], dtype=torch.float64)
    duplicate = found(pairs, patterns)["duplicate-token"]
    assert duplicate.score == pytest.approx((0.6 + 0.5) / 2)
    assert len(duplicate.per_pair) == N


def test_the_null_is_that_of_random_sources_of_the_same_number():
    pairs = pairs_of([9, 5, 7, 5, 8, 5])
    row = torch.tensor([0.05, 0.2, 0.1, 0.35, 0.25, 0.05], dtype=torch.float64)
    patterns = uniform(pairs)
    patterns[:, 5] = row
    only_last = torch.zeros_like(pairs.mask)
    only_last[:, 5] = True
    duplicate = found(pairs, patterns, destinations=only_last)["duplicate-token"]
    draws = np.array([sum(row[list(two)]) for two in combinations(range(6), 2)])
    assert duplicate.mean == pytest.approx(draws.mean())
    assert duplicate.deviation == pytest.approx(draws.std() / np.sqrt(N))


def test_uniform_attention_beats_nothing():
    pairs = pairs_of([9, 5, 7, 5, 8, 5], answers=[7], wrong=[8])
    assert all(each.p > 0.4 for each in found(pairs, uniform(pairs)).values())


def test_a_sharp_head_beats_chance():
    pairs = pairs_of([9, 5, 7, 6, 8, 4])
    patterns = torch.zeros(N, 6, 6, dtype=torch.float64)
    patterns[:, 0, 0] = 1
    for at in range(1, 6):
        patterns[:, at, at - 1] = 0.9
        patterns[:, at, at] = 0.1
    previous = found(pairs, patterns)["previous-token"]
    assert previous.score == pytest.approx(0.9)
    assert previous.p < 1e-6


def test_a_role_that_few_pairs_have_is_not_tried():
    rare = PromptPair(clean=[5, 7, 5], corrupted=[25, 27, 25], answers=[7])
    usual = PromptPair(clean=[1, 2, 3], corrupted=[21, 22, 23], answers=[9])
    pairs = tokenize_pairs([rare, usual, usual])
    assert "duplicate-token" not in found(pairs, uniform(pairs))
    assert "duplicate-token" in found(tokenize_pairs([rare, rare, usual]), uniform(pairs))


def test_positional_is_where_it_looks_at_when_the_tokens_are_shuffled():
    pairs = pairs_of([9, 5, 7, 6, 8, 4])
    patterns, away = uniform(pairs), uniform(pairs)
    patterns[:, 5] = torch.tensor([0.1, 0.1, 0.6, 0.1, 0.1, 0], dtype=torch.float64)
    away[:, 5] = torch.tensor([0.5, 0.3, 0.05, 0.05, 0.05, 0.05], dtype=torch.float64)
    last = torch.zeros_like(pairs.mask)
    last[:, 5] = True
    assert found(pairs, patterns, patterns, last)["positional"].score == pytest.approx(0.6)
    assert found(pairs, patterns, away, last)["positional"].score == pytest.approx(0.05)


def test_shuffled_prompts_keep_their_first_token_and_their_tokens():
    pairs = pairs_of([9, 5, 7, 6, 8, 4])
    shuffled = shuffled_prompts(pairs, 3)
    assert torch.equal(shuffled.clean[:, 0], pairs.clean[:, 0])
    assert torch.equal(shuffled.clean.sort(1).values, pairs.clean.sort(1).values)
    assert not torch.equal(shuffled.clean, pairs.clean)
    assert torch.equal(shuffled.clean, shuffled_prompts(pairs, 3).clean)
    assert not torch.equal(shuffled.clean, shuffled_prompts(pairs, 4).clean)


def test_of_two_that_are_as_strong_the_more_telling_one_comes_first():
    pairs = pairs_of([9, 5, 7, 6, 5], answers=[7])
    patterns = uniform(pairs)
    patterns[:, 4] = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    last = torch.zeros_like(pairs.mask)
    last[:, 4] = True
    every = attention_to_roles(patterns, patterns, pairs, last, role_sources(pairs))
    assert [each.role for each in strongest_first(every)][:2] == ["induction", "answer"]


def test_where_only_one_place_can_be_seen_nothing_is_chosen():
    """The first destination sees itself alone: attention of 1 to it says nothing of a head."""
    pairs = pairs_of([9, 5, 7, 6, 5], answers=[7])
    positional = found(pairs, uniform(pairs))["positional"]
    of_the_later = (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4
    assert positional.per_pair == pytest.approx(np.full(N, of_the_later))
    assert positional.mean == pytest.approx(of_the_later)


def look_of(pairs, patterns, shuffled):
    last = torch.zeros_like(pairs.mask)
    last[:, -1] = True
    attention = attention_to_roles(patterns, shuffled, pairs, last, role_sources(pairs))
    return {each.role: _look("a0.h0", "", each) for each in attention}


def at_place(pairs, place, share=0.9):
    patterns = torch.full((*pairs.clean.shape, pairs.clean.shape[1]), 0.0, dtype=torch.float64)
    patterns[:, :, 0] = 1 - share
    patterns[:, :, place] += share
    return patterns


def test_a_head_that_looks_at_one_place_does_not_look_at_the_answer_that_stands_there():
    pairs = pairs_of([9, 5, 7, 6, 8, 4], answers=[7])
    still = at_place(pairs, 2)
    positional = look_of(pairs, still, still)
    assert not positional["answer"].large
    assert positional["positional"].large
    assert "the same places with the tokens shuffled 0.9" in positional["answer"].evidence
    of_tokens = look_of(pairs, still, at_place(pairs, 4))
    assert of_tokens["answer"].large
    assert not of_tokens["positional"].large


def test_a_role_that_covers_half_of_what_is_in_reach_can_be_claimed():
    pairs = pairs_of([9, 5, 5, 5, 7, 8], answers=[5])
    assert look_of(pairs, at_place(pairs, 1), at_place(pairs, 4))["answer"].null == 0.5
    assert look_of(pairs, at_place(pairs, 1), at_place(pairs, 4))["answer"].large
    weak = look_of(pairs, at_place(pairs, 1, 0.6), at_place(pairs, 4, 0.6))
    assert not weak["answer"].large


def test_what_counts_as_twice_chance_stays_in_reach():
    assert twice(0.0) == 0
    assert twice(0.05) == pytest.approx(0.0975)
    assert twice(0.5) == 0.75
    assert all(null < twice(null) < 1 for null in (0.1, 0.5, 0.9, 0.99))


def test_what_a_pair_names_inside_what_the_user_says_is_a_source_of_its_own():
    pairs = tokenize_pairs([asking("Paris", "Turin")], chat_tokenizer("llama-3"))
    found = role_sources(pairs)
    user, city = (found[f"at-{name}"][0].any(0) for name in ("user", "city"))
    assert int(city.sum()) == 5
    assert int(user.sum()) == len("Where is ?")
    assert not (user & city).any()
