import numpy as np
import pytest
import torch

from circuitkit.interpretation.roles.copying import copying, end_writes
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
