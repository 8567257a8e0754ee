"""What `new-task` writes: a task with its comments, and its test. @WORDS@ stand for names."""

TASK = '''"""@TITLE@: say here what the model must do, and what the corrupted prompt lacks."""

import random
from collections.abc import Iterator

from circuitkit import LogitDifference, PromptPair, Task, fill

# A frame is a sentence with slots. Pairs of one template must have equally many tokens: words that
# may stand in one slot are equally long, best one token each, with a space before them.
FRAMES = {
    "said": "Then {name} said that the capital of {country} is",
    "city": "Again {name} said that the capital city of {country} is",
}
# Other sentences for the same: a circuit that was found on FRAMES is judged on these as well.
OTHER_FRAMES = {
    "knows": "As {name} knows, the capital of {country} is",
}
# Prompts must be many: finding, judging and means use 400 pairs that share none (less with --n).
NAMES = [
    *("Mary", "John", "James", "David", "Michael", "Robert", "William", "Richard"),
    *("Daniel", "Paul", "Mark", "George", "Brian", "Kevin", "Sarah", "Laura"),
]
# A verdict needs at least 16 independent pairs, so at least 16 facts.
FACTS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Spain": "Madrid",
    "Italy": "Rome",
    "Greece": "Athens",
    "Russia": "Moscow",
    "Norway": "Oslo",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Iraq": "Baghdad",
    "England": "London",
    "Ireland": "Dublin",
    "Canada": "Ottawa",
    "China": "Beijing",
    "Iran": "Tehran",
    "Syria": "Damascus",
    "Sweden": "Stockholm",
    "Austria": "Vienna",
    "Belgium": "Brussels",
    "Poland": "Warsaw",
    "Turkey": "Ankara",
    "Thailand": "Bangkok",
}


class @CLASS@OtherWordings(Task):
    """The same in frames that are not in FRAMES."""

    name = "@NAME@-other-wordings"
    metric = LogitDifference()  # `circuitkit run --help` lists others
    frames = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield pairs without end. All that is random comes from `rng`."""
        while True:
            template = rng.choice(sorted(self.frames))
            country, other = rng.sample(sorted(FACTS), 2)
            name = rng.choice(NAMES)
            # fill() also returns where each slot stands, in characters
            clean, spans = fill(self.frames[template], name=name, country=country)
            corrupted, _ = fill(self.frames[template], name=name, country=other)
            yield PromptPair(
                clean=clean,  # the prompt that shows the behaviour
                corrupted=corrupted,  # the same, without what the behaviour depends on
                answers=[f" {FACTS[country]}"],  # right after the clean prompt
                wrong_answers=[f" {FACTS[other]}"],  # right after the corrupted one
                roles=spans,  # names for tokens that matter
                template=template,  # pairs of one template are averaged position by position
                cluster=f"capital of {country}",  # pairs that test one fact count as one
            )


class @CLASS@(@CLASS@OtherWordings):
    """@TITLE@: 'Then Mary said that the capital of France is' -> Paris."""

    name = "@NAME@"
    frames = FRAMES
    held_out = @CLASS@OtherWordings
'''
TEST = '''"""The task @NAME@: its pairs fit the tokenizer, and ask what they should."""

import itertools
import random
from pathlib import Path

import pytest

from circuitkit import find_task, load_model, tokenize_pairs

MODEL = "pico"  # any model that is to do the task: its tokenizer must know the words


@pytest.fixture(scope="module")
def task():
    return find_task(f"{Path(__file__).with_name('@FILE@.py')}:@CLASS@")


@pytest.fixture(scope="module")
def tokenizer():
    return load_model(MODEL).tokenizer


@pytest.fixture(scope="module", params=["its own", "other wordings"])
def pairs(request, task):
    asked = task if request.param == "its own" else task.other_wordings
    return list(itertools.islice(asked.pairs(random.Random(0)), 50))


def test_clean_and_corrupted_prompts_have_equally_many_tokens(pairs, tokenizer):
    assert len(tokenize_pairs(pairs, tokenizer)) == len(pairs)


def test_the_same_seed_gives_the_same_pairs(task):
    one, other = (list(itertools.islice(task.pairs(random.Random(3)), 5)) for _ in range(2))
    assert one == other


def test_the_answer_belongs_to_the_clean_prompt_and_the_wrong_one_to_the_corrupted(pairs):
    answer = {pair.clean: pair.answers for pair in pairs}
    asked_both_ways = [pair for pair in pairs if pair.corrupted in answer]
    assert asked_both_ways
    for pair in asked_both_ways:
        assert pair.wrong_answers == answer[pair.corrupted]
'''
