"""Runs that begin behind the tokens which clean and corrupted prompts share."""

from dataclasses import replace

import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import eap
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import LogitDifference
from circuitkit.model import runs
from circuitkit.model.runs import shared_positions
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs

METRIC = LogitDifference()


def changed_at(position, n=4):
    """Pairs of nine tokens that differ there alone."""
    pairs = []
    for pair in random_pairs(n, lengths=(9,)):
        corrupted = list(pair.clean)
        corrupted[position] = (corrupted[position] + 5) % 37
        pairs.append(replace(pair, corrupted=corrupted))
    return tokenize_pairs(pairs)


def test_the_shared_positions_are_those_in_front_of_the_first_difference(toy):
    assert shared_positions(toy, changed_at(6)) == 6
    assert shared_positions(toy, changed_at(8)) == 8
    assert shared_positions(toy, changed_at(0)) == 0


def test_runs_that_begin_behind_shared_positions_give_what_whole_runs_give(toy, monkeypatch):
    pairs = changed_at(6)
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(toy.graph.edge_mask.shape, generator=generator) < 0.5
    circuit = Circuit.full(toy.graph).with_edges(mask & toy.graph.edge_mask)

    def results():
        [values] = evaluate_circuits(
            toy, pairs, [circuit], ablation=ResampleAblation(), metric=METRIC
        )
        return values, eap.score_edges(toy, pairs, METRIC).values

    begun_late = results()
    monkeypatch.setattr(runs, "WORTHWHILE", 2.0)  # never
    assert shared_positions(toy, pairs) == 0
    for late, whole in zip(begun_late, results(), strict=True):
        assert float(whole.abs().max()) > 0.01
        torch.testing.assert_close(late, whole, rtol=1e-10, atol=1e-11)
