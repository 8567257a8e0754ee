import numpy as np
import pytest
import torch

from circuitkit.interpretation.roles.copying import (
    copying,
    end_writes,
    median_rank,
    plausible_answers,
    raised,
)
from circuitkit.interpretation.roles.functions import (
    COPIES,
    MOVER,
    OPPOSER,
    SUPPRESSION,
    SUPPRESSOR,
    WRITER,
)
from circuitkit.interpretation.roles.functions import into_logits as named
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs


def test_copying_is_what_is_raised_where_it_looks_over_the_rest_of_the_prompt():
    pair = PromptPair(clean=[3, 1, 2], corrupted=[4, 1, 2], answers=[1])
    short = PromptPair(clean=[1, 2], corrupted=[4, 2], answers=[1])
    pairs = tokenize_pairs([pair, short])
    logits = torch.tensor([[0.0, 6.0, 0.0, 3.0, 9.0]] * 2, dtype=torch.float64)
    attention = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
    found = copying(logits, attention, pairs)
    # looks at 3 and 1, which it raises by 3 and 6; the prompt's mean is (3 + 6 + 0) / 3
    np.testing.assert_allclose(found, [0.25 * 3 + 0.75 * 6 - 3, 0.5 * 6 - 3])


def test_a_head_that_raises_all_tokens_alike_copies_nothing():
    pairs = tokenize_pairs([PromptPair(clean=[3, 1, 2], corrupted=[4, 1, 2], answers=[1])])
    attention = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64)
    found = copying(torch.full((1, 5), 2.0, dtype=torch.float64), attention, pairs)
    assert found[0] == pytest.approx(0)


def test_writes_at_the_end_sum_to_what_the_logits_read(interpreted):
    case = interpreted("planted-facts:decoys:0").case
    ends = end_writes(case.model, case.validation)
    torch.testing.assert_close(sum(ends.writes.values()), ends.final)
    in_parts = end_writes(case.model, case.validation, memory=10_000_000)
    for name, write in ends.writes.items():
        torch.testing.assert_close(in_parts.writes[name], write)


def test_direct_logits_are_what_goes_when_the_write_is_taken_out(interpreted):
    found = interpreted("planted-facts:decoys:0")
    ends = found.evidence.ends
    colour = found.instance.components["colour"]
    with torch.no_grad():
        without = found.case.model.unembed(ends.final - ends.writes[colour])
        expected = found.case.model.unembed(ends.final) - without
    torch.testing.assert_close(ends.direct_logits(colour), expected.double())
    answers = found.case.validation.labels.answers[:, 0]
    assert float(expected.gather(1, answers[:, None]).max()) > 5  # it writes 8 logits


def pairs_of_twelve(n=48, seed=0):
    """Prompts of five different tokens of a language of twelve, in which any may be the answer."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(12, generator=generator)[:6].tolist() for _ in range(n)]
    return tokenize_pairs([PromptPair(r[:5], [*r[1:5], r[5]], [r[0]], [r[1]]) for r in rows])


def looking_at(pairs, places):
    attention = torch.full(pairs.clean.shape, 0.05, dtype=torch.float64)
    attention[torch.arange(len(pairs)), places] = 0.8
    return attention


PAIRS = pairs_of_twelve()
PLACES = torch.arange(len(PAIRS)) % 5
LOOKED = PAIRS.clean[torch.arange(len(PAIRS)), PLACES]
TOKENS = torch.arange(12)


def copied(strength=5.0):
    return torch.nn.functional.one_hot(LOOKED, 12).double() * strength


def noise(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(PAIRS), 12, generator=generator, dtype=torch.float64)


def wave():
    """A smooth wave over the vocabulary, its crest near what is looked at and never on it."""
    off = torch.tensor([-2, 2, 3, -1])[torch.arange(len(PAIRS)) % 4]
    turn = (TOKENS[None] - (LOOKED + off)[:, None]) * 2 * torch.pi / 12
    return 3 * turn.cos()


def asked(logits, others=(), effect=1.0):
    attention = looking_at(PAIRS, PLACES)
    return named(logits, attention, PAIRS, list(others) or [noise(s) for s in range(2, 6)], effect)


def test_the_rank_is_that_of_the_plausible_answer_that_is_looked_at_most():
    pairs = tokenize_pairs(
        [PromptPair([1, 2, 9], [1, 3, 9], [1], [2]), PromptPair([3, 1, 9], [3, 2, 9], [3], [4])]
    )
    assert plausible_answers(pairs).tolist() == [1, 2, 3, 4]
    logits = torch.zeros(2, 10, dtype=torch.float64)
    logits[0, [1, 2, 3, 4, 9]] = torch.tensor([5.0, 4.0, 6.0, 4.0, 9.0], dtype=torch.float64)
    logits[1, [1, 2, 3, 4]] = torch.tensor([0.0, 2.0, 1.0, 1.0], dtype=torch.float64)
    # token 9 is looked at most, and is no answer; then 1 in the first, 3 in the second
    attention = torch.tensor([[0.3, 0.2, 0.5], [0.4, 0.1, 0.5]], dtype=torch.float64)
    found = raised(logits, attention, pairs)
    np.testing.assert_allclose(found.own, [2 / 3, (1 + 1 / 2) / 3])
    assert found.looked == pytest.approx(0.5)
    assert found.n_answers == 4


def test_nothing_is_ranked_where_prompts_hold_no_answer_or_there_is_but_one():
    attention = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    logits = torch.zeros(2, 10, dtype=torch.float64)
    absent = tokenize_pairs([PromptPair([1, 2, 9], [1, 3, 9], [7], [8])] * 2)
    assert raised(logits, attention, absent) is None
    alone = tokenize_pairs([PromptPair([1, 2, 9], [1, 3, 9], [1])] * 2)
    assert raised(logits, attention, alone) is None


def test_a_true_mover_is_a_mover_and_one_that_speaks_against_the_answer_a_suppressor():
    assert asked(copied() + noise())[0] == MOVER
    assert asked(-copied() + noise(), effect=-1.0)[0] == SUPPRESSION


def test_a_head_that_lowers_what_it_looks_at_and_helps_the_answer_is_a_suppressor():
    assert asked(-copied() + noise(), effect=1.0)[0] == SUPPRESSOR
    assert asked(noise(), effect=1.0)[0] == WRITER


def test_a_smooth_wave_over_the_tokens_is_no_mover():
    name, why = asked(wave())
    assert name == WRITER
    found = raised(wave(), looking_at(PAIRS, PLACES), PAIRS)
    top = found.own == 1
    assert 0.5 < found.own.mean() < 0.75  # above chance, as the one that was claimed
    assert top.mean() < 0.1
    # what it was claimed by: it adds more to what it looks at than to the prompt's other tokens
    scores = copying(wave(), looking_at(PAIRS, PLACES), PAIRS)
    assert scores.mean() / wave().abs().max(1).values.mean() > COPIES
    assert "plausible answers" in why


def test_a_write_that_is_the_same_on_every_prompt_is_no_mover():
    """It raises what is looked at because that is all that is ever raised."""
    few = pairs_of_twelve(seed=3)
    bias = torch.zeros(len(few), 12, dtype=torch.float64)
    bias[:] = 0.1 * noise()[0]
    bias[:, 4] = 9.0
    at = (few.clean == 4).long().argmax(1)
    rows = (few.clean == 4).any(1).nonzero()[:, 0].tolist()
    chosen, attention = few.select(rows), looking_at(few, at)[rows]
    assert len(rows) >= 16
    found = raised(bias[rows], attention, chosen)
    assert found.own.mean() == 1
    assert found.elsewhere.mean() == 1
    assert named(bias[rows], attention, chosen, [noise()[rows]], 1.0)[0] == WRITER


def test_what_every_head_raises_is_not_the_work_of_one():
    assert asked(copied() + noise(), [copied() + noise(s) for s in range(2, 6)])[0] == WRITER
    assert median_rank([copied()] * 3, looking_at(PAIRS, PLACES), PAIRS) == 1


def test_a_head_that_rests_elsewhere_copies_nothing_whatever_it_writes():
    pairs = tokenize_pairs(
        [
            PromptPair([*row, 20], [*row[1:], 19, 20], [row[0]], [row[1]])
            for row in PAIRS.clean.tolist()
        ]
    )
    resting = torch.full(pairs.clean.shape, 0.01, dtype=torch.float64)
    resting[:, -1] = 0.95
    lowered = torch.zeros(len(pairs), 21, dtype=torch.float64)
    lowered.scatter_(1, pairs.clean[:, :5], -4.0)
    name, why = named(lowered, resting, pairs, [lowered], 1.0)
    assert name == WRITER
    assert "it does not look at plausible answers" in why
    assert named(-lowered, resting, pairs, [lowered], -1.0)[0] == OPPOSER
