"""Skip trigrams: the planted ones with their bug, and the strongest of all by brute force."""

import pytest
import torch

from circuitkit.errors import GraphError
from circuitkit.interpretation.weights.products import embeddings, ov_circuit, qk_circuit
from circuitkit.interpretation.weights.skip_trigrams import SkipTrigram, section, skip_trigrams
from circuitkit.zoo.planted import planted


@pytest.fixture(scope="module")
def found():
    source = planted("planted-skip-trigram")
    model = source.model(dtype=torch.float64)
    return {str(t): t for t in skip_trigrams(model, source.components["mover"], 50)}


def test_the_true_trigrams_and_the_bug_come_out_and_nothing_else(found):
    phrases = {"keep": ("mind", "bay"), "fall": ("love", "odds"), "stay": ("touch", "home")}
    assert set(found) == {
        f"{verb} ... {link} -> {word}"
        for verb, words in phrases.items()
        for link in ("in", "at")
        for word in words
    }


def test_the_head_cannot_tell_the_bug_from_the_truth_but_the_direct_path_does(found):
    true, bug = found["keep ... in -> mind"], found["keep ... in -> bay"]
    assert bug.strength == true.strength > 0
    assert true.direct - bug.direct == pytest.approx(3.0)
    true, bug = found["keep ... at -> bay"], found["keep ... at -> mind"]
    assert bug.strength == true.strength
    assert true.direct - bug.direct == pytest.approx(3.0)


@pytest.mark.parametrize("memory", [1, 5_000, 10**9])
@pytest.mark.parametrize("k", [1, 7, 40])
def test_the_strongest_are_those_of_all_triples(toy, k, memory):
    head = "a1.h2"
    qk, ov = qk_circuit(toy, head).full(), ov_circuit(toy, head).full()
    qk = (qk - qk.mean(1, keepdim=True)).clamp(min=0)
    ov = (ov - ov.mean(1, keepdim=True)).clamp(min=0)
    everything = qk.T[:, :, None] * ov[:, None, :]  # source, destination, out
    values, order = everything.flatten().topk(k)
    found = skip_trigrams(toy, head, k, memory=memory)
    assert [t.strength for t in found] == pytest.approx(values.tolist())
    expected = [torch.unravel_index(i, everything.shape) for i in order]
    names = [tuple(toy.text_of([int(i)]) for i in triple) for triple in expected]
    assert [(t.source, t.destination, t.out) for t in found] == names


def test_the_direct_path_is_that_of_the_embedding(toy):
    [best] = skip_trigrams(toy, "a1.h2", 1)
    weight, bias = toy.unembedding
    folded, _ = toy.final_norm.fold(weight, bias)
    logits = embeddings(toy) @ folded
    logits = logits - logits.mean(1, keepdim=True)
    places = [int(token.strip("[]")) for token in (best.destination, best.out)]
    assert best.direct == pytest.approx(float(logits[places[0], places[1]]))


def test_a_head_without_weights_has_none_and_what_is_no_head_is_refused():
    source = planted("planted-skip-trigram")
    model = source.model(dtype=torch.float64)
    idle = next(h for h in model.graph.head_places if h != source.components["mover"])
    assert skip_trigrams(model, idle) == ()
    with pytest.raises(GraphError, match="must be a head"):
        skip_trigrams(model, "m0")


def test_the_section_has_a_row_for_each_trigram_and_tokens_as_tokens():
    found = (SkipTrigram(" keep", " in", " mind", 2.0, 3.0, 0.5),)
    shown = section("a0.h1", found)
    assert shown.key == "skip-trigrams-a0-h1"
    assert shown.tables[0].rows == ((" keep", " in", " mind", 6.0, 2.0, 3.0, 0.5),)
    assert [each.style for each in shown.tables[0].columns] == ["token"] * 3 + ["number"] * 4
