"""How often attribution and exact edges read a tensor back: on a GPU each time is a halt."""

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import eap, eap_ig
from circuitkit.interventions.ablation import ResampleAblation, ZeroAblation
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import LogitDifference
from circuitkit.zoo import load_model
from tests.conftest import save_toy
from tests.reads_back import ReadsBack


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("layers")
    return [load_model(save_toy(root / str(n), 0, n_layers=n), dtype=torch.float64) for n in (2, 4)]


WORK = {
    "eap": lambda model, pairs: eap.score_edges(model, pairs, LogitDifference()),
    "eap, zero": lambda model, pairs: eap.score_edges(
        model, pairs, LogitDifference(), ablation=ZeroAblation()
    ),
    "eap-ig": lambda model, pairs: eap_ig.score_edges(model, pairs, LogitDifference()),
    "one circuit": lambda model, pairs: evaluate_circuits(
        model,
        pairs,
        [Circuit.full(model.graph)],
        ablation=ResampleAblation(),
        metric=LogitDifference(),
    ),
    "exact edges": lambda model, pairs: measure_edges(
        model, pairs, model.graph.edge_names[:40], LogitDifference()
    ),
}


@pytest.mark.parametrize("name", WORK)
def test_reading_back_does_not_grow_with_the_layers(name, models, pairs):
    found = []
    for model in models:
        with ReadsBack() as reads:
            WORK[name](model, pairs)
        found.append(reads.counts.total())
    assert found[0] == found[1] > 0
