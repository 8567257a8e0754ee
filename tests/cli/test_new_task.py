"""new-task writes a task that runs and a test that passes, and never over anything."""

import pytest
from typer.testing import CliRunner

from circuitkit.cli.app import app
from circuitkit.prompts.splits import sample_splits
from circuitkit.task import find_task
from circuitkit.zoo.pico.tokenizer import build_tokenizer


def call(*words):
    return CliRunner().invoke(app, ["new-task", *(str(word) for word in words)])


@pytest.fixture
def written(tmp_path):
    done = call("my-new-task", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    assert "my_new_task.py" in done.output
    return tmp_path


class Outcomes:
    """The outcome of each test that pytest runs, by the name of its function."""

    def __init__(self):
        self.by_name = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            name = report.nodeid.rpartition("::")[2].partition("[")[0]
            self.by_name.setdefault(name, []).append(report.outcome)


def outcomes(directory):
    found = Outcomes()
    plain = ("--import-mode=importlib", "-p", "no:cacheprovider")
    pytest.main([*plain, f"--rootdir={directory}", str(directory)], plugins=[found])
    return found.by_name


def test_the_written_test_passes_and_fails_if_the_task_is_wrong(written):
    answers = "test_the_answer_belongs_to_the_clean_prompt_and_the_wrong_one_to_the_corrupted"
    passed = outcomes(written)
    assert passed[answers] == ["passed"] * 2
    assert {each for some in passed.values() for each in some} == {"passed"}
    assert sum(map(len, passed.values())) == 5
    file = written / "my_new_task.py"
    file.write_text(file.read_text().replace("{FACTS[other]}", "Rome"))
    assert outcomes(written)[answers] == ["failed"] * 2


def test_the_written_task_can_be_found_and_drawn(written):
    task = find_task(f"{written / 'my_new_task.py'}:MyNewTask")
    assert (task.name, task.other_wordings.name) == ("my-new-task", "my-new-task-other-wordings")
    assert task.description.startswith("My new task: ")


def test_the_written_task_has_as_many_pairs_as_run_draws_by_itself(written):
    task = find_task(f"{written / 'my_new_task.py'}:MyNewTask")
    splits = sample_splits(task, build_tokenizer(), n=100, n_validation=200, seed=0)
    assert len(splits.validation) == 200
    assert len(set(splits.validation.cluster_names)) >= 16


def test_nothing_that_is_there_is_written_over(written):
    (written / "my_new_task.py").unlink()
    (written / "test_my_new_task.py").write_text("mine")
    done = call("my-new-task", "-o", written)
    assert done.exit_code == 2
    assert "must not exist yet" in done.output
    assert (written / "test_my_new_task.py").read_text() == "mine"
    assert not (written / "my_new_task.py").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ioi", "must be free"),
        ("My Task", "small letters and digits"),
        ("../up", "small letters and digits"),
        ("random", "none of a module of Python"),
        ("2nd", "small letters and digits"),
        ("a" * 51, "at most 50 long"),
    ],
)
def test_names_that_are_taken_or_no_names_are_refused(name, says, tmp_path):
    done = call(name, "-o", tmp_path)
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []
