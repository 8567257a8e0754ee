import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from circuitkit.circuits.circuit import Circuit
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
