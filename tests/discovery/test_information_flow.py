from pathlib import Path

import numpy as np
import pytest
import torch

from circuitkit.circuits.graph import READS
from circuitkit.discovery.information_flow import InformationFlow
from circuitkit.errors import MemoryBudgetError
from circuitkit.interventions.work import Work
from circuitkit.metrics import Accuracy, LogitDifference
from circuitkit.model import hook_points
from circuitkit.model.recording import record, sender_outputs
from circuitkit.prompts.columns import by_position, by_role
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from tests.conftest import fingerprint, random_pairs
from tests.families import VARIED, make_family

METRIC = LogitDifference()
DATA = Path(__file__).parents[1] / "data"


def flow(model, pairs, **work):
    return InformationFlow().score_edges(model, pairs, METRIC, Work(**work)).values


def literal_scores(model, pairs, left_out=None):
    """The formula, one edge at a time; `left_out` is subtracted from what `input` writes."""
    graph = model.graph
    read = {}

    def keep(name, x):
        read[name] = x.detach()

    hooks = {hook_points.resid_post(graph.n_layers - 1): lambda x: keep("logits", x)}
    for layer in range(graph.n_layers):
        hooks[hook_points.resid_pre(layer)] = lambda x, layer=layer: keep(f"a{layer}", x)
        hooks[hook_points.mlp_in(layer)] = lambda x, layer=layer: keep(f"m{layer}", x)
    with torch.no_grad():
        model.run(pairs.clean_batch, hooks)
    written = sender_outputs(model, record(model, pairs.clean_batch)[0])
    written = written.unflatten(1, tuple(pairs.clean.shape))
    if left_out is not None:
        written[0] -= left_out
    scores = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    for column, receiver in enumerate(graph.receivers):
        x = read[receiver.split(".")[0]]
        close = {
            sender: (x.abs().sum(-1) - (x - written[sender]).abs().sum(-1)).clamp(min=0)
            for sender in graph.edge_mask[:, column].nonzero()[:, 0].tolist()
        }
        whole = sum(close.values())
        for sender, proximity in close.items():
            share = torch.where(whole > 0, proximity / whole, 0) * pairs.mask
            scores[sender, column] = (share.sum(1) / pairs.mask.sum(1)).mean()
    return scores


@pytest.mark.parametrize("name", ["toy", "gpt-neox", "gemma-2", "native-attention-only"])
def test_scores_equal_the_literal_formula(name, toy, pairs, tmp_path):
    model = toy if name == "toy" else make_family(name, tmp_path)
    torch.testing.assert_close(flow(model, pairs), literal_scores(model, pairs), atol=1e-12, rtol=0)


def recorded(name):
    tokens = np.load(DATA / name / "model" / "tokens.npz")
    rows = zip(tokens["clean"], tokens["corrupted"], tokens["answers"], strict=True)
    pairs = [PromptPair(a.tolist(), b.tolist(), [int(r)], [int(w)]) for a, b, (r, w) in rows]
    with np.load(DATA / name / "eapig_f64.npz") as arrays:
        expected = torch.from_numpy(arrays["edge/information-flow-routes"])
    return load_model(DATA / name / "model", dtype="float64"), tokenize_pairs(pairs), expected


def test_scores_are_those_of_eap_ig_where_nothing_is_added_to_the_tokens():
    model, pairs, expected = recorded("tiny-llama")
    # rotary tables are Hugging Face's, in float32
    torch.testing.assert_close(flow(model, pairs), expected, atol=1e-8, rtol=0)


def test_scores_of_eap_ig_are_ours_but_for_the_position_embedding():
    """In EAP-IG it is in what is read, and belongs to no sender."""
    model, pairs, expected = recorded("tiny-gpt2")
    positions = model.bridge.original_model.transformer.wpe.weight.detach()
    theirs = literal_scores(model, pairs, left_out=positions[: pairs.clean.shape[1]])
    torch.testing.assert_close(theirs, expected, atol=1e-12, rtol=0)
    ours = flow(model, pairs)
    torch.testing.assert_close(ours, literal_scores(model, pairs), atol=1e-12, rtol=0)
    assert (ours - expected).abs().max() > 1e-3


@pytest.mark.parametrize("name", VARIED)
def test_every_family_is_scored_in_shares(name, tmp_path):
    pairs = tokenize_pairs([without_zeros(pair) for pair in random_pairs()])
    model = make_family(name, tmp_path)
    before, graph = fingerprint(model), model.graph
    scores = flow(model, pairs)
    assert fingerprint(model) == before
    assert scores[~graph.edge_mask].abs().max() == 0
    assert scores.min() >= 0
    into = scores.sum(0)
    assert into[0] == pytest.approx(1)  # all that it reads is the input
    # elsewhere less where at some place no sender is close at all
    assert 0.9 < into.min() <= into.max() < 1 + 1e-12
    for layer in range(graph.n_layers):
        first = graph.first_receiver(layer)
        columns = scores[:, first : first + len(READS) * graph.n_heads]
        assert torch.equal(columns, columns[:, :1].expand_as(columns))


def without_zeros(pair):
    """Return the pair without token 0, whose embedding some families set to zero."""
    return PromptPair(
        [token or 1 for token in pair.clean],
        [token or 1 for token in pair.corrupted],
        pair.answers,
        pair.wrong_answers,
    )


def test_columns_that_hold_every_token_add_up(toy, pairs):
    whole = flow(toy, pairs)
    for columns in (by_position(pairs), by_role(pairs)):
        parts = InformationFlow().score_columns(toy, pairs, METRIC, columns, Work())
        torch.testing.assert_close(sum(part.values for part in parts), whole)
        assert all(part.values.min() >= 0 for part in parts)


def test_scores_do_not_depend_on_batches_padding_metric_or_corrupted_prompts(toy, pairs):
    raw = random_pairs()
    whole = flow(toy, pairs)
    torch.testing.assert_close(flow(toy, pairs, batch_size=1), whole)
    torch.testing.assert_close(flow(toy, tokenize_pairs(raw, padding_side="right")), whole)
    same = tokenize_pairs([PromptPair(p.clean, p.clean, p.answers) for p in raw])
    scores = InformationFlow().score_edges(toy, same, Accuracy(), Work()).values
    torch.testing.assert_close(scores, whole)


def test_a_place_with_nothing_in_it_has_no_shares(tmp_path):
    """Token 0 is the padding token there: its embedding is zero, and so is all that reads it."""
    model = make_family("llama", tmp_path)
    pairs = tokenize_pairs([PromptPair([0, 1, 2, 3], [0, 2, 2, 3], [4], [5])])
    into = flow(model, pairs).sum(0)
    assert into.isfinite().all()
    assert into[0] == pytest.approx(3 / 4)


def test_too_little_memory_is_refused(toy, pairs):
    with pytest.raises(MemoryBudgetError, match="Use --memory"):
        flow(toy, pairs, memory=1000)
