"""Answers of several tokens and places: how they stand behind a prompt, and what is refused."""

import pytest
import torch

from circuitkit.errors import AnswerError, PromptError
from circuitkit.prompts.answers import Entry, laid_out
from circuitkit.prompts.clusters import without_repeats
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs, with_answers_of


def pair(answers=((7, 8, 9),), wrong=((7, 6),), clean=(1, 2, 3), corrupted=(1, 4, 3), **more):
    return PromptPair(list(clean), list(corrupted), list(answers), list(wrong), **more)


def test_the_tokens_of_an_answer_but_the_last_stand_behind_its_prompt():
    pairs = tokenize_pairs([pair(), pair(answers=[[5]], wrong=[[6]], clean=[1, 2, 2])])
    assert pairs.clean.tolist() == [[1, 2, 3, 7, 8, 7], [0, 0, 0, 1, 2, 2]]
    assert pairs.corrupted[0].tolist() == [1, 4, 3, 7, 8, 7]
    assert pairs.branches.number.tolist() == [[0, 0, 0, 1, 1, 2], [0] * 6]
    assert pairs.branches.positions[0].tolist() == [0, 1, 2, 3, 4, 3]
    assert pairs.label_pos.tolist() == [2, 5]
    assert pairs.clean_batch.labelled[0].tolist() == [2, 3, 4, 5]
    assert pairs.roles[0] == {"END": (2, 3), "ANSWERS": (3, 6)}
    assert pairs.roles[1] == {"END": (5, 6)}
    assert pairs.lengths.tolist() == [3, 3]


def test_every_token_of_an_answer_is_predicted_where_the_one_before_it_stands():
    pairs = tokenize_pairs([pair()])
    spelled = pairs.labels.spelled
    assert spelled.ids.tolist() == [[[7, 8, 9], [7, 6, -1]]]
    assert spelled.labels.tolist() == [[[0, 1, 2], [0, 3, 0]]]
    assert spelled.is_wrong.tolist() == [[False, True]]
    assert pairs.answers_of(0) == ([[7, 8, 9]], [[7, 6]])


def test_rows_with_fewer_labels_are_filled_with_columns_that_nothing_reads():
    pairs = tokenize_pairs([pair(), pair(answers=[[5]], wrong=[], clean=[1, 2, 2])])
    labelled = pairs.clean_batch.labelled
    assert labelled.shape == (2, 4)
    assert len(set(labelled[1].tolist())) == 4
    assert pairs.labels.spelled.labels[1].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert pairs.first_read == 2


def test_a_token_of_an_answer_sees_its_prompt_up_to_its_place_and_its_own_answer_alone():
    pairs = tokenize_pairs(
        [pair(answers=[[7, 8, 9], [4, 5]], roles={"A": (1, 2)}, answer_after="A")]
    )
    seen = pairs.branches.visible()[0]
    assert seen[:3, :3].tolist() == torch.ones(3, 3).tril().bool().tolist()
    assert not seen[:3, 3:].any()  # the prompt sees no answer
    columns = {n: seen[n].nonzero()[:, 0].tolist() for n in range(3, 7)}
    assert columns == {3: [0, 1, 3], 4: [0, 1, 3, 4], 5: [0, 1, 5], 6: [0, 1, 6]}


def test_answers_of_one_token_are_laid_out_as_ever():
    pairs = tokenize_pairs([pair(answers=[[7], 8], wrong=[6])])
    assert pairs.branches is pairs.further is pairs.labels.spelled is None
    assert pairs.labels.answers.tolist() == [[7, 8]]
    assert pairs.prompts_alone() is pairs


@pytest.mark.parametrize("side", ["left", "right"])
def test_prompts_alone_are_those_of_the_same_pairs_with_answers_of_one_token(side):
    several = [pair(), pair(answers=[[5]], wrong=[[6]], clean=[1, 2, 3, 3], corrupted=[2, 2, 3, 3])]
    plain = [pair([7], [7 + 1]), pair([5], [6], clean=[1, 2, 3, 3], corrupted=[2, 2, 3, 3])]
    found = tokenize_pairs(several, padding_side=side).prompts_alone()
    known = tokenize_pairs(plain, padding_side=side)
    assert found.clean.tolist() == known.clean.tolist()
    assert found.corrupted.tolist() == known.corrupted.tolist()
    assert found.mask.tolist() == known.mask.tolist()
    assert (found.roles, found.label_pos.tolist()) == (known.roles, known.label_pos.tolist())
    assert found.labels.answers.tolist() == [[7], [5]]


def test_prompts_are_told_apart_by_their_own_tokens_not_by_the_answers_behind_them():
    one, other = tokenize_pairs([pair()]), tokenize_pairs([pair(answers=[[5, 5]])])
    assert one.pair_digests() == other.pair_digests()
    assert one.contents() != other.contents()
    assert one.digest != other.digest
    assert len(without_repeats(tokenize_pairs([pair(), pair(), pair(answers=[[5, 5]])]))) == 2


def test_slots_name_what_stands_in_each_column():
    pairs = tokenize_pairs([pair(roles={"A": (1, 2)}, answer_after="A")])
    assert pairs.slots() == [[(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]]


def test_several_places_have_answers_of_their_own():
    both = {"roles": {"A": (0, 1), "B": (1, 3)}, "answer_after": ["B", "A"]}
    pairs = tokenize_pairs([pair(answers=[[5], [[6, 7]]], wrong=[[8], [9]], **both)])
    assert pairs.clean_batch.labelled.tolist() == [[2, 0, 3]]
    assert (int(pairs.label_pos), pairs.first_read) == (2, 0)
    assert pairs.labels.spelled.ids.tolist() == [[[5, -1], [8, -1], [6, 7], [9, -1]]]
    assert pairs.labels.spelled.place.tolist() == [[0, 0, 1, 1]]
    assert pairs.labels.answers.tolist() == [[5]]


def test_pairs_that_are_read_at_other_places_are_other_pairs():
    roles = {"A": (0, 1), "B": (1, 2)}
    both = [pair([[8], [9]], [[6], [7]], roles=roles, answer_after=["END", name]) for name in "AB"]
    first, second = (tokenize_pairs([each]) for each in both)
    assert first.digest != second.digest
    together = tokenize_pairs([*both, both[0], pair([[8, 5]], [])])
    assert together.contents()[0] == together.contents()[2] != together.contents()[1]
    assert without_repeats(together).n_repeats == 1


def test_answers_of_one_token_at_several_places_need_nothing_behind_the_prompt():
    given = pair([[8], [9]], [[6], [7]], roles={"A": (0, 1)}, answer_after=["END", "A"])
    pairs = tokenize_pairs([given])
    assert pairs.branches is None
    assert pairs.clean_batch.labelled.tolist() == [[2, 0]]
    assert tokenize_pairs([given, pair()]).branches is not None


def test_how_answers_are_read_is_said_in_a_sentence():
    both = {"roles": {"A": (0, 1), "B": (1, 3)}, "answer_after": ["B", "A"]}
    several = tokenize_pairs([pair(answers=[[5], [[6, 7]]], wrong=[], **both)])
    ends = "; the log-probability stands for the logit."
    each = "of up to 2 tokens, each after those before it"
    assert several.reading == f"Read: answers at up to 2 places {each}{ends}"
    assert (
        tokenize_pairs([pair(answers=[[5, 6]], wrong=[])]).reading == f"Read: answers {each}{ends}"
    )
    assert tokenize_pairs([pair(answers=[5], wrong=[])]).reading == ""


def test_exchanged_answers_are_laid_out_anew():
    pairs = tokenize_pairs(
        [pair(), pair(answers=[[5, 5]], wrong=[[6]], clean=[1, 2, 3, 3], corrupted=[2, 2, 3, 3])]
    )
    found = with_answers_of(pairs, [1, 0])
    assert [found.answers_of(row) for row in (0, 1)] == [pairs.answers_of(row) for row in (1, 0)]
    assert found.pair_digests() == pairs.pair_digests()
    assert found.cluster_names == pairs.cluster_names
    assert with_answers_of(pairs, [0, 1]).digest == pairs.digest


def test_answers_of_pairs_with_other_places_cannot_be_exchanged():
    both = {"roles": {"A": (0, 1), "B": (1, 3)}, "answer_after": ["B", "A"]}
    pairs = tokenize_pairs([pair(answers=[[5], [6]], wrong=[], **both), pair()])
    with pytest.raises(PromptError, match="equally many places, got 2 and 1"):
        with_answers_of(pairs, [1, 0])


def test_a_layout_counts_columns_from_the_prompts_start():
    layout = laid_out(4, [1, 3], [Entry((5, 6, 7), place=1), Entry((8,))])
    assert layout.labelled == [1, 3, 4, 5]
    assert layout.labels == [[1, 2, 3], [0]]
    assert (layout.positions, layout.roots) == ([4, 5], [3, 3])


@pytest.mark.parametrize(
    ("given", "kind", "why"),
    [
        ({"answers": [[7, 8], [7, 8, 9]]}, AnswerError, "may begin with another one"),
        ({"answers": [[7, 8]], "wrong": [7]}, AnswerError, "may begin with another one"),
        ({"answers": [[7, 8]], "wrong": [[7, 8]]}, AnswerError, "wrong answer too"),
        ({"answers": [[7, 8], [7, 8]]}, AnswerError, "answers must differ"),
        ({"answers": [[]]}, AnswerError, "got no id"),
        ({"answers": [[7, -1]]}, AnswerError, "the id -1"),
        ({"answers": []}, AnswerError, "needs at least one answer"),
        ({"answer_after": ["END", "END"]}, PromptError, "end at different tokens"),
        ({"answer_after": []}, PromptError, "must be a role, or a list of some"),
        ({"answer_after": ["X"]}, PromptError, "got 'X' among"),
        ({"answer_after": ["END"], "answers": [5]}, PromptError, "a sequence for each role"),
        ({"answer_after": ["END"], "answers": [[5], [6]]}, PromptError, "each of the 1 roles"),
        ({"answer_after": ["END"], "answers": [[]]}, AnswerError, "needs at least one answer"),
        ({"roles": {"ANSWERS": (0, 1)}}, PromptError, "no role may be called 'ANSWERS'"),
    ],
)
def test_what_cannot_be_read_is_refused(given, kind, why):
    with pytest.raises(kind, match=why):
        tokenize_pairs([pair(**given)])
