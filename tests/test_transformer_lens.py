"""Agreement with TransformerLens 4.3's own edge attribution and faithfulness, where they apply.

They take one pair at a time, without grouped queries or norms behind attention.
"""

from collections import defaultdict

import pytest
import torch
from transformer_lens.tools.analysis.attribution_patching import (
    EdgeAttributionConfig,
    attribution_patch,
    faithfulness,
)

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import eap
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs

BY_EDGE = EdgeAttributionConfig(granularity="edge")


def name_of(node):
    """Return our name of a node of the peer, whose nodes also have a position."""
    if node.kind in ("embed", "logits"):
        return {"embed": "input"}.get(node.kind, node.kind)
    if node.kind in ("mlp_out", "mlp_in"):
        return f"m{node.layer}"
    head = f"a{node.layer}.h{node.head}"
    return head if node.kind == "attn_head_out" else f"{head}<{node.kind[0]}>"


def edge_of(edge):
    return f"{name_of(edge[0])}->{name_of(edge[1])}"


def difference(pair):
    return lambda logits: logits[0, -1, pair.answers[0]] - logits[0, -1, pair.wrong_answers[0]]


@pytest.fixture
def pair(tiny_pairs):
    return tiny_pairs.pairs[3]


@pytest.fixture
def peer(tiny_gpt2, pair):
    """Edge scores of the peer: gradients on the corrupted run, changes towards the clean one."""
    clean, corrupted = (torch.tensor([list(p)]) for p in (pair.clean, pair.corrupted))
    return attribution_patch(tiny_gpt2.bridge, clean, corrupted, difference(pair), BY_EDGE)


def test_edge_scores_are_the_peers_with_the_prompts_exchanged(tiny_gpt2, pair, peer, metric):
    swapped = PromptPair(pair.corrupted, pair.clean, pair.answers, pair.wrong_answers)
    scores = eap.score_edges(tiny_gpt2, tokenize_pairs([swapped]), metric)
    ours = dict(zip(scores.graph.edge_names, scores.by_edge().tolist(), strict=True))
    theirs = defaultdict(float)
    for edge, score in peer.edge_scores.items():
        theirs[edge_of(edge)] += score
    assert theirs.keys() == ours.keys()
    assert max(map(abs, theirs.values())) > 0.01
    for name, score in theirs.items():
        # what the peer's change adds, ours takes away
        assert ours[name] == pytest.approx(-score, abs=1e-8)


def test_a_circuit_recovers_what_the_peers_faithfulness_says(tiny_gpt2, pair, peer, metric):
    wanted = set(tiny_gpt2.graph.edge_names[::3])
    kept = [edge for edge in peer.edge_scores if edge_of(edge) in wanted]
    clean, corrupted = (torch.tensor([list(p)]) for p in (pair.clean, pair.corrupted))
    theirs = faithfulness(tiny_gpt2.bridge, clean, corrupted, difference(pair), kept)
    graph = tiny_gpt2.graph
    circuits = [Circuit.full(graph), Circuit.empty(graph), Circuit.of_edges(graph, sorted(wanted))]
    full, empty, value = evaluate_circuits(
        tiny_gpt2,
        tokenize_pairs([pair]),
        circuits,
        ablation=ResampleAblation(),
        metric=metric,
    )[:, 0].tolist()
    assert (value - empty) / (full - empty) == pytest.approx(theirs.recovered, abs=1e-8)
    assert abs(theirs.recovered - 1) > 0.01
