"""One walk for circuits of kept edges and of weighted ones."""

import numpy as np
import pytest
import torch

from circuitkit.gradients.soft_circuit import SoftCircuits
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.kept_plan import plan_of, receivers_alike, stage_of
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.run_circuit import CircuitRunner
from circuitkit.metrics import LogitDifference
from tests.families import make_family
from tests.reads_back import ReadsBack

# grouped queries; parallel blocks; norms behind; no MLPs
SOME = ("llama", "gpt-j", "gemma-2", "native-attention-only")


def some_masks(graph, n=5):
    generator = torch.Generator().manual_seed(n)
    drawn = torch.rand(n, *graph.edge_mask.shape, generator=generator)
    masks = (drawn < 0.5) & graph.edge_mask
    masks[2, :, : graph.mlp_receiver(1)] = False  # one that reads nothing live for a while
    masks[3] = masks[2]  # and one that parts from it late
    masks[3, 0, -1] ^= True
    return masks


@pytest.mark.parametrize("family", SOME)
@pytest.mark.parametrize("kind", ["resample", "zero", "mean"])
def test_a_pass_reads_nothing_back_from_the_device(family, kind, pairs, tmp_path):
    model = make_family(family, tmp_path)
    made = {"resample": ResampleAblation(), "zero": ZeroAblation(), "mean": MeanAblation(pairs)}
    runner, masks = CircuitRunner(model, pairs, made[kind]), some_masks(model.graph)
    expected = runner.logits(masks)
    with ReadsBack() as reads:
        found = runner.logits(masks)
    assert not reads.counts
    assert torch.equal(found, expected)


def test_nor_does_one_with_weights(toy, pairs):
    circuits = SoftCircuits.of(PairRuns(toy, pairs, ResampleAblation(), LogitDifference()))
    weights = some_masks(toy.graph).double()
    with ReadsBack() as reads:
        circuits.logits(weights)
    assert not reads.counts


def test_what_reads_a_value_back_is_noticed(toy):
    with ReadsBack() as reads:
        bool(torch.ones(3).any())
    assert reads.counts == {"_local_scalar_dense": 1}


def test_receivers_that_keep_the_same_in_every_circuit_are_one_group():
    kept = np.zeros((2, 5, 3), dtype=bool)  # circuit, receiver, sender
    kept[0, 1, 2] = kept[0, 4, 2] = kept[0, 3, 2] = True
    kept[1, 4, 0] = kept[1, 1, 0] = True  # in the second circuit 3 reads something else
    kept[1, 2, 1] = True
    assert receivers_alike(kept) == [[1, 4], [2], [3]]


def test_a_plan_holds_what_is_kept_and_by_whom(toy):
    graph = toy.graph
    masks = torch.zeros(1, *graph.edge_mask.shape, dtype=torch.bool)
    first = graph.first_receiver(1)
    masks[0, 0, first + 1] = masks[0, 0, first + graph.n_heads + 1] = True  # q and k of head 1
    masks[0, 2, graph.mlp_receiver(0)] = True
    plan = plan_of(masks, toy)
    heads = plan[stage_of(1, "heads")]
    assert heads.kept.shape == (1, 1, graph.n_senders_before_attention(1))
    assert heads.kept[0, 0].nonzero().flatten().tolist() == [0]
    [(receivers, _)] = heads.groups
    assert receivers.tolist() == [1, graph.n_heads + 1]
    assert plan[stage_of(0, "mlp")].kept[0, 0].nonzero().flatten().tolist() == [2]
    assert plan[stage_of(0, "heads")].kept.shape[1] == 0  # nothing live: not run
    assert plan[stage_of(graph.n_layers, "heads")].kept.shape[1] == 1  # the logits always are


def test_a_plan_begins_at_the_first_layer_that_is_run(toy):
    plan = plan_of(some_masks(toy.graph), toy, first=toy.graph.n_layers)
    assert list(plan) == [stage_of(toy.graph.n_layers, "heads")]
