"""Vocabulary circuits: equal to what the model computes, and exact however they are blocked."""

import pytest
import torch

from circuitkit.errors import GraphError, MemoryBudgetError, MethodError
from circuitkit.interpretation.weights.products import (
    VocabularyCircuit,
    embeddings,
    ov_circuit,
    qk_circuit,
)
from circuitkit.model.attention import per_head
from circuitkit.model.state_dicts import load_state_dict, renamed
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted
from tests.families import VARIED, make_family
from tests.model.test_published_models import weights

HEAD, LAYER, NUMBER = "a1.h2", 1, 2


@pytest.fixture(scope="module", params=VARIED)
def family(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def induction_model():
    state = renamed(weights("toy_induction_2L/induction_head_infinite.pth")["model"])
    return load_state_dict(state, name="induction")


def random_circuit(n_rows=23, n_columns=17, d_head=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(n_rows, d_head, generator=generator, dtype=torch.float64)
    right = torch.randn(d_head, n_columns, generator=generator, dtype=torch.float64)
    return VocabularyCircuit("random", left, right)


def uncapped(model, logits):
    cap = model.logit_softcap
    return torch.atanh(logits / cap) * cap if cap else logits


def test_ov_is_what_a_head_that_attends_to_one_token_adds_to_the_logits(family):
    attention = family.layers[LAYER].attention
    with torch.no_grad():
        _, _, v = attention.project(embeddings(family).unsqueeze(1))
        v = v[:, 0] - attention.bias("v")
        z = per_head(v.unsqueeze(1), attention.n_heads)[:, 0, NUMBER]
        nothing = uncapped(family, family.unembed(torch.zeros_like(embeddings(family)[:1])))
        by_run = uncapped(family, family.unembed(z @ attention.w_out[NUMBER])) - nothing
    by_run, ov = by_run[1:], ov_circuit(family, HEAD).full()[1:]  # token 0 may be a pad of zeros
    # both norms' scales are positive factors of a row
    factors = (by_run * ov).sum(1, keepdim=True) / (ov * ov).sum(1, keepdim=True)
    assert (factors > 0).all()
    torch.testing.assert_close(by_run, ov * factors, rtol=1e-6, atol=1e-7)


def test_qk_is_the_score_of_two_tokens_at_one_place(family):
    attention = family.layers[LAYER].attention
    embed = embeddings(family)
    with torch.no_grad():
        q, k, _ = attention.project(embed.unsqueeze(1))
        q, k = q - attention.bias("q"), k - attention.bias("k")
        q = q if attention.q_norm is None else attention.q_norm(q)
        k = per_head(k if attention.k_norm is None else attention.k_norm(k), attention.n_heads)
        scores = attention.scale * q[:, 0, NUMBER] @ k[:, 0, NUMBER].T
    qk = qk_circuit(family, HEAD).full()
    ratio = (scores / qk)[1:, 1:]  # the norms' scales: one factor a row, one a column
    assert (ratio > 0).all()
    rank_one = ratio[:, :1] * ratio[:1] / ratio[0, 0]
    torch.testing.assert_close(ratio, rank_one, rtol=1e-6, atol=1e-7)
    if attention.q_norm is None:
        scale = attention.norm.inverse_scale(embed)[1:]
        torch.testing.assert_close(ratio, scale * scale.T, rtol=1e-6, atol=1e-7)


def test_planted_circuits_are_read_off_the_weights():
    source = planted("planted-skip-trigram")
    model = source.model(dtype=torch.float64)
    words, mover = source.blueprint.words, source.components["mover"]
    keep, link, mind = (words.index(word) for word in ("keep", "in", "mind"))
    ov, qk = ov_circuit(model, mover).full(), qk_circuit(model, mover).full()
    assert float(ov[keep, mind]) == 6.0
    assert float(qk[link, keep]) == 6.0
    assert int((ov != 0).sum()) == int((qk != 0).sum()) == 6
    copier = planted("planted-induction")
    ov = ov_circuit(copier.model(dtype=torch.float64), copier.components["mover"])
    assert ov.positive_share == pytest.approx(1.0)
    assert ov.own_token_share() == 1.0


def test_positive_share_is_that_of_the_eigenvalues_of_the_whole_product():
    circuit = random_circuit(17, 17)
    values = torch.linalg.eigvals(circuit.full())
    expected = float(values.real.sum() / values.abs().sum())
    assert circuit.positive_share == pytest.approx(expected)
    assert abs(expected) < 0.9
    copying = VocabularyCircuit("copying", circuit.left, circuit.left.T)
    avoiding = VocabularyCircuit("avoiding", circuit.left, -circuit.left.T)
    assert copying.positive_share == pytest.approx(1.0)
    assert avoiding.positive_share == pytest.approx(-1.0)


def test_a_head_that_writes_nothing_or_only_other_tokens_copies_nothing():
    idle = VocabularyCircuit("idle", torch.zeros(7, 3), torch.zeros(3, 7))
    assert idle.positive_share == 0.0
    assert idle.own_token_share(5) == 0.0
    shift = torch.eye(7, dtype=torch.float64).roll(1, 1).triu()  # each token raises the next
    moved = VocabularyCircuit("next", torch.eye(7, dtype=torch.float64), shift)
    assert moved.positive_share == 0.0


def test_eigenvalues_that_are_rounding_are_none():
    circuit = random_circuit(17, 17)
    one, other = circuit.left[:, :1], circuit.left[:, 1:2]
    other = other - one * (one.T @ other) / (one.T @ one)
    assert VocabularyCircuit("square zero", one, other.T).positive_share == 0.0


@pytest.mark.parametrize("memory", [1, 4_000, 10**9])
def test_top_pairs_are_exact_in_blocks_of_any_size(memory):
    circuit = random_circuit()
    values, order = circuit.full().flatten().sort(descending=True)
    found = circuit.top_pairs(9, memory)
    assert [p.value for p in found.largest] == pytest.approx(values[:9].tolist())
    assert [p.value for p in found.smallest] == pytest.approx(values.flip(0)[:9].tolist())
    assert [p.row * 17 + p.column for p in found.largest] == order[:9].tolist()
    assert [p.row * 17 + p.column for p in found.smallest] == order.flip(0)[:9].tolist()
    assert found.n_pairs == 23 * 17


def test_blocks_keep_to_the_budget_and_cover_every_row_once():
    circuit = random_circuit()
    sizes = [len(block) for _, block in circuit.blocks(4_000)]
    assert sum(sizes) == 23
    assert max(sizes) * 17 * 8 <= 4_000
    assert len(sizes) > 2
    torch.testing.assert_close(torch.cat([b for _, b in circuit.blocks(4_000)]), circuit.full())


@pytest.mark.parametrize("memory", [1, 4_000])
def test_of_equal_entries_the_first_rows_win(memory):
    left = torch.ones(23, 1, dtype=torch.float64)
    right = torch.tensor([[1.0, 2.0, 2.0]], dtype=torch.float64)
    found = VocabularyCircuit("equal", left, right).top_pairs(5, memory)
    places = [(p.row, p.column) for p in found.largest]
    assert places == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]
    assert [(p.row, p.column) for p in found.smallest] == [(row, 0) for row in range(5)]


def test_more_top_pairs_than_there_are_gives_all():
    found = random_circuit(3, 2).top_pairs(10)
    assert len(found.largest) == len(found.smallest) == 6
    assert random_circuit(3, 2).top_pairs(0).largest == ()


@pytest.mark.parametrize("memory", [1, 4_000, 10**9])
@pytest.mark.parametrize("k", [1, 5])
def test_own_token_share_counts_rows_whose_own_entry_is_among_the_largest(k, memory):
    circuit = random_circuit(17, 17)
    top = circuit.full().topk(k).indices
    expected = (top == torch.arange(17)[:, None]).any(1).double().mean()
    assert circuit.own_token_share(k, memory) == float(expected)
    assert 0 < float(expected) < 1 or k == 1


def test_the_induction_heads_copy_and_the_previous_token_head_matches_no_token(induction_model):
    shares = {
        head: ov_circuit(induction_model, head).positive_share
        for head in induction_model.graph.head_places
    }
    assert min(shares[f"a1.h{head}"] for head in range(4)) > 0.99
    copied = [ov_circuit(induction_model, f"a1.h{head}").own_token_share() for head in (1, 2, 3)]
    assert min(copied) > 0.8


def test_a_product_that_does_not_fit_is_refused_with_its_size_and_the_way_out(toy):
    circuit = ov_circuit(toy, "a0.h1")
    with pytest.raises(MemoryBudgetError, match=r"37 x 37 entries of 10952 bytes.*`top_pairs`"):
        circuit.full(memory=10_951)
    assert circuit.full(memory=10_952).shape == (37, 37)


def test_different_vocabularies_have_no_tokens_of_their_own():
    circuit = random_circuit(23, 17)
    with pytest.raises(MethodError, match="eigenvalues need as many tokens.*got 23 and 17"):
        _ = circuit.positive_share
    with pytest.raises(MethodError, match="own tokens need as many"):
        circuit.own_token_share()


@pytest.mark.parametrize("name", ["m0", "input", "a9.h0", "logits"])
def test_only_heads_have_circuits(toy, name):
    with pytest.raises(GraphError, match=r"must be a head.*a0.h0 to a2.h3"):
        ov_circuit(toy, name)
    with pytest.raises(GraphError, match="must be a head"):
        qk_circuit(toy, name)


def test_half_precision_is_computed_in_float32(toy_directory):
    model = load_model(toy_directory, dtype=torch.bfloat16)
    assert ov_circuit(model, "a0.h1").left.dtype == torch.float32
    assert -1 <= qk_circuit(model, "a0.h1").positive_share <= 1
