"""Prompts and answers must be tokens of the model that reads them."""

import pytest
from transformers import GPT2LMHeadModel

from circuitkit.discovery import eap
from circuitkit.errors import AnswerError, PromptError
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.study.subject import Request, subject_of

VOCAB = 37
GOOD = PromptPair([1, 2, 3], [1, 2, 4], [5], [6])


@pytest.mark.parametrize("side", ["clean", "corrupted"])
@pytest.mark.parametrize("bad", [VOCAB, 2**62])
def test_a_prompt_of_other_tokens_is_refused_with_its_place(toy, metric, side, bad):
    prompts = {"clean": [1, 2], "corrupted": [1, 2], side: [1, bad]}
    pairs = tokenize_pairs([GOOD, PromptPair(**prompts, answers=[5], wrong_answers=[6])])
    message = rf"'{toy.name}', 0 to 36, got {bad} as token 1 of prompt 1"
    with pytest.raises(PromptError, match=message):
        toy.require_vocabulary(pairs)
    with pytest.raises(PromptError, match=message):
        eap.score_edges(toy, pairs, metric)


def test_padding_must_be_a_token_too(toy):
    short = PromptPair([1, 2], [1, 3], [5], [6])
    pairs = tokenize_pairs([short, GOOD], pad_token=VOCAB)
    with pytest.raises(PromptError, match="got 37 as the padding of prompt 0"):
        toy.run(pairs.clean_batch)


@pytest.mark.parametrize(("right", "wrong", "kind"), [(37, 8, "answers"), (7, 99, "wrong answers")])
def test_an_answer_without_a_logit_is_refused_before_any_run(toy, right, wrong, kind, monkeypatch):
    pairs = tokenize_pairs([GOOD, GOOD, PromptPair([1, 2, 3], [1, 2, 4], [5, right], [6, wrong])])
    monkeypatch.setattr(GPT2LMHeadModel, "forward", None)  # whatever runs, fails otherwise
    with pytest.raises(AnswerError, match=rf"^{kind}: .*0 to 36, got (37|99) for pair 2"):
        eap.score_edges(toy, pairs, LogitDifference())


def test_the_last_id_is_a_token(toy, metric):
    pairs = tokenize_pairs([PromptPair([36, 2], [1, 2], [36], [0])])
    toy.require_vocabulary(pairs)
    assert toy.run(pairs.clean_batch).isfinite().all()


def test_a_prompt_file_of_other_tokens_is_refused_when_it_is_read(toy, tmp_path):
    lines = ['{"clean": [1, 2], "corrupted": [1, 3], "answers": [4], "split": "discovery"}'] * 2
    lines.append('{"clean": [5, 2], "corrupted": [5, 3], "answers": [40], "split": "validation"}')
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(AnswerError, match="got 40 for pair 0"):
        subject_of(Request(prompts=file, model="toy"), loaded=toy)
