"""The command `hypothesis`: what it shows, its exit codes, and what it refuses."""

import json

import pytest
from typer.testing import CliRunner

from circuitkit.cli.app import app

RUNNER = CliRunner()
FAST = ["--n", "48", "--no-controls", "-q"]
OWN = '''
from circuitkit.abstraction.hypothesis import Hypothesis, variable


class Named(Hypothesis):
    """The name that is not said again."""

    name, task = "named", "planted-ioi"
    alignment = {"repeated": "post 0 at S2"}

    def places(self, prompt):
        return {"S2": (5, 6)}

    @variable
    def repeated(self, prompt):
        return prompt["S2"]

    def answer(self, prompt, repeated):
        both = {prompt.words[1], prompt.words[3]}
        return (both - {repeated}).pop() if repeated in both else None
'''


def run(*words):
    return RUNNER.invoke(app, ["hypothesis", *words])


def test_a_true_hypothesis_that_ships_stands_with_code_0():
    done = run("planted-induction", "--model", "planted-induction", *FAST)
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "planted-induction stands in planted-induction." in said
    assert "Look for the last word among the words before each place" in said


def test_a_wrong_one_is_refuted_with_code_1_and_every_number():
    done = run("planted-ioi-by-place", "--model", "planted-ioi", *FAST, "--json")
    assert done.exit_code == 1, done.output
    found = json.loads(done.output)
    assert found["outcome"] == "refuted"
    assert [each["variable"] for each in found["variables"]] == ["repeated", "inhibited"]
    assert list(found["variables"][0]["controls"]) == ["shuffled", "copied"]


def test_an_open_one_has_code_3():
    at = ["--align", "completion=post 0 at END"]
    done = run("planted-skip-trigram-by-answer", "--model", "planted-skip-trigram", *at, *FAST)
    assert done.exit_code == 3, done.output


def test_a_file_is_run_and_the_place_can_be_another(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    done = run(f"{file}:Named", "--model", "planted-ioi", *FAST)
    assert done.exit_code == 0, done.output
    at = ["--align", "repeated=a1.h0 at END"]
    assert run(str(file), "--model", "planted-ioi", *at, *FAST).exit_code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ioi"], "hypothesis 'ioi': must be one of ioi-by-name, ioi-by-place, induction-by-word"),
        (["none.py:Own"], "hypothesis file 'none.py': must exist"),
        (["planted-ioi", "--align", "repeated"], "--align: must be VARIABLE=PLACE, got 'repeated'"),
        (["planted-ioi", "--at", "everywhere"], "site 'everywhere': must be one of resid"),
        (["planted-ioi", "--align", "name=post 0 at END"], "of one of its variables, repeated"),
        (["planted-ioi", "--align", "repeated=post 9 at END"], "the place must exist in model"),
        (["planted-ioi", "--n", "8"], "must answer at least 16 prompts rightly, got 8 of 8"),
        (
            ["planted-induction", "--task", "planted-predecessor"],
            "must give a right answer on every prompt",
        ),
    ],
)
def test_bad_input_is_a_sentence(words, message):
    model = "planted-predecessor" if "planted-predecessor" in words else "planted-ioi"
    done = run(*words, "--model", model, "-q")
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())


def test_a_file_without_the_class_is_refused(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    done = run(f"{file}:Other", "--model", "planted-ioi")
    assert "must define the class 'Other', got Named" in " ".join(done.output.split())
    file.write_text(OWN.replace('["S2"]', '["S9"]'))
    done = run(str(file), "--model", "planted-ioi")
    assert "role 'S9': must be one of END, S2, got a prompt" in " ".join(done.output.split())
