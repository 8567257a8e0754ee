"""Running many circuits at once: what is shared changes no value."""

import numpy as np
import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.kept_plan import stages_of_parting
from circuitkit.interventions.run_circuit import _side_by_side, evaluate_circuits
from circuitkit.metrics import KLDivergence, LogitDifference
from tests.families import make_family

EXACT = {"rtol": 1e-12, "atol": 1e-12}
# one block after the other; parallel blocks; no MLPs; grouped queries
SOME = ("gpt2", "gpt-j", "native-attention-only", "llama")


@pytest.fixture(scope="module", params=SOME)
def family(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


def branching(graph, seed, n=11):
    """Circuits each of which is an earlier one but for a receiver or two, some of them the same."""
    rng, full = np.random.default_rng(seed), graph.edge_mask.numpy()
    masks = [full & (rng.random(full.shape) < 0.6)]
    for _ in range(n):
        mask = masks[rng.integers(len(masks))].copy()
        for receiver in rng.integers(0, mask.shape[1], rng.integers(0, 3)):
            mask[:, receiver] = full[:, receiver] & (rng.random(len(mask)) < 0.5)
        masks.append(mask)
    masks += [masks[0], full, np.zeros_like(masks[0])]
    rng.shuffle(masks)
    return [Circuit.full(graph).with_edges(torch.tensor(mask)) for mask in masks]


def evaluate(model, pairs, circuits, ablation, metric=None, memory=None):
    return evaluate_circuits(
        model,
        pairs,
        circuits,
        ablation=ablation,
        metric=metric or LogitDifference(),
        memory=memory,
    )


@pytest.mark.parametrize("name", ["mean", "zero", "resample"])
def test_circuits_together_are_each_circuit_alone(family, pairs, name):
    made = (MeanAblation(pairs), ZeroAblation(), ResampleAblation())
    ablation = next(a for a in made if a.name == name)
    circuits = branching(family.graph, len(name))
    together = evaluate(family, pairs, circuits, ablation)
    alone = {}
    for i, circuit in enumerate(circuits):
        if circuit.edges not in alone:
            alone[circuit.edges] = evaluate(family, pairs, [circuit], ablation)[0]
        torch.testing.assert_close(together[i], alone[circuit.edges], **EXACT)
    assert len(alone) < len(circuits)
    order = np.random.default_rng(0).permutation(len(circuits))
    shuffled = evaluate(family, pairs, [circuits[i] for i in order], ablation)
    torch.testing.assert_close(shuffled, together[order], **EXACT)


def test_nor_does_the_size_of_a_batch_change_them(family, pairs):
    circuits = branching(family.graph, 3)
    whole = evaluate(family, pairs, circuits, ResampleAblation(), KLDivergence())
    parts = evaluate(family, pairs, circuits, ResampleAblation(), KLDivergence(), memory=3_000_000)
    torch.testing.assert_close(parts, whole, **EXACT)


def test_the_same_circuit_many_times_is_one_circuit(family, pairs):
    circuit = branching(family.graph, 4)[0]
    values = evaluate(family, pairs, [circuit] * 5, ZeroAblation())
    assert values.shape == (5, len(pairs))
    torch.testing.assert_close(values, values[:1].expand(5, -1), **EXACT)


def test_circuits_that_begin_alike_are_neighbours_and_the_order_is_told(toy):
    masks = [circuit.edge_mask for circuit in branching(toy.graph, 5, n=20)]
    ordered, order = _side_by_side(masks)
    assert sorted(order.tolist()) == list(range(len(masks)))
    for row, at in zip(ordered, order.tolist(), strict=True):
        assert torch.equal(row, masks[at])

    stages = stages_of_parting(ordered, toy.graph)
    for layer in range(toy.graph.n_layers):  # what begins alike is computed once
        for stage, end in ((2 * layer, "mlp_receiver"), (2 * layer + 1, "first_receiver")):
            read = getattr(toy.graph, end)(layer + stage % 2)
            begun = {tuple(mask[:, :read].flatten().tolist()) for mask in masks}
            assert sum(at <= stage for at in stages) == len(begun)
    again, _ = _side_by_side(masks[::-1])
    assert torch.equal(again, ordered)  # so nothing depends on the order that was given


@pytest.mark.parametrize(
    ("edge", "stage"),
    [
        ("input->a0.h2<v>", 0),
        ("a0.h1->m0", 1),
        ("input->a1.h0<q>", 2),
        ("m0->a2.h3<k>", 4),
        ("a2.h0->m2", 5),
        ("a2.h0->logits", 6),
    ],
)
def test_circuits_part_where_they_first_read_something_else(toy, edge, stage):
    full = toy.graph.edge_mask
    without = full & ~toy.graph.mask_of([edge, "m2->logits"])
    stack = torch.stack([full, without, without, full])
    assert stages_of_parting(stack, toy.graph) == [0, stage, 6, stage]


def test_stages_of_a_model_without_mlps_count_attention_alone(tmp_path):
    graph = make_family("native-attention-only", tmp_path).graph
    without = graph.edge_mask & ~graph.mask_of(["a0.h0->a1.h1<v>"])
    assert stages_of_parting(torch.stack([without, graph.edge_mask]), graph) == [0, 2]
    assert stages_of_parting(torch.stack([graph.edge_mask] * 2), graph) == [0, 6]
