"""Every example runs, and the README's class is the example's."""

import ast
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import circuitkit
from circuitkit.cli.app import app
from circuitkit.prompts.splits import sample_splits
from circuitkit.task import find_task

ROOT = Path(__file__).parents[1]


def test_quickstart_runs(capsys):
    runpy.run_path(str(ROOT / "examples" / "quickstart.py"), run_name="__main__")
    found = re.search(r"(\d+) edges, faithfulness ([\d.]+) \[", capsys.readouterr().out)
    assert found is not None
    assert int(found[1]) <= 40
    assert float(found[2]) > 0.8


def test_ioi_is_taken_apart_from_the_answer_backwards(capsys):
    runpy.run_path(str(ROOT / "examples" / "ioi_paths.py"), run_name="__main__")
    shown = capsys.readouterr().out
    first = re.search(r"logits\?\n    (a\d\.h\d)  ([\d.]+) \[", shown)
    assert first is not None
    assert float(first[2]) > 5  # of a gap of about 11 logits
    assert shown.count(f"of {first[1]} and") == 3


def readme_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readme_shows_the_api_in_under_twenty_lines_and_it_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    block = next(block for block in readme_blocks() if "import circuitkit as ck" in block)
    assert len(block.splitlines()) < 20
    exec(compile(block, "README.md", "exec"), {})
    assert "->logits" in capsys.readouterr().out
    assert (tmp_path / "circuit.json").exists()


def test_the_readme_task_yields_the_pairs_of_the_example(tmp_path):
    path = tmp_path / "my_task.py"
    path.write_text(next(block for block in readme_blocks() if "class GreaterThan" in block))
    task = find_task(f"{path}:GreaterThan")
    pair = sample_splits(task, _pico_tokenizer(), n=100, seed=0).validation.pairs[0]  # run's n
    assert re.fullmatch(r"The \w+ lasted from \d{4} to \d\d", str(pair.clean))
    assert len(pair.answers) + len(pair.wrong_answers) == 98


def _pico_tokenizer():
    from transformers import AutoTokenizer

    from circuitkit.zoo import zoo_models

    return AutoTokenizer.from_pretrained(zoo_models()[0].directory)


@pytest.mark.slow
def test_a_task_in_a_file_runs_from_the_command_line(tmp_path):
    task = f"{ROOT}/examples/greater_than.py:GreaterThan"
    words = ["run", task, "--n", "20", "--edges", "40", "--json", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["verdict"]["outcome"] in ("supported", "undecided", "refuted")
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_the_package_is_a_program():
    command = [sys.executable, "-m", "circuitkit", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"circuitkit {circuitkit.__version__}\n"
    command[-1] = "no-such-command"
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


@pytest.mark.slow
def test_the_tutorial_runs_as_a_script_and_shows_its_pictures(capsys):
    cells = json.loads((ROOT / "examples" / "tutorial.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names, shown = {"__name__": "__main__"}, []
    for text in code:
        tree = ast.parse(text)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "tutorial.ipynb", "exec"), names)
        if last is not None:  # a notebook shows the value of a cell's last line
            value = eval(compile(ast.Expression(last.value), "tutorial.ipynb", "eval"), names)
            shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else str(value))
    assert sum("<svg" in each for each in shown) == 4  # a heat map, a circuit, a curve, groups
    assert "Supported: " in capsys.readouterr().out
