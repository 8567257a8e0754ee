"""Repeats count once, and pairs that were drawn together are one cluster."""

import json
import random
from functools import cache

import numpy as np
import pytest

from circuitkit.errors import PromptError
from circuitkit.prompts.clusters import without_repeats
from circuitkit.prompts.file import discovery_pairs, read_prompt_file, splits_of
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import Task, find_task, registered_tasks
from circuitkit.zoo import load_model

NAMES = ("Mary", "John", "Tom", "James", "Dan", "Martin", "Amy", "Alice", "Paul", "Mark")
PLACES = ("store", "market", "school", "park", "garden", "station", "library", "museum")

loaded = cache(load_model)


def pair(*clean, answers=(9,), wrong=(), corrupted=None, **rest):
    corrupted = [*clean[:-1], clean[-1] + 50] if corrupted is None else corrupted
    return PromptPair(list(clean), corrupted, list(answers), list(wrong), **rest)


def clusters(*pairs, **settings):
    return tokenize_pairs(pairs, **settings).clusters.tolist()


def ioi_pair(io, subject, place):
    text = f"When {io} and {subject} went to the {place}, {subject} gave a drink to"
    return PromptPair(text, text.replace(f", {subject}", f", {io}"), [f" {io}"], [f" {subject}"])


@pytest.fixture(scope="module")
def tokenizer():
    return loaded("pico").tokenizer


def test_prompts_of_one_answer_that_share_half_of_their_tokens_are_one_cluster():
    assert clusters(pair(1, 2, 3, 4), pair(1, 2, 5, 6)) == [0, 0]
    assert clusters(pair(1, 2, 3, 4), pair(1, 6, 5, 7)) == [0, 1]
    assert clusters(pair(1, 2, 3, 4), pair(1, 2, 5, 6, answers=[8])) == [0, 1]


def test_the_order_of_answers_makes_no_other_cluster_and_wrong_answers_do_not_either():
    one = pair(1, 2, 3, answers=[7, 8], wrong=[5])
    assert clusters(one, pair(1, 2, 4, answers=[8, 7], wrong=[6])) == [0, 0]


def test_what_is_put_in_front_of_a_prompt_makes_no_other_cluster():
    pairs = [pair(1, 2, 3, 4), pair(11, 1, 2, 3, 4), pair(11, 12, 1, 2, 3, 4)]
    for side in ("left", "right"):
        assert clusters(*pairs, padding_side=side) == [0, 0, 0]


def test_a_short_prompt_at_the_end_of_a_much_longer_one_is_no_near_repeat():
    assert clusters(pair(1, 2), pair(5, 6, 7, 8, 1, 2)) == [0, 1]


def test_prompts_are_compared_from_where_the_answer_is_read():
    early = {"roles": {"A": (1, 2)}, "answer_after": "A"}
    late = {"roles": {"A": (3, 4)}, "answer_after": "A"}
    assert clusters(pair(1, 2, 7, 8, **early), pair(5, 6, 1, 2, **late)) == [0, 0]
    assert clusters(pair(1, 2, 7, 8, **early), pair(5, 6, 1, 2, **early)) == [0, 1]


def test_a_near_repeat_of_a_near_repeat_is_in_the_cluster_whatever_the_order():
    chain = [pair(1, 2, 3, 4), pair(1, 2, 5, 6), pair(7, 8, 5, 6), pair(21, 22, 23, 24)]
    for order in ([0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 0, 1]):
        found = tokenize_pairs([chain[i] for i in order])
        names = dict(zip(order, found.cluster_names, strict=True))
        assert names[0] == names[1] == names[2] != names[3]
        assert names[0] == tokenize_pairs(chain).cluster_names[0]
        assert found.n_clusters == 2


def test_pairs_that_name_a_cluster_are_of_that_one_and_near_no_other():
    named = [pair(1, 2, 3, cluster="a"), pair(1, 2, 4, cluster="b"), pair(5, 6, 7, cluster="a")]
    assert clusters(*named, pair(1, 2, 8)) == [0, 1, 0, 2]
    assert tokenize_pairs(named).cluster_names == ("a", "b", "a")


def test_names_cannot_part_pairs_of_one_clean_prompt():
    named = [pair(1, 2, 3, cluster=f"c{i}", wrong=[20 + i], answers=[9 + i]) for i in range(4)]
    assert clusters(*named) == [0, 0, 0, 0]


def test_the_same_sentence_with_other_places_is_one_cluster_and_other_names_are_others(tokenizer):
    near = [ioi_pair("Mary", "John", place) for place in PLACES]
    far = [ioi_pair(io, "Laura", "store") for io in NAMES]
    assert tokenize_pairs(near, tokenizer).n_clusters == 1
    assert tokenize_pairs(far, tokenizer).n_clusters == len(NAMES)


def test_a_selection_keeps_who_is_with_whom_and_counts_clusters_from_zero():
    chain = tokenize_pairs([pair(1, 2, 3, 4), pair(1, 2, 5, 6), pair(7, 8, 5, 6), pair(0, 0, 9, 9)])
    assert chain.select([3, 2, 0]).clusters.tolist() == [0, 1, 1]  # their link is left out
    assert np.array_equal(next(chain.batches(2)).clusters, [0, 0])


def test_a_repeat_is_what_the_model_cannot_tell_apart():
    one = pair(1, 2, 3, answers=[7, 8], wrong=[5], roles={"A": (0, 1)})
    same = pair(1, 2, 3, answers=[8, 7], wrong=[5], template="3 tokens", cluster="other")
    others = [
        pair(1, 2, 4, answers=[7, 8], wrong=[5]),
        pair(1, 2, 3, answers=[7, 8], wrong=[5], corrupted=[1, 2, 4]),
        pair(1, 2, 3, answers=[7], wrong=[5]),
        pair(1, 2, 3, answers=[7, 8], wrong=[6]),
        pair(1, 2, 3, answers=[7, 8], wrong=[5], roles={"A": (0, 1)}, answer_after="A"),
    ]
    for side in ("left", "right"):
        longer = pair(4, 4, 4, 4, 4)
        pairs = tokenize_pairs([longer, one, same, *others], padding_side=side)
        kept = without_repeats(pairs)
        assert (len(kept), kept.n_repeats) == (7, 1)
        assert kept.pairs[1] is one
        assert without_repeats(kept) is kept


def test_a_prompt_of_an_earlier_split_is_left_out_and_counted():
    earlier = tokenize_pairs([pair(1, 2, 3)])
    swapped = PromptPair([1, 2, 53], [4, 4, 4], [9])
    later = tokenize_pairs([pair(1, 2, 3, answers=[8]), swapped, pair(7, 7, 7)])
    kept = without_repeats(later, [earlier])
    assert kept.clean.tolist() == [[7, 7, 7]]
    assert kept.n_repeats == 2
    with pytest.raises(PromptError, match="a split must hold a pair that is in no other, got 1 p"):
        without_repeats(earlier, [earlier])


def lines_of(tmp_path, pairs):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in pairs))
    return read_prompt_file(path)


def line(*clean, **more):
    return {"clean": [*clean], "corrupted": [*clean[:-1], clean[-1] + 50], "answers": [9], **more}


def test_repeated_lines_of_a_file_count_once_in_every_split_and_their_clusters_are_read(tmp_path):
    lines = lines_of(
        tmp_path,
        [
            *[line(1, 2, 3, split="validation", cluster="a")] * 20,
            line(4, 4, 4, split="validation", cluster="a"),
            *[line(6, 7, 8)] * 3,
            *[line(11, 12, 13, split="reference")] * 2,
        ],
    )
    splits = splits_of(lines, None, seed=0)
    assert [len(s) for s in (splits.discovery, splits.validation, splits.reference)] == [1, 2, 1]
    assert [s.n_repeats for s in (splits.discovery, splits.validation)] == [2, 19]
    assert splits.validation.cluster_names == ("a", "a")
    assert discovery_pairs(lines, None).n_repeats == 2


@pytest.mark.parametrize("cluster", ["", 3, ["a"], "a\u0000"])
def test_a_cluster_that_is_no_text_is_refused(tmp_path, cluster):
    with pytest.raises(PromptError, match="line 1: cluster must be text without control"):
        lines_of(tmp_path, [line(1, 2, 3, cluster=cluster)])


def test_a_cluster_of_a_task_that_is_no_text_is_refused():
    with pytest.raises(PromptError, match="cluster must be text or None, got 3"):
        tokenize_pairs([pair(1, 2, 3, cluster=3)])


def test_text_here_and_its_token_ids_there_are_a_prompt_in_two_splits(tmp_path, tokenizer):
    one = ioi_pair("Mary", "John", "store")
    read = tokenize_pairs([one], tokenizer)
    as_text = {"clean": one.clean, "corrupted": one.corrupted, "answers": one.answers}
    as_ids = {
        "clean": read.clean[0].tolist(),
        "corrupted": read.corrupted[0].tolist(),
        "answers": one.answers,
        "split": "validation",
    }
    with pytest.raises(PromptError, match="discovery and validation must not share a prompt"):
        splits_of(lines_of(tmp_path, [as_text, as_ids]), tokenizer, seed=0)


class Spaced(Task):
    """The same few sentences, written with more and more spaces, which no token shows."""

    name = "spaced"

    def pairs(self, rng):
        for n in range(400):
            clean = [n % 24, *[7] * 2]
            yield PromptPair(clean if n < 24 else tuple([*clean[:1], 7, 7]), [50 + n, 7, 7], [3])


def test_the_model_sees_no_pair_of_a_task_twice_in_its_splits():
    splits = sample_splits(Spaced(), None, n=8, seed=0)
    seen = [d for s in (splits.discovery, splits.validation) for d in s.prompt_digests]
    assert len(seen) == len(set(seen))


# tasks for models of English: tests/tasks/test_shipped_tasks.py
OF_PICO = ("ioi", "ioi-abc", "induction", "factual-recall")
OWN = [name for name in sorted(registered_tasks()) if name in OF_PICO or name.startswith("planted")]


@pytest.mark.parametrize("name", OWN)
def test_a_task_that_ships_has_enough_independent_pairs_to_judge(name):
    home = name.removesuffix("-shifted")
    model = loaded(f"{home}:plain" if name.startswith("planted") else "pico")
    splits = sample_splits(find_task(name), model.tokenizer, n=100, seed=0)
    for split in (splits.discovery, splits.validation):
        counts = np.bincount(split.clusters)
        assert len(counts) == split.n_clusters >= 64
        assert counts.sum() ** 2 / (counts**2).sum() >= 50  # as many as that, if all were alike
        assert split.n_repeats == 0


def test_many_pairs_of_one_answer_are_compared_in_seconds():
    rng = random.Random(0)
    pairs = [pair(*(rng.randrange(40) for _ in range(12))) for _ in range(1500)]
    assert tokenize_pairs(pairs).n_clusters > 1200
