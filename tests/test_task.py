import itertools
import random
from dataclasses import replace

import pytest

from circuitkit.errors import PromptError, TaskError
from circuitkit.prompts.file import discovery_pairs, read_prompt_file, splits_of
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import MIN_REFERENCE_PER_TEMPLATE, sample_held_out, sample_splits
from circuitkit.task import Task, find_task, registered_tasks


class Digits(Task):
    """Pairs of three random token ids."""

    name = "digits"
    n_values = 30

    def pairs(self, rng):
        while True:
            clean = [rng.randrange(self.n_values) for _ in range(3)]
            corrupted = [*clean[:2], rng.randrange(self.n_values)]
            yield PromptPair(clean, corrupted, [0], [1], template=f"t{clean[0] % 4}")


def prompts_of(pairs):
    return {prompt for pair in pairs.pairs for prompt in pair.contents()}


def test_splits_share_no_prompt_and_have_the_sizes_asked_for():
    splits = sample_splits(Digits(), None, n=40, seed=0)
    assert (len(splits.discovery), len(splits.validation)) == (40, 40)
    assert len(splits.reference) >= 80
    groups = [prompts_of(s) for s in (splits.discovery, splits.validation, splits.reference)]
    for one, other in itertools.combinations(groups, 2):
        assert not one & other


def test_no_pair_occurs_twice_in_a_split():
    pairs = sample_splits(Digits(), None, n=60, seed=1).discovery.pairs
    assert len({pair.contents() for pair in pairs}) == 60


def test_the_same_seed_gives_the_same_splits():
    one, same, other = (sample_splits(Digits(), None, n=9, seed=s) for s in (3, 3, 4))
    assert one.validation.pairs == same.validation.pairs
    assert one.validation.pairs != other.validation.pairs


def test_discovery_pairs_do_not_depend_on_how_many_validate():
    few = sample_splits(Digits(), None, n=9, seed=0, n_validation=5)
    many = sample_splits(Digits(), None, n=9, seed=0, n_validation=50)
    assert few.discovery.pairs == many.discovery.pairs
    assert len(many.validation) == 50


def test_every_template_has_enough_reference_prompts():
    splits = sample_splits(Digits(), None, n=6, seed=0)
    used = set(splits.discovery.templates) | set(splits.validation.templates)
    for template in used:
        assert splits.reference.templates.count(template) >= MIN_REFERENCE_PER_TEMPLATE


def test_reference_pairs_can_come_from_elsewhere():
    class Other(Digits):
        """With another reference."""

        def reference_pairs(self, rng):
            for pair in self.pairs(rng):
                yield PromptPair(pair.clean, [29, 29, 29], [0], [1], template=pair.template)

    # every reference pair shares one corrupted prompt, which is allowed within a split
    splits = sample_splits(Other(), None, n=5, seed=0)
    assert {tuple(row) for row in splits.reference.corrupted.tolist()} == {(29, 29, 29)}


def test_a_task_that_runs_dry_is_refused_with_how_far_it_came():
    class Few(Digits):
        """Only eight prompts."""

        n_values = 2

    with pytest.raises(TaskError, match="'digits': must yield more different pairs, got"):
        sample_splits(Few(), None, n=40, seed=0)


class Eighty(Task):
    """Eighty pairs that share no prompt."""

    name = "eighty"

    def pairs(self, rng):
        while True:
            n = rng.randrange(80)
            yield PromptPair([n, 1], [n, 2], [3], [4])


@pytest.mark.parametrize("n", [50, 100])
def test_a_task_that_runs_dry_says_how_many_pairs_are_needed_and_what_would_fit(n):
    with pytest.raises(TaskError, match=f"{n} to judge it and {2 * n} for the means") as raised:
        sample_splits(Eighty(), None, n=n, seed=0)
    assert "About --n 20 would fit" in str(raised.value)
    assert len(sample_splits(Eighty(), None, n=20, seed=0).validation) == 20


@pytest.mark.parametrize("n", [0, -3])
def test_a_useless_number_of_pairs_is_refused(n):
    with pytest.raises(TaskError, match=f"at least 1, got {n}"):
        sample_splits(Digits(), None, n=n, seed=0)


def test_a_finite_stream_is_refused_too():
    class Finite(Digits):
        """Three pairs and no more."""

        def pairs(self, rng):
            yield from itertools.islice(super().pairs(rng), 3)

    with pytest.raises(TaskError, match="must yield more"):
        sample_splits(Finite(), None, n=4, seed=0)


def test_built_in_tasks_are_registered_with_descriptions():
    assert {"ioi", "ioi-abc", "induction", "factual-recall"} <= registered_tasks().keys()
    for name in registered_tasks():
        task = find_task(name)
        assert task.name == name
        assert len(task.description) > 10
        assert isinstance(next(task.pairs(random.Random(0))), PromptPair)


def test_an_unknown_task_names_the_known_ones():
    with pytest.raises(TaskError, match=r"task 'oii': must be one of .*ioi"):
        find_task("oii")


GOOD = """
from circuitkit.prompts.pairs import PromptPair
from circuitkit.task import Task

class Mine(Task):
    "Mine."
    name = "mine"
    def pairs(self, rng):
        while True:
            yield PromptPair([rng.randrange(9), 1], [2, 1], [3], [4])
"""


def test_a_task_in_a_file_is_found_with_and_without_its_class_name(tmp_path):
    path = tmp_path / "my_task.py"
    path.write_text(GOOD)
    assert find_task(f"{path}:Mine").name == "mine"
    assert find_task(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        (GOOD, "my_task.py:Yours", "must define the Task class 'Yours', got \\['Mine'\\]"),
        ("x = 1", "my_task.py", "exactly one Task class, got none"),
        ("import nothing_there", "my_task.py", "must import without error, got ModuleNotFound"),
        (GOOD.replace("def pairs", "def pears"), "my_task.py:Mine", "must define pairs"),
        (GOOD.replace('name = "mine"', ""), "my_task.py:Mine", "a class variable `name`"),
    ],
)
def test_a_bad_task_file_is_refused_with_the_reason(tmp_path, text, spec, message):
    (tmp_path / "my_task.py").write_text(text)
    with pytest.raises(TaskError, match=message):
        find_task(str(tmp_path / spec))


def test_a_missing_task_file_is_refused(tmp_path):
    with pytest.raises(TaskError, match="must exist, got no such file"):
        find_task(str(tmp_path / "none.py:X"))


LINES = """\
{"clean": [1, 2], "corrupted": [1, 3], "answers": [4], "wrong_answers": [5]}

{"clean": [2, 2], "corrupted": [2, 3], "answers": [4], "split": "discovery"}
{"clean": [3, 2], "corrupted": [3, 3], "answers": [4], "roles": {"A": [0, 1]}}
{"clean": [4, 2], "corrupted": [4, 3], "answers": [4], "template": "t"}
"""


@pytest.fixture
def prompt_file(tmp_path):
    def write(text):
        path = tmp_path / "pairs.jsonl"
        path.write_text(text)
        return path

    return write


def test_a_prompt_file_is_read_line_by_line(prompt_file):
    lines = read_prompt_file(prompt_file(LINES))
    assert [line.split for line in lines] == ["", "discovery", "", ""]
    assert lines[0].pair.wrong_answers == [5]
    assert lines[2].pair.roles == {"A": (0, 1)}
    assert lines[3].pair.template == "t"


def test_unnamed_lines_are_dealt_to_both_splits(prompt_file):
    lines = read_prompt_file(prompt_file(LINES))
    splits = splits_of(lines, None, seed=0)
    assert (len(splits.discovery), len(splits.validation)) == (3, 1)
    assert splits.reference.pairs == splits.discovery.pairs
    assert len(discovery_pairs(lines, None)) == 4


def test_named_validation_lines_leave_the_rest_to_discovery(prompt_file):
    text = LINES.replace('"template": "t"', '"split": "validation"')
    splits = splits_of(read_prompt_file(prompt_file(text)), None, seed=0)
    assert splits.validation.clean.tolist() == [[4, 2]]
    assert len(splits.discovery) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one pair"),
        ('{"clean": [1]', "line 1: must be one JSON object"),
        ('\n{"clean": [1], "answers": [2]}', "line 2: must hold clean, corrupted and answers"),
        ('{"clean": 3, "corrupted": [1], "answers": [2]}', "clean must be text or a list"),
        ('{"clean": [1], "corrupted": [1], "answers": 2}', "answers must be a list"),
        ('{"clean": [1], "corrupted": [1], "answers": [2], "rolls": {}}', "rolls"),
        ('{"clean": [1], "corrupted": [1], "answers": [2], "split": "test"}', "'test'"),
        ('{"clean": [1], "corrupted": [1], "answers": [2], "roles": {"A": 3}}', "roles must be"),
    ],
)
def test_a_bad_prompt_file_is_refused_with_the_line(prompt_file, text, message):
    with pytest.raises(PromptError, match=message):
        read_prompt_file(prompt_file(text))


def test_a_missing_prompt_file_is_refused(tmp_path):
    with pytest.raises(PromptError, match="readable text file"):
        read_prompt_file(tmp_path / "none.jsonl")


def test_a_file_without_a_validation_line_is_refused(prompt_file):
    with pytest.raises(PromptError, match="validation split must hold a pair"):
        splits_of(read_prompt_file(prompt_file(LINES.splitlines()[0])), None, seed=0)


def test_a_prompt_in_discovery_and_validation_is_refused(prompt_file):
    first = LINES.splitlines()[0]
    again = first.replace("[4]", '[4], "split": "validation"')
    text = f"{first}\n{again}"
    with pytest.raises(PromptError, match="must not share a prompt"):
        splits_of(read_prompt_file(prompt_file(text)), None, seed=0)


# held-out pairs


class Other(Digits):
    """The same with four tokens, and sometimes a prompt of the usual ones."""

    name = "digits-other"
    n_values = 20

    def pairs(self, rng):
        for pair in Digits.pairs(self, rng):
            if rng.random() < 0.5:
                yield pair
                continue
            yield PromptPair([*pair.clean, 7], [*pair.corrupted, 7], [0], [1], template="four")


class Answering(Digits):
    """Pairs whose answer is the first token, corrupted into each other."""

    name = "digits-answering"
    held_out = Other
    n_values = 20

    def pairs(self, rng):
        while True:
            first, other, last = (rng.randrange(self.n_values) for _ in range(3))
            clean, corrupted = [first, other, last], [other, first, last]
            if first != other:
                yield PromptPair(clean, corrupted, [first], [other], template=f"t{last % 2}")


@pytest.fixture(scope="module")
def answering():
    splits = sample_splits(Answering(), None, n=12, seed=0)
    return splits, sample_held_out(Answering(), None, splits, n=30, seed=0)


def test_held_out_pairs_share_no_prompt_with_discovery(answering):
    splits, held_out = answering
    seen = prompts_of(splits.discovery)
    assert set(held_out) == {"wordings", "answers"}
    for pairs, _ in held_out.values():
        assert len(pairs) >= 16
        assert not prompts_of(pairs) & seen


def test_a_wording_that_is_one_of_discovery_is_left_out(answering):
    splits, _ = answering
    everything = tuple(
        PromptPair(prompt, prompt, [0]) for prompt in itertools.product(range(20), repeat=3)
    )
    all_seen = replace(splits.discovery, pairs=everything)
    held_out = sample_held_out(Answering(), None, replace(splits, discovery=all_seen), n=60, seed=0)
    pairs, reference = held_out["wordings"]
    assert set(pairs.templates) == {"four"}
    assert 16 <= len(pairs) < 60
    assert "four" in reference.templates
    assert prompts_of(pairs).isdisjoint(prompts_of(reference))
    assert "answers" not in held_out


def test_held_out_answers_were_never_right_in_discovery(answering):
    splits, held_out = answering
    pairs, reference = held_out["answers"]
    known = {answer for pair in splits.discovery.pairs for answer in pair.answers}
    assert all(known.isdisjoint(pair.answers) for pair in pairs.pairs)
    assert any(known.intersection(pair.wrong_answers) for pair in pairs.pairs)  # which may be
    assert len(pairs) == len({pair.contents() for pair in pairs.pairs}) == 30
    assert reference is splits.reference
    assert set(pairs.templates) <= set(reference.templates)


def test_a_template_without_reference_pairs_holds_no_held_out_answers(answering):
    splits, _ = answering
    rows = [i for i, template in enumerate(splits.reference.templates) if template == "t1"]
    fewer = replace(splits, reference=splits.reference.select(rows))
    pairs, _ = sample_held_out(Answering(), None, fewer, n=20, seed=0)["answers"]
    assert set(pairs.templates) == {"t1"}


def test_kinds_with_too_few_pairs_are_left_out():
    splits = sample_splits(Answering(), None, n=200, seed=0)  # every answer occurs
    assert set(sample_held_out(Answering(), None, splits, n=30, seed=0)) == {"wordings"}
    assert sample_held_out(Answering(), None, splits, n=15, seed=0) == {}
    assert sample_held_out(Digits(), None, splits, n=30, seed=0) == {}


def test_held_out_pairs_depend_on_the_seed_alone(answering):
    splits, first = answering
    same, other = (sample_held_out(Answering(), None, splits, n=30, seed=s) for s in (0, 1))
    for kind in first:
        assert same[kind][0].pairs == first[kind][0].pairs
        assert other[kind][0].pairs != first[kind][0].pairs
