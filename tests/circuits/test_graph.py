import pytest
import torch

from circuitkit.circuits.graph import ComponentGraph, EdgeScores, component_of, read_of
from circuitkit.errors import GraphError

TOY = ComponentGraph(n_layers=2, n_heads=3, d_model=8)


def test_gpt2_small_has_its_known_counts():
    graph = ComponentGraph(n_layers=12, n_heads=12, d_model=768)
    assert len(graph.components) == 158
    assert graph.n_edges == 32_491


def test_names_and_orders_are_those_of_mib():
    assert TOY.senders == (
        "input", "a0.h0", "a0.h1", "a0.h2", "m0", "a1.h0", "a1.h1", "a1.h2", "m1",
    )  # fmt: skip
    assert TOY.receivers[:4] == ("a0.h0<q>", "a0.h1<q>", "a0.h2<q>", "a0.h0<k>")
    assert TOY.receivers[-2:] == ("m1", "logits")
    assert TOY.edge_names[:4] == (
        "input->a0.h0<q>", "input->a0.h0<k>", "input->a0.h0<v>", "input->a0.h1<q>",
    )  # fmt: skip
    assert TOY.edge_names[9:11] == ("input->m0", "a0.h0->m0")


def test_every_edge_goes_from_an_earlier_write_to_a_later_read():
    assert len(set(TOY.edge_names)) == TOY.n_edges == int(TOY.edge_mask.sum())
    assert "a0.h0->a0.h1<q>" not in TOY.edge_names
    assert "m0->m0" not in TOY.edge_names
    assert "m1->a1.h0<v>" not in TOY.edge_names
    assert "a1.h2->m1" in TOY.edge_names
    assert "input->logits" in TOY.edge_names


def test_heads_of_parallel_blocks_do_not_feed_their_own_mlp():
    graph = ComponentGraph(n_layers=2, n_heads=3, d_model=8, parallel_attn_mlp=True)
    assert TOY.n_edges - graph.n_edges == 2 * 3
    assert "a1.h0->m1" not in graph.edge_names
    assert "a0.h0->m1" in graph.edge_names


def test_edge_index_agrees_with_names_and_mask():
    for number, name in enumerate(TOY.edge_names):
        sender, receiver = TOY.edge_index[number].tolist()
        assert name == f"{TOY.senders[sender]}->{TOY.receivers[receiver]}"
        assert TOY.edge_mask[sender, receiver]
        assert TOY.edge_number(name) == number


def test_mask_of_marks_the_named_edges_only():
    mask = TOY.mask_of(["a0.h1->a1.h2<k>", "m0->logits"])
    assert int(mask.sum()) == 2
    assert mask[TOY.senders.index("a0.h1"), TOY.receivers.index("a1.h2<k>")]
    assert not TOY.mask_of([]).any()


def test_an_edge_that_does_not_exist_is_named_in_the_error():
    with pytest.raises(GraphError, match=r"edge 'a1.h0->a0.h0<q>'.*2 layers, 3 heads"):
        TOY.mask_of(["a1.h0->a0.h0<q>"])


def test_receivers_split_into_component_and_read():
    assert (component_of("a5.h1<k>"), read_of("a5.h1<k>")) == ("a5.h1", "k")
    assert (component_of("m3"), read_of("m3")) == ("m3", "mlp")
    assert (component_of("logits"), read_of("logits")) == ("logits", "logits")


def test_the_edge_mask_can_be_rebuilt_from_the_edge_index():
    mask = torch.zeros_like(TOY.edge_mask)
    mask[TOY.edge_index[:, 0], TOY.edge_index[:, 1]] = True
    assert torch.equal(mask, TOY.edge_mask)


def test_scores_of_values_in_edge_order_give_them_back_and_are_zero_elsewhere():
    values = torch.arange(1, TOY.n_edges + 1, dtype=torch.float32) / 3
    scores = EdgeScores.of_edges(TOY, values)
    assert scores.values.dtype == torch.float64
    assert torch.equal(scores.by_edge(), values.double())
    assert torch.equal(scores.values != 0, TOY.edge_mask)
    name = "a0.h1->a1.h2<k>"
    at = TOY.senders.index("a0.h1"), TOY.receivers.index("a1.h2<k>")
    assert scores.values[at] == values[TOY.edge_number(name)]
