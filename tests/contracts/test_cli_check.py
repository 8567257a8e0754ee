"""`circuitkit check`, in process, on a toy project."""

import json
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from circuitkit.cli.app import app
from tests.contracts.conftest import BASE, write

RUNNER = CliRunner()
GOOD = BASE + "faithfulness = { min = -5 }\nmax_edges = 999"
BAD = BASE.replace("toy.json", "small.json") + "faithfulness = { min = 3 }"
GONE = BASE.replace("toy.json", "gone.json") + "faithfulness = { min = 3 }"


@pytest.fixture(autouse=True)
def outside_of_actions(monkeypatch):
    """Tests may themselves run under Actions."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def check(root, *words):
    words = ("check", "--config", root / "pyproject.toml", "-q", *words)
    return RUNNER.invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(
    ("contracts", "code"),
    [([GOOD], 0), ([GOOD, BAD], 1), ([GOOD, GONE], 3), ([GONE, BAD, GOOD], 1), ([], 2)],
)
def test_the_exit_code_is_0_where_all_hold_1_where_one_is_broken_else_3(project, contracts, code):
    write(project, *contracts)
    assert check(project).exit_code == code


def test_the_reader_sees_the_table_and_what_to_do(project):
    write(project, GOOD, BAD, GONE)
    shown = " ".join(check(project).output.split())
    assert "2 hold, 1 broken, 1 could not be judged" in shown
    assert "contract 'small': faithfulness under resample ablation must be at least 3" in shown
    assert "contract 'gone': faithfulness could not be judged. circuit file" in shown


def test_files_are_written_and_json_is_all_there_is_on_standard_output(project, tmp_path):
    write(project, GOOD, BAD)
    junit, summary = tmp_path / "new/j.xml", tmp_path / "s.md"
    done = check(project, "--junit", junit, "--summary", summary, "--json")
    assert json.loads(done.stdout)["outcome"] == "broken"
    assert ElementTree.parse(junit).getroot().get("failures") == "1"
    assert summary.read_text().startswith("## Circuit contracts: broken")


def test_under_actions_there_are_annotations_and_a_summary_of_the_job(
    project, tmp_path, monkeypatch
):
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    write(project, GOOD, BAD)
    done = check(project, "--json")
    assert json.loads(done.stdout)["outcome"] == "broken"
    lines = [line for line in done.stderr.splitlines() if line.startswith("::")]
    assert len(lines) == 1
    assert lines[0].startswith(f"::error file={project}/pyproject.toml,title=small%3A faithfulness")
    assert page.read_text().startswith("before\n## Circuit contracts: broken")


def test_outside_of_actions_there_are_no_annotations(project):
    write(project, BAD)
    assert "::error" not in check(project).output


def test_a_part_can_be_judged_alone_but_not_nothing(project):
    write(project, GOOD, BAD)
    assert check(project, "-k", "toy::").exit_code == 0
    assert check(project, "-k", "small").exit_code == 1
    done = check(project, "-k", "no such")
    assert done.exit_code == 2
    assert "must match a requirement" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("faithfullness = { min = 0.8 }", "got 'faithfullness'. It would not be judged"),
        ("max_edges = nan", "edges.max must be a number, got nan"),
    ],
)
def test_a_contract_that_is_not_understood_is_refused_before_any_is_judged(project, text, message):
    write(project, BAD, BASE + text)
    done = check(project)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_an_unwritable_report_is_refused_before_anything_is_judged(project, monkeypatch):
    write(project, GOOD)

    def never(*_, **__):
        raise AssertionError("it was judged")

    monkeypatch.setattr("circuitkit.cli.actions.check.check_contracts", never)
    done = check(project, "--junit", project / "pairs.jsonl/junit.xml")
    assert done.exit_code == 2
    assert "must be writable" in " ".join(done.output.split())
