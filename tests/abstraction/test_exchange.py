"""Exchanges: what is put where, against runs that can be had without any exchange."""

from dataclasses import replace

import pytest
import torch

from circuitkit.abstraction.alignment import alignment_of
from circuitkit.abstraction.exchange import Exchanger, points_of, width_of
from circuitkit.abstraction.hypothesis import algorithm_of
from circuitkit.abstraction.interchanges import LEAST, draw_interchanges
from circuitkit.abstraction.reading import read_prompts_with
from circuitkit.abstraction.shipped.ioi import IOIByPlace
from circuitkit.abstraction.shipped.planted import InductionByWord, PlantedFactsByParts
from circuitkit.errors import HypothesisError
from circuitkit.prompts.splits import sample_splits
from circuitkit.task import find_task
from circuitkit.zoo import load_model

ROLES = ("all", "END")


@pytest.fixture(scope="module")
def read(planted_splits):
    model, splits = planted_splits("planted-induction")
    return model, read_prompts_with(algorithm_of(InductionByWord()), model, splits.validation)


@pytest.fixture(scope="module")
def pico():
    return load_model("pico")


@pytest.fixture(scope="module")
def ioi(pico):
    splits = sample_splits(find_task("ioi"), pico.tokenizer, n=48, seed=0)
    return read_prompts_with(algorithm_of(IOIByPlace()), pico, splits.validation)


def logits_behind(model, readings, text, items, subspace=None):
    alignment = alignment_of(model, text, tuple(readings.spans[0]))
    exchanger = Exchanger(model, readings.pairs, points_of({"own": alignment}))
    return exchanger.logits_of(items, readings, alignment, subspace), exchanger


@pytest.mark.parametrize("text", ["resid 0 at all", "a1.h3<q> at END, resid 0 at all"])
def test_what_all_tokens_hold_in_front_makes_the_base_the_source(text, read):
    model, readings = read
    items = draw_interchanges(readings, "sought", ("all",)).items
    logits, exchanger = logits_behind(model, readings, text, items)
    torch.testing.assert_close(logits, exchanger.logits[[item.source for item in items]])
    assert not torch.equal(logits, exchanger.logits[[item.base for item in items]])


@pytest.mark.parametrize("text", ["post 0 at END", "a1.h1<k> at all", "a0.h2 + attn 1 at END"])
def test_values_of_the_base_itself_change_nothing(text, read):
    model, readings = read
    items = [
        replace(item, source=item.base) for item in draw_interchanges(readings, "sought", ()).items
    ]
    logits, exchanger = logits_behind(model, readings, text, items)
    torch.testing.assert_close(logits, exchanger.logits[[item.base for item in items]])


def test_values_go_from_role_to_role_though_prompts_differ_in_length(ioi, pico):
    items = draw_interchanges(ioi, "repeated", ("S2",)).items[:8]
    places = [(ioi.spans[i.base]["S2"][0], ioi.spans[i.source]["S2"][0]) for i in items]
    assert any(base != source for base, source in places)
    logits, _ = logits_behind(pico, ioi, "resid 0 at S2", items)
    wte, wpe = (
        pico.bridge.original_model.transformer.get_parameter(n)
        for n in ("wte.weight", "wpe.weight")
    )
    entering, context = pico.prepare(ioi.pairs.select([item.base for item in items]).clean_batch)
    for row, (item, (base, source)) in enumerate(zip(items, places, strict=True)):
        token = ioi.pairs.clean[item.source, source]
        number = int(ioi.pairs.mask[item.source, :source].sum())
        entering[row, base] = wte[token] + wpe[number]
    with torch.no_grad():
        torch.testing.assert_close(logits, pico.run_from(entering, context))


@pytest.mark.parametrize("text", ["post 0 at END", "a1.h3<q> at END", "a0.h0 at END"])
def test_a_subspace_of_all_dimensions_is_the_whole_place_and_an_empty_one_is_nothing(text, read):
    model, readings = read
    items = draw_interchanges(readings, "sought", ("END",)).items
    whole, exchanger = logits_behind(model, readings, text, items)
    place = alignment_of(model, text, ROLES).spots[0].places[0]
    d = width_of(exchanger, place)
    rotation = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64))[0]
    torch.testing.assert_close(logits_behind(model, readings, text, items, rotation)[0], whole)
    none, _ = logits_behind(model, readings, text, items, rotation[:, :0])
    torch.testing.assert_close(none, exchanger.logits[[item.base for item in items]])


def test_interchanges_are_of_both_kinds_and_no_prompt_is_twice_in_one_role(read):
    _, readings = read
    drawn = draw_interchanges(readings, "sought", ("END",))
    assert drawn.of_kind(changes=True).sum() >= LEAST
    assert drawn.of_kind(changes=False).sum() >= LEAST
    for changes in (True, False):
        own = [item for item in drawn.items if item.changes == changes]
        assert len({item.base for item in own}) == len({item.source for item in own}) == len(own)
    for item in drawn.items:
        assert item.base != item.source
        value = readings.values[item.source]["sought"]
        assert item.expected == readings.intervened(item.base, "sought", value)
        assert item.before == readings.answers[item.base]
        assert item.sources_own == readings.answers[item.source]


def test_where_it_can_a_source_is_drawn_whose_own_answer_is_another(planted_splits):
    model, splits = planted_splits("planted-facts")
    algorithm = algorithm_of(PlantedFactsByParts())
    readings = read_prompts_with(algorithm, model, splits.validation)
    drawn = draw_interchanges(readings, "subject", ("subject",))
    # half of all sources ask for the same: theirs is the expected answer
    assert drawn.n_copies < 0.2 * drawn.of_kind(changes=True).sum()


def test_the_same_seed_draws_the_same(read):
    _, readings = read
    first, again, other = (
        draw_interchanges(readings, "sought", (), seed=seed).items for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_too_few_exchanges_that_matter_are_refused(read):
    _, readings = read
    with pytest.raises(HypothesisError, match=r"variable 'sought': at least 16 exchanges .* got"):
        draw_interchanges(readings.select(range(17)), "sought", ("END",))


def test_spans_of_unequal_lengths_are_not_exchanged(ioi):
    spans = tuple(
        {**own, "S2": (own["S2"][0], own["S2"][0] + 1 + row % 2)}
        for row, own in enumerate(ioi.spans)
    )
    mixed = draw_interchanges(replace(ioi, spans=spans), "repeated", ("S2",)).items
    assert {(item.base - item.source) % 2 for item in mixed} == {0}
    anywhere = draw_interchanges(replace(ioi, spans=spans), "repeated", ("END",)).items
    assert {(item.base - item.source) % 2 for item in anywhere} == {0, 1}
    with pytest.raises(HypothesisError, match="at least 16"):
        draw_interchanges(replace(ioi, spans=({},) * len(ioi)), "repeated", ("S2",))
