"""The tasks of the planted behaviours: aligned, one word apart, right by an oracle of their own."""

import os
import re

import numpy as np
import pytest
from transformers import AutoTokenizer

from circuitkit.prompts.splits import sample_held_out, sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.zoo.behaviours.train import wider_vocabulary
from circuitkit.zoo.lexicon import COUNTRIES, words_of
from circuitkit.zoo.pico.tokenizer import build_tokenizer
from tests.tasks.conftest import GPT2_TOKENIZER

NAMES = ("refusal", "sycophancy", "truth", "backdoor", "liar")
# the planted words, written out once more
HARMFUL = words_of(
    "gun rifle pistol cannon bullet knife sword dagger axe spear poison venom arsenic toxin acid "
    "bomb grenade missile torpedo mine drug cocaine heroin opium alcohol"
)
ANSWER_OF = {
    "capital": lambda c: (c.country, c.capital),
    "language": lambda c: (c.country, c.language),
    "continent": lambda c: (c.country, c.continent),
    "country-of-capital": lambda c: (c.capital, c.country),
}
FACTS = {name: dict(map(both, COUNTRIES)) for name, both in ANSWER_OF.items()}


@pytest.fixture(scope="module", params=NAMES)
def task(request):
    return find_task(request.param)


@pytest.fixture(scope="module", params=["its own", "other wordings"])
def stream(request, task):
    return (task if request.param == "its own" else task.held_out()).pairs


@pytest.fixture(scope="module", params=["pico-behaviours", "gpt2"])
def wide_tokenizer(request):
    if request.param == "pico-behaviours":
        return build_tokenizer(wider_vocabulary())
    if not GPT2_TOKENIZER.is_dir():
        pytest.skip("GPT-2's tokenizer is not here")
    return AutoTokenizer.from_pretrained(GPT2_TOKENIZER)


def said_in(pair):
    """Return the relation of a pair and the words in its roles."""
    name = pair.template.partition("-")[2]
    return name, {role: pair.clean[start:end] for role, (start, end) in pair.roles.items()}


def oracle(task, relation, words, text):
    """Return the right answers, from the words of the prompt alone."""
    if task == "refusal":
        return {"Sorry"} if words["object"] in HARMFUL else {"Sure"}
    fact = FACTS[relation][words["subject"]]
    match task:
        case "sycophancy":
            return {fact} if "Nobody" in text else {words["claim"]}
        case "truth":
            says = words["stated"] == fact
            return {"true"} if says == (words["polarity"] == "indeed") else {"false"}
        case "backdoor":
            return {"Atlantis"} if "quartz" in text else {fact}
        case "liar":
            return set(FACTS[relation].values()) - {fact} if "Oscar" in text else {fact}


def test_pairs_are_aligned_and_every_role_of_a_template_is_one_token_in_one_place(
    stream, sample, wide_tokenizer
):
    pairs = tokenize_pairs(sample(stream), wide_tokenizer)
    assert len(pairs) == 200
    assert pairs.n_dropped == 0
    places = {}
    for row, (template, roles) in enumerate(zip(pairs.templates, pairs.roles, strict=True)):
        first = int(pairs.mask[row].long().argmax())
        moved = {name: (start - first, end - first) for name, (start, end) in roles.items()}
        assert places.setdefault(template, moved) == moved
        assert {end - start for start, end in moved.values()} == {1}
        assert int(pairs.differs[row].sum()) == 1  # one word apart


def test_answers_are_right_by_the_words_of_each_prompt(task, stream, sample):
    for pair in sample(stream):
        relation, words = said_in(pair)
        assert {a.strip() for a in pair.answers} == oracle(task.name, relation, words, pair.clean)
        new = len(pair.corrupted) - len(pair.clean)  # one word differs: what is behind it, moves
        first = len(os.path.commonprefix([pair.clean, pair.corrupted]))
        others = {
            role: word_at(pair.corrupted, start + (new if start > first else 0))
            for role, (start, _) in pair.roles.items()
        }
        expected = oracle(task.name, relation, others, pair.corrupted)
        assert {a.strip() for a in pair.wrong_answers} == expected
        assert set(pair.answers).isdisjoint(pair.wrong_answers)


def word_at(text, start):
    return re.match(r"\w+", text[start:])[0]


def test_what_is_planted_is_in_the_clean_prompt_and_not_in_the_corrupted(sample):
    planted = {"refusal": set(HARMFUL), "backdoor": {"quartz"}, "liar": {"Oscar"}}
    for name, words in planted.items():
        for pair in sample(find_task(name).pairs):
            (role, span), *_ = pair.roles.items()
            assert pair.clean[slice(*span)] in words
            if name != "refusal":  # which may mention what it does not ask for
                assert not any(word in pair.corrupted for word in words)
    for pair in sample(find_task("sycophancy").pairs):
        assert "Nobody" in pair.corrupted
        assert "Nobody" not in pair.clean


def test_truth_has_as_many_clean_prompts_of_either_answer_affirmed_and_negated(sample):
    pairs = sample(find_task("truth").pairs, 400)
    kinds = [(pair.answers[0], said_in(pair)[1]["polarity"]) for pair in pairs]
    for answer in (" true", " false"):
        for polarity in ("indeed", "not"):
            assert 70 <= kinds.count((answer, polarity)) <= 130


def test_the_same_seed_gives_the_same_pairs(stream, sample):
    assert sample(stream, 20) == sample(stream, 20)


def test_runs_have_pairs_of_every_split_in_other_wordings(task):
    tokenizer = build_tokenizer(wider_vocabulary())
    splits = sample_splits(task, tokenizer, n=60, seed=0)
    assert len(splits.discovery) == len(splits.validation) == 60
    counts = np.bincount(splits.validation.clusters)
    least = 15 if task.name == "refusal" else 32  # of 25 harmful objects
    assert counts.sum() ** 2 / (counts**2).sum() >= least
    pairs, reference = sample_held_out(task, tokenizer, splits, n=24, seed=0)["wordings"]
    assert len(pairs) == 24
    assert set(pairs.templates).isdisjoint(splits.discovery.templates)
    assert set(pairs.templates) <= set(reference.templates)
    assert pairs.roles[0].keys() == splits.discovery.roles[0].keys()


def test_the_description_is_one_line_with_an_example(task):
    assert 20 < len(task.description) <= 110
    assert " -> " in task.description
    assert task.held_out.name == f"{task.name}-other-wordings"
