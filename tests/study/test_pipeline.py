import json
from copy import copy
from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import circuit_from_json, circuit_to_json
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import Splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.study.pipeline import sample_prompts
from circuitkit.study.recipe import with_provenance
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Subject
from circuitkit.zoo import load_model
from tests.conftest import random_pairs
from tests.prompts.tokenizers import fast_bytes

METRIC = LogitDifference()


def test_dropped_discovery_pairs_are_counted_so_that_all_seen_pairs_can_be_drawn_again(toy):
    misaligned = PromptPair([1, 2, 3], [1, 2], [4], [5])
    pairs = tokenize_pairs([*random_pairs(5), misaligned], drop_misaligned=True)
    subject = Subject("t", "", LogitDifference(), toy, Splits(pairs, pairs, pairs))
    circuit = with_provenance(Circuit.empty(toy.graph), subject, Settings(seed=7), n_selected=9)
    assert len(pairs) == 5
    assert circuit.provenance.recipe.pairs.n == 6
    assert circuit.provenance.seed == 7


def test_a_model_of_two_tokens_shows_both(tmp_path):
    """Fewer tokens than a sample shows: a classifier of two classes is studied like any other."""
    config = GPT2Config(
        vocab_size=2, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    pairs = tokenize_pairs([PromptPair([0, 1, 1], [0, 0, 1], [0], [1])] * 3)
    samples = sample_prompts(model, pairs, LogitDifference())
    assert [len(sample.top) for sample in samples] == [2] * len(samples)
    assert sum(share for _, share in samples[0].top) == pytest.approx(1)


def test_a_circuit_says_by_which_rule_its_pairs_were_aligned(toy):
    spans = {"roles": {"A": (1, 3)}, "corrupted_roles": {"A": (1, 2)}}
    unequal = PromptPair([1, 2, 3, 4], [1, 5, 4], [6], [7], align="mean", **spans)
    for pairs, rule in (([*random_pairs(2), unequal], "mean"), (random_pairs(3), "")):
        found = tokenize_pairs(pairs)
        subject = Subject("t", "", LogitDifference(), toy, Splits(found, found, found))
        circuit = with_provenance(Circuit.empty(toy.graph), subject, Settings(), n_selected=9)
        data = json.loads(json.dumps(circuit_to_json(circuit)))
        assert data["circuitkit"]["recipe"]["pairs"].get("align") == (rule or None)
        assert circuit_from_json(data).provenance.recipe.pairs.align == rule


def test_sample_prompts_are_shown_as_the_chat_template_has_them(toy_directory):
    model = copy(load_model(toy_directory))
    tokenizer = fast_bytes()
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
    vars(model)["tokenizer"] = tokenizer
    chat = [{"role": "user", "content": "Hi"}]
    assert model.text_of(chat) == "user: Hi"
    ids = PromptPair(chat, chat, [1], [2])
    [sample] = sample_prompts(model, replace(tokenize_pairs(random_pairs(1)), pairs=(ids,)), METRIC)
    assert (sample.clean, sample.corrupted) == ("user: Hi", "user: Hi")
