"""A real trained Llama with grouped queries, where its files are present."""

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.interventions.ablation import ZeroAblation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from tests.conftest import SHARED

STORIES = SHARED / "models" / "stories260K" / "hf"
SHE, HE = 338, 346
NAMES = [("Lily", "Tim"), ("Sue", "Tom"), ("Mia", "Ben")]


@pytest.fixture(scope="module")
def stories():
    if not STORIES.exists():
        pytest.skip(f"{STORIES} is not here")
    return load_model(STORIES)


@pytest.fixture
def girls_and_boys(stories):
    frame = "Once upon a time, there was a little {} named {}."
    pairs = [
        PromptPair(frame.format("girl", girl), frame.format("boy", boy), [SHE], [HE])
        for girl, boy in NAMES
    ]
    return tokenize_pairs(pairs, stories.tokenizer, drop_misaligned=True)


def test_it_has_a_key_and_a_value_for_every_query_head(stories):
    assert stories.layers[0].attention.n_kv_heads == 4
    assert stories.graph.n_heads == 8
    assert stories.graph.n_layers == 5


def test_it_tells_girls_from_boys_and_one_head_carries_most_of_it(stories, girls_and_boys):
    """The contrast is about 10 logits; without head 4.2 about a third of it is left."""
    graph, metric = stories.graph, LogitDifference()
    without = graph.edge_mask.clone()
    without[graph.senders.index("a4.h2")] = False
    full = Circuit.full(graph)
    circuits = [full, full.with_edges(without)]
    ablation = ZeroAblation()
    girls = evaluate_circuits(stories, girls_and_boys, circuits, ablation=ablation, metric=metric)
    swapped = [PromptPair(p.corrupted, p.clean, [SHE], [HE]) for p in girls_and_boys.pairs]
    boys = evaluate_circuits(
        stories,
        tokenize_pairs(swapped, stories.tokenizer),
        circuits,
        ablation=ablation,
        metric=metric,
    )
    contrast = (girls - boys).mean(1)
    assert 8 < float(contrast[0]) < 13
    assert 0.15 < float(contrast[1] / contrast[0]) < 0.5
    assert torch.all(girls[0] > 0)
