"""What every task that ships must do, with pico's tokenizer and with GPT-2's."""

from collections import defaultdict

import pytest

from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.tasks.factual_recall import FactualRecall
from circuitkit.tasks.induction import Induction
from circuitkit.tasks.ioi import IOI, IOIABC

TASKS = [IOI, IOIABC, Induction, FactualRecall]


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def task(request):
    return request.param()


@pytest.fixture(params=["pairs", "reference_pairs"])
def stream(request, task):
    return getattr(task, request.param)


def test_pairs_are_aligned_and_answers_are_single_tokens(stream, sample, tokenizer):
    pairs = tokenize_pairs(sample(stream), tokenizer)
    assert len(pairs) == 200
    assert pairs.labels.answers.shape == pairs.labels.wrong_answers.shape == (200, 1)


def test_answer_differs_from_wrong_answer(stream, sample, tokenizer):
    labels = tokenize_pairs(sample(stream), tokenizer).labels
    assert bool((labels.answers != labels.wrong_answers).all())


def test_clean_prompt_differs_from_corrupted(stream, sample):
    assert all(pair.clean != pair.corrupted for pair in sample(stream))


def test_pairs_of_a_template_have_every_role_at_the_same_tokens(stream, sample, tokenizer):
    by_template = defaultdict(list)
    for pair in sample(stream):
        by_template[pair.template].append(pair)
    for pairs in by_template.values():
        layouts = tokenize_pairs(pairs, tokenizer).roles
        assert all(layout == layouts[0] for layout in layouts)


def test_every_role_but_the_end_is_one_token(stream, sample, tokenizer):
    for roles in tokenize_pairs(sample(stream), tokenizer).roles:
        assert {end - start for start, end in roles.values()} == {1}


def test_the_same_seed_gives_the_same_pairs(stream, sample):
    assert sample(stream) == sample(stream)


def test_the_corrupted_prompts_of_reference_pairs_cover_every_template(task, tokenizer):
    splits = sample_splits(task, tokenizer, n=100, seed=0)
    templates = set(splits.discovery.templates) | set(splits.validation.templates)
    assert templates <= set(splits.reference.templates)


def test_description_is_one_line_with_an_example(task):
    assert 20 < len(task.description) <= 110
