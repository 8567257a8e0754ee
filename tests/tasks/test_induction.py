"""Induction: the clean prompt holds the answer once, the corrupted one does not tell it."""

import pytest

from circuitkit.tasks.induction import NAME_FRAMES, PERIODS, Induction
from circuitkit.zoo.lexicon import SEQUENCE_WORDS


@pytest.fixture
def lists(sample):
    return [p for p in sample(Induction().pairs, 400) if p.template.startswith("period-")]


@pytest.fixture
def name_texts(sample):
    return [p for p in sample(Induction().pairs, 400) if p.template.startswith("name-")]


def words_of(text):
    return text.replace(",", " ").replace(".", " ").split()


def test_half_of_the_pairs_are_lists_and_all_templates_occur(lists, name_texts):
    assert len(lists) == len(name_texts) == 200
    assert {pair.template for pair in lists} == {f"period-{period}" for period in PERIODS}
    assert {pair.template for pair in name_texts} == set(NAME_FRAMES)


def test_roles_are_the_earlier_last_word_and_the_answer_after_it(lists, name_texts):
    for pair in lists + name_texts:
        (start, end), (next_start, next_end) = pair.roles["source"], pair.roles["source+1"]
        assert pair.clean[start:end] == words_of(pair.clean)[-1]
        assert next_start == end + 1
        assert pair.answers == [" " + pair.clean[next_start:next_end]]
        assert next_end < len(pair.clean) - (end - start)


def test_a_list_repeats_with_its_period(lists):
    for pair in lists:
        period = int(pair.template.removeprefix("period-"))
        words = words_of(pair.clean.removeprefix("List: "))
        assert len(words) > period
        assert len(set(words[:period])) == period
        assert words[period:] == words[: len(words) - period]
        assert pair.answers == [" " + words[len(words) - period]]


def test_nothing_repeats_in_the_corrupted_list_and_its_end_is_the_same(lists):
    for pair in lists:
        period = int(pair.template.removeprefix("period-"))
        clean = words_of(pair.clean.removeprefix("List: "))
        corrupted = words_of(pair.corrupted.removeprefix("List: "))
        assert corrupted[period:] == clean[period:]
        assert set(corrupted[:period]).isdisjoint(clean)
        assert len(set(corrupted)) == len(corrupted)


def test_the_wrong_answer_of_a_list_stands_alone_in_it_and_not_near_the_answer(lists):
    for pair in lists:
        words = words_of(pair.clean.removeprefix("List: "))
        wrong, right = pair.wrong_answers[0].strip(), pair.answers[0].strip()
        assert words.count(wrong) == words.count(right) == 1
        assert words.index(wrong) - words.index(right) >= 2
        assert wrong in SEQUENCE_WORDS


def test_the_corrupted_text_says_no_surname_or_the_wrong_one_for_the_last_person(name_texts):
    for pair in name_texts:
        words = words_of(pair.corrupted)
        followers = {
            after for before, after in zip(words, words[1:], strict=False) if before == words[-1]
        }
        assert words_of(pair.clean)[-1] == words[-1]
        assert followers <= {pair.wrong_answers[0].strip()}
        assert pair.wrong_answers[0].strip() in words
