"""Indirect object identification: who is who in the pairs, and that pico never saw the frames."""

import random
from collections import Counter

import pytest

from circuitkit.tasks.ioi import FRAMES, IOI, IOIABC, ORDERS
from circuitkit.zoo.lexicon import NAMES
from circuitkit.zoo.pico import grammar
from circuitkit.zoo.pico.language import is_held_out_frame, training_document


def names_in(text):
    return [word for word in text.replace(",", " ").replace(".", " ").split() if word in NAMES]


def role_words(pair):
    return {role: pair.clean[start:end] for role, (start, end) in pair.roles.items()}


def test_there_are_enough_frames_and_names():
    assert len(FRAMES) >= 16
    assert len(NAMES) >= 60


@pytest.mark.parametrize("task", [IOI(), IOIABC()], ids=lambda task: task.name)
def test_roles_name_the_indirect_object_and_both_mentions_of_the_subject(task, sample):
    for pair in sample(task.pairs):
        words = role_words(pair)
        assert pair.answers == [f" {words['IO']}"]
        assert pair.wrong_answers == [f" {words['S1']}"]
        assert words["S1"] == words["S2"] != words["IO"]
        assert pair.roles["S1"][0] < pair.roles["S2"][0]
        assert pair.roles["S1+1"][0] == pair.roles["S1"][1] + 1
        assert Counter(names_in(pair.clean)) == {words["S1"]: 2, words["IO"]: 1}


@pytest.mark.parametrize("task", [IOI(), IOIABC()], ids=lambda task: task.name)
def test_the_order_of_the_names_is_the_one_the_template_says(task, sample):
    seen = set()
    for pair in sample(task.pairs, 400):
        order = pair.template.rpartition("-")[2]
        is_io_first = pair.roles["IO"][0] < pair.roles["S1"][0]
        assert order == ("ABBA" if is_io_first else "BABA")
        seen.add(pair.template)
    assert seen == {f"{frame}-{order}" for frame in FRAMES for order in ORDERS}


def test_corruption_of_ioi_exchanges_the_answers(sample):
    for pair in sample(IOI().pairs):
        words = role_words(pair)
        start, end = pair.roles["S2"]
        assert pair.corrupted == pair.clean[:start] + words["IO"] + pair.clean[end:]


@pytest.mark.parametrize(
    "stream", [IOIABC().pairs, IOI().reference_pairs, IOIABC().reference_pairs]
)
def test_abc_corruption_has_three_names_of_which_none_is_in_the_clean_prompt(stream, sample):
    for pair in sample(stream):
        corrupted_names = set(names_in(pair.corrupted))
        assert len(corrupted_names) == 3
        assert corrupted_names.isdisjoint(names_in(pair.clean))


def test_frames_do_not_begin_with_a_name():
    assert not any(frame.startswith("{") for frame in FRAMES.values())


def could_be_trained_on(frame):
    """Whether the grammar can make the frame from an opening, a clause, a link and a giving."""
    before, _, giving = frame.partition(" {S} ")
    if giving not in grammar.GIVINGS:
        return False
    if any(before == a + link for a in grammar.ARRIVALS for link in grammar.SENTENCE_LINKS):
        return True
    opening, _, clause_and_link = before.partition(" {A} and {B} ")
    openings = {
        **dict.fromkeys(grammar.CLAUSE_OPENINGS, (",",)),
        **dict.fromkeys(grammar.SENTENCE_OPENINGS, grammar.SENTENCE_LINKS),
    }
    return any(
        clause_and_link == clause + link and not is_held_out_frame(clause, giving)
        for clause in grammar.JOINT_CLAUSES
        for link in openings.get(opening, ())
    )


def test_the_check_for_trained_frames_accepts_what_training_shows():
    rng = random.Random(0)
    for _ in range(500):
        frame = training_document(rng, "ioi").frame
        assert could_be_trained_on(frame.removesuffix(" {IO}."))


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_of_the_task_are_not_frames_of_training(frame):
    assert not could_be_trained_on(frame)
