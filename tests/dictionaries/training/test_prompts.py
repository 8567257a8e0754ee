"""Prompts of training: the same for a step whenever it comes, and none of those held out."""

import random

import pytest

from circuitkit.dictionaries.training.prompts import (
    DrawnPrompts,
    GivenPrompts,
    prompts_of_pairs,
    prompts_of_texts,
)
from circuitkit.errors import PromptError
from circuitkit.prompts.splits import sample_splits
from circuitkit.task import find_task


def test_a_list_is_gone_through_whole_before_any_prompt_comes_again():
    source = GivenPrompts(tuple((n,) for n in range(10)), (), "ten", seed=1)
    first = [ids for step in range(5) for ids in source.of_step(step, 2)]
    again = [ids for step in range(5, 10) for ids in source.of_step(step, 2)]
    assert sorted(first) == sorted(again) == [(n,) for n in range(10)]
    assert first != again
    assert source.of_step(7, 2) == again[4:6]  # a step needs none of those before
    assert len(source.of_step(3, 4)) == 4  # over the end of a round


def test_drawn_prompts_depend_on_the_step_and_the_seed_alone():
    def draw(rng):
        return [rng.randrange(1000) for _ in range(3)]

    source = DrawnPrompts(draw, "numbers", seed=2, n_held_out=4)
    assert source.of_step(5, 3) == source.of_step(5, 3)
    assert source.of_step(5, 3) != source.of_step(6, 3)
    assert source.of_step(5, 3) != DrawnPrompts(draw, "numbers", seed=3).of_step(5, 3)
    assert len(source.held_out()) == 4
    assert not {tuple(p) for p in source.held_out()} & {tuple(p) for p in source.of_step(0, 9)}


def test_no_prompt_of_a_task_is_both_trained_on_and_held_out(pico):
    splits = sample_splits(find_task("ioi"), pico.tokenizer, n=20, seed=0)
    source = prompts_of_pairs([splits.discovery], splits.validation, "ioi", seed=0)
    assert set(source.held_out()).isdisjoint(source.train)
    assert len(set(source.train)) == len(source.train) > 20
    with pytest.raises(PromptError, match="at least 10 different prompts"):
        prompts_of_pairs([splits.validation], splits.validation, "ioi", seed=0)


def write_texts(tmp_path, n):
    words = ["table", "chair", "window", "door", "wall", "floor", "roof", "stone"]
    rng = random.Random(0)
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(" ".join(rng.choices(words, k=9)) for _ in range(n)) + "\n\n")
    return path


def test_each_tenth_line_of_a_text_file_is_held_out_and_long_lines_are_cut(pico, tmp_path):
    path = write_texts(tmp_path, 40)
    source = prompts_of_texts(path, pico.tokenizer, longest=6, bos="auto", seed=0)
    assert (len(source.train), len(source.test)) == (36, 4)
    assert set(source.train).isdisjoint(source.test)
    assert {len(ids) for ids in source.train} == {6}
    assert {ids[0] for ids in source.train} == {pico.tokenizer.bos_token_id}


def test_too_few_texts_and_files_that_are_no_text_are_refused(pico, tmp_path):
    few = write_texts(tmp_path, 5)
    with pytest.raises(PromptError, match=r"texts .*: must hold at least 10 different prompts"):
        prompts_of_texts(few, pico.tokenizer, longest=9, bos="auto", seed=0)
    few.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptError, match=r"texts .*: must be a text file in UTF-8"):
        prompts_of_texts(few, pico.tokenizer, longest=9, bos="auto", seed=0)
    with pytest.raises(PromptError, match="must be a text file in UTF-8"):
        prompts_of_texts(tmp_path / "none", pico.tokenizer, longest=9, bos="auto", seed=0)
