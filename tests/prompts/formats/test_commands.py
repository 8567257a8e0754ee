"""A table as --prompts: the circuit remembers how it was read, and is judged on other rows."""

import csv
import itertools
import json
import random

import pytest
from typer.testing import CliRunner

from circuitkit.circuits.file import load_circuit
from circuitkit.cli.app import app
from circuitkit.study.refinding import find_again
from circuitkit.tasks.ioi import IOI

COLUMNS = "clean=q,corrupted=c,answer=a,wrong=w"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "ioi.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("q", "c", "a", "w"))
        for pair in itertools.islice(IOI().pairs(random.Random(0)), 200):
            writer.writerow((pair.clean, pair.corrupted, *pair.answers, *pair.wrong_answers))
    return path


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def message(done):
    assert done.exit_code == 2
    return " ".join(done.output.split())


def test_a_circuit_of_a_table_is_found_again_and_judged_on_other_rows(table, tmp_path):
    circuit = tmp_path / "circuit.json"
    options = ("--prompts", table, "--columns", COLUMNS, "--n", 20)
    done = call("discover", *options, "--edges", 40, "-o", circuit, "--json")
    assert done.exit_code == 0, done.output
    found = load_circuit(circuit)
    pairs = found.provenance.recipe.pairs
    assert (pairs.prompt_format, pairs.prompts) == (COLUMNS, str(table))
    assert find_again(found).edges == found.edges
    words = ("--criteria", "faithfulness", "--n", 24, "--json")
    done = call("validate", circuit, *words)
    assert done.exit_code in (0, 3), done.output
    assert json.loads(done.stdout)["n_pairs"] == 24


def test_files_whose_format_is_known_by_its_columns_do_not_name_it(tmp_path):
    done = call("discover", "ioi", "--n", 8, "--edges", 10, "-o", tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "c.json").read_text())
    assert "prompt_format" not in written["circuitkit"]["recipe"]["pairs"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--columns", COLUMNS), "must come with a prompt file"),
        (("--columns", "clean"), "must name columns as clean=prompt,answer=target, got 'clean'"),
        (("--format", "mib", "--columns", COLUMNS), "must be a name, without --columns beside it"),
        (("--format", "clean=q"), "must be a name, without --columns beside it"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(words, says):
    assert says in message(call("discover", "ioi", *words, "--edges", 4))


def test_a_missing_column_is_refused_before_the_model_is_loaded(table):
    columns = "clean=q,corrupted=c,answer=target"
    words = ("--prompts", table, "--columns", columns, "--model", "/nowhere")
    text = message(call("discover", *words, "--edges", 4))
    assert "must have the column 'target', which --columns names as answer" in text
