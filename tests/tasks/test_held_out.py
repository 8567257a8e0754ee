"""Held-out pairs of the tasks that ship: other wordings and answers, which pico can do as well."""

import pytest

from circuitkit.prompts.splits import sample_held_out, sample_splits
from circuitkit.tasks.induction import Induction
from circuitkit.tasks.ioi import FRAMES, IOI, IOIABC, OTHER_FRAMES
from circuitkit.validation.baseline import measure_baseline
from circuitkit.zoo import load_model
from circuitkit.zoo.pico.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def pico():
    return load_model("pico")


@pytest.fixture(scope="module", params=[IOI, IOIABC, Induction], ids=lambda task: task.name)
def drawn(request):
    task, tokenizer = request.param(), build_tokenizer()
    splits = sample_splits(task, tokenizer, n=20, seed=5)
    return task, splits, sample_held_out(task, tokenizer, splits, n=24, seed=5)


def test_wordings_are_not_those_of_the_task(drawn):
    task, splits, held_out = drawn
    usual = set(splits.reference.templates) | set(splits.discovery.templates)
    pairs, reference = held_out["wordings"]
    assert usual.isdisjoint(pairs.templates)
    assert set(pairs.templates) <= set(reference.templates)
    assert pairs.roles[0].keys() == splits.discovery.roles[0].keys()


def test_answers_are_those_that_discovery_never_had(drawn):
    _, splits, held_out = drawn
    pairs, _ = held_out["answers"]
    known = {answer for pair in splits.discovery.pairs for answer in pair.answers}
    assert all(known.isdisjoint(pair.answers) for pair in pairs.pairs)


def test_no_prompt_is_one_of_discovery(drawn):
    _, splits, held_out = drawn
    seen = set(splits.discovery.prompt_digests)
    for pairs, _ in held_out.values():
        assert len(pairs) == 24
        assert seen.isdisjoint(pairs.prompt_digests)


def test_pico_can_do_them(drawn, pico):
    task, _, held_out = drawn
    for pairs, _ in held_out.values():
        assert measure_baseline(pico, pairs, task.metric).fault == ""


def test_frames_of_both_kinds_differ_in_name_and_wording():
    assert FRAMES.keys().isdisjoint(OTHER_FRAMES)
    assert not set(FRAMES.values()) & set(OTHER_FRAMES.values())
