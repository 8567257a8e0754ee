"""`pytest --circuits`, run inside this test run, and once as it is typed, with two workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.conftest import BASE, write

ROOT = Path(__file__).parents[2]
pytest_plugins = ["pytester"]
GOOD = BASE + "max_edges = 999\nfaithfulness = { min = -5 }"
BAD = BASE.replace("toy.json", "small.json") + "faithfulness = { min = 3 }"
GONE = BASE.replace("toy.json", "gone.json") + "max_edges = 1"
WORDS = ("-p", "circuitkit_pytest", "-p", "no:cacheprovider", "--strict-markers")


@pytest.fixture
def run(project, pytester, monkeypatch):
    """Return a function that runs pytest in the project."""
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(ROOT)

    def in_process(*words):
        return pytester.runpytest_inprocess(*WORDS, "-p", "no:xdist", *words)

    return in_process


def test_there_is_one_item_for_each_criterion_of_each_contract(project, run):
    write(project, GOOD, BAD)
    done = run("--circuits", "--collect-only", "-q")
    assert [line for line in done.outlines if "::" in line] == [
        "pyproject.toml::toy::faithfulness",
        "pyproject.toml::toy::edges",
        "pyproject.toml::small::faithfulness",
    ]


def test_without_the_option_there_is_none(project, run):
    write(project, GOOD)
    assert run("pyproject.toml").ret != 0
    assert run().ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_what_holds_passes_and_a_failure_is_the_message_alone(project, run):
    write(project, GOOD, BAD)
    done = run("--circuits", "--color=no")
    done.assert_outcomes(passed=2, failed=1)
    shown = done.stdout.str()
    assert "small: faithfulness" not in shown
    assert "broken: " in shown
    assert "contract 'small': faithfulness under resample ablation must be at least 3" in shown
    assert "To look closer: `circuitkit validate" in shown
    assert "check_item" not in shown  # no line of ours
    assert "FAILED pyproject.toml::small::faithfulness - Failed: broken:" in shown


def test_what_could_not_be_judged_fails_and_is_never_skipped(project, run):
    write(project, GOOD, GONE)
    done = run("--circuits")
    done.assert_outcomes(passed=2, failed=1)
    assert "could not be judged: " in done.stdout.str()


@pytest.mark.parametrize(
    ("words", "passed", "deselected"),
    [
        (["-k", "toy and edges"], 1, 3),
        (["-m", "circuit"], 3, 1),
        (["-m", "not circuit"], 1, 3),
        (["pyproject.toml::toy::edges"], 1, 0),
        (["pyproject.toml"], 3, 0),
        (["test_own.py"], 4, 0),
    ],
)
def test_items_are_chosen_as_tests_are(project, run, words, passed, deselected):
    write(project, GOOD, BAD.replace("min = 3", "min = -99"))
    (project / "test_own.py").write_text(
        "def test_own(circuit_contracts):\n"
        "    assert [contract.name for contract in circuit_contracts] == ['toy', 'small']\n"
    )
    run("--circuits", *words).assert_outcomes(passed=passed, deselected=deselected)


def test_a_contract_that_is_not_understood_stops_the_collection(project, run):
    write(project, BASE + "faithfullness = { min = 0.8 }")
    done = run("--circuits")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert "got 'faithfullness'. It would not be judged" in done.stdout.str()
    assert "raise" not in done.stdout.str()


def test_a_project_without_the_file_is_refused(project, run, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert run("--circuits", "--rootdir", ".").ret not in (0, pytest.ExitCode.TESTS_FAILED)


def python(*words, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_two_workers_share_the_items(project):
    write(project, GOOD, BAD)
    done = python("-m", "pytest", *WORDS, "--circuits", "-n", "2", cwd=project)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "1 failed, 2 passed" in done.stdout
    assert "FAILED pyproject.toml::small::faithfulness - Failed: broken:" in done.stdout


def test_runs_that_do_not_ask_for_circuits_import_nothing_heavy(tmp_path):
    (tmp_path / "test_own.py").write_text(
        "import sys\n\ndef test_own():\n"
        "    heavy = {'torch', 'transformer_lens', 'circuitkit', 'numpy', 'scipy'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    done = python("-m", "pytest", *WORDS, "-p", "no:jaxtyping", "-p", "no:xdist", cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
