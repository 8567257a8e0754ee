"""Composition scores: equal to the products written out, to TransformerLens, and known ones."""

import pytest
import torch

from circuitkit.errors import GraphError, MethodError
from circuitkit.interpretation.weights.composition import (
    Composition,
    compose,
    random_scores,
    section,
)
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted
from tests.conftest import DATA
from tests.families import make_family
from tests.interpretation.weights.test_products import induction_model  # noqa: F401


@pytest.mark.parametrize("name", ["llama", "native-attention-only", "qwen3", "gemma-2"])
@pytest.mark.parametrize("read", ["q", "k", "v"])
def test_the_score_is_that_of_the_products_written_out(name, read, tmp_path):
    model = make_family(name, tmp_path)
    first, second = (model.layers[layer].attention for layer in (0, 1))
    group = lambda attention, head: head * attention.n_kv_heads // attention.n_heads  # noqa: E731
    a = first.weight("v")[group(first, 3)] @ first.w_out[3]
    query, key = second.weight("q")[1], second.weight("k")[group(second, 1)]
    if second.q_norm is not None:
        query, key = query * second.q_norm.norm.weight, key * second.k_norm.norm.weight
    b = {
        "q": query @ key.T,
        "k": key @ query.T,
        "v": second.weight("v")[group(second, 1)] @ second.w_out[1],
    }[read]
    expected = float((a @ b).norm() / (a.norm() * b.norm()))
    [found] = compose(model, [f"a0.h3->a1.h1<{read}>"], n_random=5)
    assert found.score == pytest.approx(expected)
    assert found.excess == pytest.approx(expected - found.random_mean)
    assert found.z == pytest.approx(found.excess / found.random_std)


@pytest.mark.parametrize("read", ["q", "k", "v"])
def test_agrees_with_transformer_lens(tiny_gpt2, read):
    bridge = load_model(DATA / "tiny-gpt2" / "model", dtype=torch.float64).bridge
    bridge.enable_compatibility_mode(disable_warnings=True)
    theirs = bridge.all_composition_scores(read.upper()).scores.detach()
    heads = range(tiny_gpt2.graph.n_heads)
    edges = {(i, j): f"a0.h{i}->a1.h{j}<{read}>" for i in heads for j in heads}
    found = compose(tiny_gpt2, list(edges.values()), n_random=5)
    for (i, j), composition in zip(edges, found, strict=True):
        assert composition.score == pytest.approx(float(theirs[0, i, 1, j]), abs=1e-6)


def test_the_previous_token_head_composes_with_the_keys_of_the_induction_heads(induction_model):  # noqa: F811
    def z(read):
        edges = [f"a0.h{i}->a1.h{j}<{read}>" for i in range(4) for j in range(4)]
        found = compose(induction_model, edges)
        return torch.tensor([composition.z for composition in found]).reshape(4, 4)

    assert (z("k")[2] > 10).all()
    assert (z("k")[[0, 1, 3]] < 0).all()
    assert (z("v")[2] < 0).all()


def test_planted_composition_is_only_where_it_was_planted():
    source = planted("planted-induction")
    model = source.model(dtype=torch.float64)
    ends = source.components["previous"], source.components["mover"]
    q, k, v = compose(model, [f"{ends[0]}->{ends[1]}<{read}>" for read in "qkv"])
    assert q.score == v.score == 0.0
    assert k.score > 0.2
    assert k.z > 10
    idle = next(h for h in model.graph.head_places if h[1] == "0" and h not in ends)
    assert compose(model, [f"{idle}->{ends[1]}<v>"])[0].score == 0.0


def test_random_heads_score_about_one_over_the_root_of_the_width():
    scores = random_scores(256, 16, 40, 0)
    assert float(scores.mean()) == pytest.approx(256**-0.5, rel=0.1)
    assert float(scores.std()) < 0.1 * float(scores.mean())
    assert torch.equal(scores, random_scores(256, 16, 40, 0))
    assert not torch.equal(scores, random_scores(256, 16, 40, 1))


@pytest.mark.parametrize("edge", ["m0->a1.h1<k>", "a0.h1->m1", "input->a0.h0<q>", "a0.h0->logits"])
def test_only_heads_compose(toy, edge):
    with pytest.raises(GraphError, match="must be a head"):
        compose(toy, [edge])


def test_a_later_head_does_not_write_for_an_earlier_one(toy):
    with pytest.raises(GraphError, match="must be an edge of this graph"):
        compose(toy, ["a1.h0->a0.h1<k>"])


def test_one_random_matrix_has_no_spread(toy):
    with pytest.raises(MethodError, match="n_random must be at least 2, got 1"):
        compose(toy, ["a0.h0->a1.h1<k>"], n_random=1)


def test_the_section_tells_the_score_from_chance():
    made = Composition("a0.h0->a1.h1<k>", 0.5, 0.25, 0.125, 50)
    assert section([made]).tables[0].rows == (("a0.h0->a1.h1<k>", 0.5, 0.25, 2.0),)
