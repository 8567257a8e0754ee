"""A task's own code may do anything: it ends as a TaskError, and what it yields is checked."""

from types import SimpleNamespace

import pytest

from circuitkit.errors import CircuitkitError, PromptError, TaskError
from circuitkit.prompts.pairs import MAX_PAIRS, PromptPair
from circuitkit.prompts.splits import sample_held_out, sample_splits
from circuitkit.prompts.task_code import task_code
from circuitkit.task import Task, find_task

FILE = """
import sys
from circuitkit.prompts.pairs import PromptPair
from circuitkit.task import Task

{top}

class Mine(Task):
    name = "mine"
    {variable}

    def pairs(self, rng):
        {body}
"""
PAIR = "while True: yield PromptPair([rng.randrange(30), 1, 2], [3, rng.randrange(30), 2], [5])"


def task_file(folder, *, top="", variable="", body=PAIR):
    path = folder / "my_task.py"
    path.write_text(FILE.format(top=top, variable=variable, body=body))
    return str(path)


RAISED = ("sys.exit(0)", "sys.exit('a')", "raise GeneratorExit", "raise StopIteration", "1 / 0",
          "raise RecursionError", "raise MemoryError", "raise BaseException")  # fmt: skip


@pytest.mark.parametrize("raised", RAISED)
def test_what_a_task_file_raises_as_it_is_imported_is_a_task_error(tmp_path, raised):
    with pytest.raises(TaskError, match=r"my_task.py': must import without error, got .*line 6\)"):
        find_task(task_file(tmp_path, top=raised))


@pytest.mark.parametrize("raised", RAISED)
def test_what_pairs_raises_is_a_task_error_at_any_time(tmp_path, raised):
    for body in (raised, f"yield PromptPair([1], [2], [3]); {raised}"):
        with pytest.raises(TaskError, match="must yield prompt pairs without error|more different"):
            sample_splits(find_task(task_file(tmp_path, body=body)), None, n=2, seed=0)


@pytest.mark.parametrize("raised", RAISED)
def test_what_making_a_task_or_its_wordings_raises_is_a_task_error(tmp_path, raised):
    init = f"def __init__(self): {raised}"
    with pytest.raises(TaskError, match="making it must raise no error"):
        find_task(task_file(tmp_path, variable=init))
    other = f"class Other(Task):\n    name = 'o'\n    def pairs(self, rng): pass\n    {init}\n"
    task = find_task(task_file(tmp_path, top=other, variable="held_out = Other") + ":Mine")
    splits = sample_splits(Few(), None, n=2, seed=0)
    with pytest.raises(TaskError, match="making its held_out must raise no error"):
        sample_held_out(task, None, splits, n=20, seed=0)


def test_where_a_task_fails_is_its_own_line_whatever_package_it_called(tmp_path, monkeypatch):
    """Loggers wrap `sys.exit`: the place in their file would tell nobody anything."""
    package = tmp_path / "site-packages"
    package.mkdir()
    (package / "wrapping.py").write_text("def leave():\n    raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(package)
    path = task_file(tmp_path, body="import wrapping; wrapping.leave()")
    with pytest.raises(TaskError, match=r"SystemExit: 3 \(.*my_task.py, line 13\)"):
        sample_splits(find_task(path), None, n=2, seed=0)


def test_ctrl_c_and_an_error_of_our_own_pass_as_they_are():
    for error in (KeyboardInterrupt(), PromptError("mine")):
        with pytest.raises(type(error)) as caught, task_code("task"):
            raise error
        assert caught.value is error


def test_a_task_file_that_fails_says_where(tmp_path):
    with pytest.raises(TaskError, match=r"SystemExit: 3 \(.*my_task.py, line 13\)"):
        sample_splits(find_task(task_file(tmp_path, body="sys.exit(3)")), None, n=2, seed=0)


class Few(Task):
    """Pairs of small numbers."""

    name = "few"

    def pairs(self, rng):
        while True:
            yield PromptPair([rng.randrange(90), 1], [2, rng.randrange(90)], [5])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "got TypeError: 'NoneType' object is not iterable"),
        ("return 5", "got TypeError: 'int' object is not iterable"),
        ("return 'text'", "pair 1: must be a PromptPair, got 't'"),
        ("return {'a': 1}", "pair 1: must be a PromptPair, got 'a'"),
        ("return []", "must yield more different pairs, got 0"),
        ("return [PromptPair([1], [2], [3])]", "must yield more different pairs, got 1"),
        (
            "yield PromptPair([1], [2], [3]); yield None",
            r"pair 2 \(Mine.pairs in .*line 13\): must be a PromptPair, got None",
        ),
        ("yield {'clean': [1]}", "must be a PromptPair"),
        ("return object", "is not iterable"),
    ],
)
def test_what_pairs_yields_must_be_prompt_pairs(tmp_path, body, message):
    with pytest.raises(CircuitkitError, match=message):
        sample_splits(find_task(task_file(tmp_path, body=body)), None, n=2, seed=0)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("clean", None, "clean must be text or a list of token ids, got None"),
        ("clean", {1: 2}, "clean must be text"),
        ("clean", [True], "clean must be text"),
        ("clean", [1.5], "clean must be text"),
        ("clean", [2**63], "clean must be text"),
        ("corrupted", "half \ud800", r"corrupted must be text .* got 'half \\ud800'"),
        (
            "answers",
            "a",
            "answers must be a list of texts, token ids or lists of token ids, got 'a'",
        ),
        ("answers", None, "answers must be a list"),
        ("answers", {"a"}, "answers must be a list"),
        ("wrong_answers", [None], "wrong_answers must be a list"),
        ("roles", None, "roles must be"),
        ("roles", {1: (0, 1)}, "roles must be"),
        ("roles", {"A": (0, 1, 2)}, "roles must be"),
        ("roles", {"A": "01"}, "roles must be"),
        ("roles", {"A": (0.0, 1)}, "roles must be"),
        ("roles", {"A\x1b": (0, 1)}, r"without control characters, got 'A\\x1b'"),
        ("roles", {"A\ufffe": (0, 1)}, "without control characters"),
        ("template", None, "template must be text"),
        ("template", "\x00", "template must be text without control characters"),
        ("answer_after", 5, "answer_after must be text"),
    ],
)
def test_every_part_of_a_pair_has_its_kind(part, value, message):
    pair = PromptPair([1], [2], [3])
    object.__setattr__(pair, part, value)  # as an unchecked class would hold it
    task = Few()
    task.pairs = lambda rng: iter([pair])
    with pytest.raises(PromptError, match=f"task 'few', pair 1: .*{message}|{message}"):
        sample_splits(task, None, n=1, seed=0)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("metric = None", "`metric` must be a metric, as LogitDifference.., got None"),
        ("metric = 'kl'", "`metric` must be a metric"),
        ("metric = Task", "`metric` must be a metric"),
        ("held_out = 5", "`held_out` must be another Task class, or None, got 5"),
        ("held_out = int", "`held_out` must be another Task class"),
        ("drop_misaligned = 'no'", "`drop_misaligned` must be True or False"),
        ("name = 5", "`name` must be text"),
        ("name = 'a\\x1b[31m'", r"`name` must be text, no control characters, got 'a\\x1b"),
        ("name = property(lambda self: 1 / 0)", "making it must raise no error, got ZeroDivision"),
    ],
)
def test_every_class_variable_of_a_task_has_its_kind(tmp_path, variable, message):
    with pytest.raises(TaskError, match=message):
        find_task(task_file(tmp_path, variable=variable))


@pytest.mark.parametrize("name", ["my_task.pyc", "my_task.py.txt"])
def test_only_a_python_file_is_run(tmp_path, name):
    (tmp_path / name).write_text("raise AssertionError('was run')")
    with pytest.raises(TaskError, match="must end in .py"):
        find_task(f"{tmp_path / name}:Mine")


def test_an_installed_task_that_does_not_load_is_named_and_hinders_no_other(monkeypatch):
    def load():
        raise SystemExit(0)

    broken = SimpleNamespace(name="broken", value="gone.tasks:Broken", load=load)
    odd = SimpleNamespace(name="odd", value="odd:int", load=lambda: int)
    good = SimpleNamespace(name="few", value="tests:Few", load=lambda: Few)
    monkeypatch.setattr("circuitkit.task.entry_points", lambda group: [broken, odd, good])
    assert isinstance(find_task("few"), Few)
    with pytest.raises(TaskError, match="'broken': gone.tasks:Broken must import without error"):
        find_task("broken")
    with pytest.raises(TaskError, match="'odd': odd:int must be a class of Task, got <class"):
        find_task("odd")


@pytest.mark.parametrize("n", [0, -1, MAX_PAIRS + 1, 10**9])
def test_a_number_of_pairs_that_takes_minutes_is_refused_before_any_is_drawn(n):
    task = Few()
    task.pairs = lambda rng: pytest.fail("pairs were drawn")
    for numbers in ({"n": n}, {"n": 1, "n_validation": n}):
        with pytest.raises(TaskError, match="number of pairs: must be at"):
            sample_splits(task, None, seed=0, **numbers)
