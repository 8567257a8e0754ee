"""The tasks of the planted models: aligned, and right by an oracle that knows no blueprint."""

from functools import cache

import pytest

from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task, registered_tasks
from circuitkit.tasks import planted as module
from circuitkit.zoo.planted import BLUEPRINTS, DIFFICULTIES, planted

CLASSES = [
    module.PlantedInduction,
    module.PlantedPredecessor,
    module.PlantedIOI,
    module.PlantedSkipTrigram,
    module.PlantedFacts,
    module.PlantedComparison,
    module.PlantedShiftedComparison,
]
# what the models know, written out once more
PHRASES = {
    ("keep", "in"): "mind",
    ("keep", "at"): "bay",
    ("fall", "in"): "love",
    ("fall", "at"): "odds",
    ("stay", "in"): "touch",
    ("stay", "at"): "home",
}
SUBJECTS = {
    "zorb": {"colour": "red", "land": "peru"},
    "quill": {"colour": "green", "land": "peru"},
    "mard": {"colour": "blue", "land": "chad"},
    "tiso": {"colour": "white", "land": "chad"},
    "venk": {"colour": "red", "land": "oman"},
    "lup": {"colour": "green", "land": "oman"},
    "brasp": {"colour": "blue", "land": "laos"},
    "noil": {"colour": "white", "land": "laos"},
}


@pytest.fixture(params=CLASSES, ids=lambda task: task.name)
def task(request):
    return request.param()


@cache
def tokenizer_of(task_name):
    shifted = task_name == "planted-comparison-shifted"
    name = "planted-comparison:positions" if shifted else task_name
    found = planted(name)
    assert found.task == task_name
    return found.model().tokenizer


def answer(task_name: str, prompt: str) -> str:
    """Return the right continuation of a clean prompt."""
    words = prompt.split()
    last = words[-1]
    if task_name in ("planted-induction", "planted-predecessor"):
        step = 1 if task_name == "planted-induction" else -1
        return words[words.index(last) + step]
    if task_name == "planted-ioi":
        return next(word for word in (words[0], words[2]) if words.count(word) == 1)
    if task_name == "planted-skip-trigram":
        return next(PHRASES[word, last] for word in words if (word, last) in PHRASES)
    if task_name == "planted-facts":
        return next(SUBJECTS[word][last] for word in words if word in SUBJECTS)
    first, second = (int(side.replace(" ", "")) for side in digits(prompt).split("vs"))
    return "larger" if first > second else "smaller"


def digits(prompt: str) -> str:
    return prompt.removeprefix("so ").removesuffix("?")


def test_pairs_are_aligned_and_answers_are_single_known_tokens(task, sample):
    tokenizer = tokenizer_of(task.name)
    drawn = sample(task.pairs)
    pairs = tokenize_pairs(drawn, tokenizer)
    assert len(pairs) == 200
    assert pairs.n_dropped == 0
    assert pairs.labels.answers.shape == (200, 1)
    assert all(tokenizer.unk_token not in tokenizer.tokenize(pair.clean) for pair in drawn)
    assert all(tokenizer.unk_token not in tokenizer.tokenize(pair.corrupted) for pair in drawn)


def test_the_answer_is_right_and_no_wrong_answer_is(task, sample):
    for pair in sample(task.pairs):
        right = answer(task.name, pair.clean)
        assert pair.answers == [right]
        assert right not in pair.wrong_answers
        assert len(set(pair.wrong_answers)) == len(pair.wrong_answers) >= 1


def test_the_same_seed_gives_the_same_pairs(task, sample):
    assert sample(task.pairs, 20) == sample(task.pairs, 20)


def test_pairs_vary(task, sample):
    drawn = sample(task.pairs)
    assert len({pair.clean for pair in drawn}) > 100
    assert len({pair.answers[0] for pair in drawn}) > 1
    assert all(pair.clean != pair.corrupted for pair in drawn)


def test_description_is_one_line_with_an_example(task):
    assert 20 < len(task.description) <= 110
    assert "->" in task.description
    assert "'" in task.description


def test_every_task_is_registered_by_its_name(task):
    assert registered_tasks()[task.name] is type(task)
    assert type(find_task(task.name)) is type(task)


def test_every_planted_model_has_its_task():
    tasks = registered_tasks()
    for name in BLUEPRINTS:
        for difficulty in DIFFICULTIES:
            assert planted(f"{name}:{difficulty}").task in tasks


@pytest.mark.parametrize("name", ["planted-induction", "planted-predecessor"])
def test_corrupted_lists_share_no_word_and_no_word_but_the_last_occurs_twice(name, sample):
    for pair in sample(find_task(name).pairs):
        clean, corrupted = pair.clean.split(), pair.corrupted.split()
        assert set(clean).isdisjoint(corrupted)
        assert len(set(clean)) == len(clean) - 1
        assert clean.index(clean[-1]) == corrupted.index(corrupted[-1]) < len(clean) - 1
        assert set(pair.wrong_answers) < set(clean)


def test_the_corrupted_names_are_three_others(sample):
    for pair in sample(find_task("planted-ioi").pairs):
        clean, corrupted = pair.clean.split(), pair.corrupted.split()
        names = {clean[0], clean[2], clean[4]}
        others = {corrupted[0], corrupted[2], corrupted[4]}
        assert len(names) == 2
        assert len(others) == 3
        assert names.isdisjoint(others)
        assert pair.wrong_answers == [clean[4]]


def test_wrong_answers_of_a_phrase_are_of_the_other_link_and_of_another_verb(sample):
    for pair in sample(find_task("planted-skip-trigram").pairs):
        last = pair.clean.split()[-1]
        verb = next(word for word in pair.clean.split() if (word, last) in PHRASES)
        same_verb, same_link = pair.wrong_answers
        assert same_verb == PHRASES[verb, "at" if last == "in" else "in"]
        assert same_link in {found for (_, link), found in PHRASES.items() if link == last}
        assert pair.corrupted.split()[-1] == "of"


def test_the_corrupted_question_has_another_answer_of_another_relation(sample):
    for pair in sample(find_task("planted-facts").pairs):
        asked, instead = pair.clean.split()[-1], pair.corrupted.split()[-1]
        assert {asked, instead} == {"colour", "land"}
        other = next(word for word in pair.corrupted.split() if word in SUBJECTS)
        assert SUBJECTS[other][asked] == pair.wrong_answers[0] != pair.answers[0]


@pytest.mark.parametrize("name", ["planted-comparison", "planted-comparison-shifted"])
def test_the_corrupted_comparison_goes_the_other_way_and_half_have_equal_tens(name, sample):
    drawn: list[PromptPair] = sample(find_task(name).pairs)
    for pair in drawn:
        assert answer(name, pair.corrupted) == pair.wrong_answers[0] != pair.answers[0]
    equal = [digits(pair.clean).split()[0] == digits(pair.clean).split()[3] for pair in drawn]
    assert 0.35 < sum(equal) / len(equal) < 0.65


def test_both_layouts_of_the_shifted_comparison_occur(sample):
    drawn = sample(find_task("planted-comparison-shifted").pairs)
    shifted = [pair.clean.startswith("so ") for pair in drawn]
    assert 0.35 < sum(shifted) / len(shifted) < 0.65
    assert [pair.template for pair in drawn] == ["so" if far else "bare" for far in shifted]
    assert all(p.corrupted.startswith("so ") == far for p, far in zip(drawn, shifted, strict=True))
