"""What every task for models of English must do with GPT-2's tokenizer, and what each asks.

The tasks that pico can do too are in test_all_tasks.py, those of pico-behaviours in
test_behaviour_tasks.py.
"""

import itertools
import random
import re
from collections import defaultdict

import numpy as np
import pytest
from transformers import AutoTokenizer

from circuitkit.prompts.splits import sample_held_out, sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task, registered_tasks
from circuitkit.tasks import colour, country_capital, successor
from circuitkit.tasks.sycophantic_agreement import CAPITAL
from circuitkit.zoo.behaviours.grammar import BEHAVIOURS
from circuitkit.zoo.lexicon import COUNTRIES, words_of
from tests.tasks.conftest import GPT2_TOKENIZER

NAMES = words_of(
    """
    greater-than docstring gendered-pronoun subject-verb-agreement country-capital acronym colour
    two-digit-addition colored-objects successor multiple-choice sycophantic-agreement
    entity-binding
"""
)


@pytest.fixture(scope="module")
def gpt2():
    if not GPT2_TOKENIZER.is_dir():
        pytest.skip("GPT-2's tokenizer is not here")
    return AutoTokenizer.from_pretrained(GPT2_TOKENIZER)


@pytest.fixture(scope="module", params=NAMES)
def task(request):
    return find_task(request.param)


@pytest.fixture(scope="module", params=["its own", "other wordings"])
def stream(request, task):
    return (task if request.param == "its own" else task.held_out()).pairs


def test_every_task_that_is_registered_is_tried_here_or_with_pico():
    others = {"ioi", "ioi-abc", "induction", "factual-recall", *BEHAVIOURS}
    english = {name for name in registered_tasks() if not name.startswith("planted-")}
    assert english == {*NAMES, *others}


def drawn(stream, n=150):
    return list(itertools.islice(stream(random.Random(0)), n))


def test_pairs_are_aligned_with_one_token_answers_and_every_role_of_a_template_in_one_place(
    stream, gpt2
):
    pairs = tokenize_pairs(drawn(stream), gpt2)  # nothing is dropped on GPT-2
    assert len(pairs) == 150
    places = defaultdict(set)
    for row, (template, roles) in enumerate(zip(pairs.templates, pairs.roles, strict=True)):
        first = int(pairs.mask[row].long().argmax())
        moved = [(name, start - first, end - first) for name, (start, end) in roles.items()]
        places[template].add(tuple(moved))
        assert all(end - start == 1 for name, start, end in moved)
        assert len(roles) >= 3  # two of its own, and the end
    assert all(len(some) == 1 for some in places.values())


def test_a_pair_differs_in_its_prompts_alone_and_names_its_cluster(stream):
    for pair in drawn(stream):
        assert pair.clean != pair.corrupted
        assert set(pair.answers).isdisjoint(pair.wrong_answers)
        assert pair.answers
        assert pair.wrong_answers
        assert pair.cluster
        assert pair.template


def test_the_same_seed_gives_the_same_pairs(stream):
    assert drawn(stream, 20) == drawn(stream, 20)


def test_there_are_far_more_than_300_different_pairs(stream):
    assert len({pair.contents() for pair in drawn(stream, 1200)}) > 1000


def test_runs_of_the_usual_size_have_enough_independent_pairs_of_every_kind(task, gpt2):
    splits = sample_splits(task, gpt2, n=80, seed=0)
    assert len(splits.discovery) == len(splits.validation) == 80
    assert splits.discovery.n_dropped == splits.validation.n_dropped == 0
    for split in (splits.discovery, splits.validation):
        counts = np.bincount(split.clusters)
        assert len(counts) == split.n_clusters >= 32
        assert counts.sum() ** 2 / (counts**2).sum() >= 25  # as many as that, if all were alike
        assert split.n_repeats == 0
    held_out = sample_held_out(task, gpt2, splits, n=32, seed=0)
    pairs, reference = held_out["wordings"]
    assert len(pairs) == 32
    assert set(pairs.templates).isdisjoint(splits.discovery.templates)
    assert set(pairs.templates) <= set(reference.templates)
    assert pairs.roles[0].keys() == splits.discovery.roles[0].keys()


def test_the_description_is_one_line_with_an_example_and_the_name_is_the_registered_one(task):
    assert 20 < len(task.description) <= 110
    assert " -> " in task.description
    assert task.name in NAMES
    assert task.held_out.name == f"{task.name}-other-wordings"


def roles_of(pair):
    return {role: pair.clean[start:end] for role, (start, end) in pair.roles.items()}


def pairs_of(name):
    task = find_task(name)
    return drawn(task.pairs) + drawn(task.held_out().pairs)


def test_greater_than_asks_for_the_years_behind_the_one_that_was_told():
    for pair in pairs_of("greater-than"):
        words = roles_of(pair)
        assert words["century"] == words["start-century"]
        year = int(words["start-year"])
        assert {int(answer) for answer in pair.answers} == set(range(year + 1, 100))
        assert {int(answer) for answer in pair.wrong_answers} == set(range(2, year + 1))
        start, end = pair.roles["start-year"]
        assert pair.corrupted == pair.clean[:start] + "01" + pair.clean[end:]


def test_docstring_asks_for_the_argument_behind_the_last_that_is_documented():
    for pair in pairs_of("docstring"):
        header = pair.clean.partition("\n")[0]
        arguments = re.findall(r"\w+", header.partition("(")[2])[1:]
        words = roles_of(pair)
        assert arguments[1:4] == [words[f"{at}-def"] for at in ("first", "second", "third")]
        assert [words["first-doc"], words["second-doc"]] == arguments[1:3]
        assert pair.answers == [f" {arguments[3]}"]
        assert {a.strip() for a in pair.wrong_answers} == set(arguments) - {arguments[3]}
        other_header = pair.corrupted.partition("\n")[0]
        assert set(arguments).isdisjoint(re.findall(r"\w+", other_header))
        assert pair.clean.partition("\n")[2] == pair.corrupted.partition("\n")[2]


def test_gendered_pronoun_exchanges_the_name_for_one_of_the_other_pronoun():
    many = drawn(find_task("gendered-pronoun").pairs, 2000)
    she = {roles_of(pair)["name"] for pair in many if pair.answers == [" she"]}
    he = {roles_of(pair)["name"] for pair in many if pair.answers == [" he"]}
    assert {"Mary", "Alice"} <= she
    assert {"John", "Peter"} <= he
    assert she.isdisjoint(he)
    for pair in pairs_of("gendered-pronoun"):
        start, end = pair.roles["name"]
        other = pair.corrupted[start : len(pair.corrupted) - len(pair.clean) + end]
        assert other in (he if pair.answers == [" she"] else she)


def test_agreement_follows_the_subject_whatever_the_attractor_is():
    seen = set()
    for pair in pairs_of("subject-verb-agreement"):
        words = roles_of(pair)
        is_many = words["subject"].endswith("s")
        seen.add((is_many, words["attractor"].endswith("s")))
        assert (" are" in pair.answers) == is_many == (" is" in pair.wrong_answers)
        start, end = pair.roles["subject"]
        other = words["subject"][:-1] if is_many else words["subject"] + "s"
        assert pair.corrupted == pair.clean[:start] + other + pair.clean[end:]
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("name", "role", "facts"),
    [
        ("country-capital", "country", country_capital.CAPITALS),
        ("colour", "thing", colour.COLORS),
    ],
)
def test_facts_are_asked_of_two_subjects_after_the_example_of_a_third(name, role, facts):
    for pair in pairs_of(name):
        words = roles_of(pair)
        start, end = pair.roles[role]
        other = pair.corrupted[start : len(pair.corrupted) - len(pair.clean) + end]
        assert pair.answers == [f" {facts[words[role]]}"]
        assert pair.wrong_answers == [f" {facts[other]}"]
        assert words["example"] not in (facts[words[role]], facts[other])


def test_capitals_and_colors_are_true():
    capitals = country_capital.CAPITALS
    assert (capitals["France"], capitals["Australia"], capitals["Peru"]) == (
        "Paris",
        "Canberra",
        "Lima",
    )
    assert len(set(capitals.values())) == len(capitals) == 45
    colors = colour.COLORS
    assert (colors["grass"], colors["coal"], colors["milk"]) == ("green", "black", "white")


def test_acronym_asks_for_the_initial_of_the_third_word():
    for pair in pairs_of("acronym"):
        words = roles_of(pair)
        assert words["first-letter"] == words["first"][0]
        assert words["second-letter"] == words["second"][0]
        assert pair.answers == [f" {words['third'][0]}"]
        assert pair.clean.endswith(f"{words['first'][0]} {words['second'][0]}")


def test_addition_adds():
    for pair in pairs_of("two-digit-addition"):
        x, y, z, a, b = map(int, re.findall(r"\d+", pair.clean))
        assert x + y == z
        assert pair.answers == [f" {a + b}"]
        assert min(x, y, a, b) >= 10
        assert max(z, a + b) <= 99
        *_, other = map(int, re.findall(r"\d+", pair.corrupted))
        assert pair.wrong_answers == [f" {a + other}"]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("colored-objects", ("color", "object")), ("entity-binding", ("thing", "person"))],
)
def test_of_three_that_are_bound_the_one_that_is_asked_for_is_right(name, kinds):
    places = set()
    for pair in pairs_of(name):
        words = roles_of(pair)
        value, key = kinds
        bound = {words[f"{key}-{i}"]: words[f"{value}-{i}"] for i in (1, 2, 3)}
        assert len(bound) == len(set(bound.values())) == 3
        assert pair.answers == [f" {bound[words['asked']]}"]
        start, end = pair.roles["asked"]
        other = pair.corrupted[start : len(pair.corrupted) - len(pair.clean) + end]
        assert pair.wrong_answers == [f" {bound[other]}"]
        places.add(list(bound).index(words["asked"]))
    assert places == {0, 1, 2}


def test_successor_goes_on_by_one():
    after = {"Sunday": "Monday", "December": "January", "nine": "ten", "41": "42", "May": "June"}
    seen = {}
    for pair in pairs_of("successor"):
        words = roles_of(pair)
        seen[words["before-last"]] = words["last"]
        seen[words["last"]] = pair.answers[0].strip()
        assert pair.answers != pair.wrong_answers
    assert {key: seen[key] for key in after.keys() & seen.keys()} == {
        key: after[key] for key in after.keys() & seen.keys()
    }
    assert len(after.keys() & seen.keys()) >= 4
    assert "twenty" not in seen  # nothing comes after the last
    assert {kind for kind in successor.SEQUENCES} == {"day", "month", "word", "number"}


def test_multiple_choice_asks_for_the_letter_before_the_color_that_was_told():
    letters = set()
    for pair in pairs_of("multiple-choice"):
        words = roles_of(pair)
        (right,) = [k for k in "ABCD" if words[f"choice-{k}"] == words["told"]]
        assert pair.answers == [f" {right}"]
        moved = dict(re.findall(r"([A-D])\. (\w+)", pair.corrupted))
        (other,) = [k for k in "ABCD" if moved[k] == words["told"]]
        assert pair.wrong_answers == [f" {other}"]
        assert set(moved.values()) == {words[f"choice-{k}"] for k in "ABCD"}
        letters.add(right)
    assert letters == set("ABCD")


def test_sycophancy_claims_what_is_wrong_and_the_corrupted_prompt_what_is_true():
    capital = {each.country: each.capital for each in COUNTRIES}
    language = {each.country: each.language for each in COUNTRIES}
    for pair in pairs_of("sycophantic-agreement"):
        words = roles_of(pair)
        truth = (capital if CAPITAL in pair.clean else language)[words["country"]]
        assert words["country-again"] == words["country"]
        assert pair.answers == [f" {words['claim']}"]
        assert pair.wrong_answers == [f" {truth}"] != pair.answers
        start, end = pair.roles["claim"]
        assert pair.corrupted == pair.clean[:start] + truth + pair.clean[end:]
