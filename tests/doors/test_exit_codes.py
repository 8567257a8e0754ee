"""An exit code means one thing: only a judgement that holds is 0, and only a refuted one is 1."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from circuitkit.cli.app import app
from circuitkit.errors import TaskCodeError
from circuitkit.prompts.task_code import task_code
from circuitkit.work.interrupts import Interrupted, is_ctrl_c, listening
from tests.contracts.conftest import BASE, write

HEAD = """
import os, sys
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.task import Task
"""
BODY = """

class Odd(Task):
    name = "odd"
    {variable}

    def pairs(self, rng):
        {before}
        while True:
            ids = [rng.randrange(37) for _ in range(7)]
            yield PromptPair(ids, [ids[0], (ids[1] + 1) % 37, *ids[2:]], [3], [4])
"""
METRIC = """

class Odd(LogitDifference):
    name = "logit-difference"

    def values(self, logits, labels):
        {raised}
"""
RAISED = {
    "exits": "sys.exit(0)",
    "exits with a word": "sys.exit('done')",
    "interrupts": "raise KeyboardInterrupt",
    "is not imported": "import no_such_module_at_all",
    "fails": "1 / 0",
    "exits as typer does": "raise __import__('typer').Exit(0)",
    "leaves a generator": "raise GeneratorExit",
    "raises the base of all": "raise BaseException('all')",
}


def task_text(where, raised):
    """Return a task file that raises at one of three places."""
    if where == "import":
        return HEAD + raised + BODY.format(variable="", before="")
    if where == "pairs":
        return HEAD + BODY.format(variable="", before=raised)
    metric = METRIC.format(raised=raised).replace("class Odd", "class OddMetric")
    return HEAD + metric + BODY.format(variable="metric = OddMetric()", before="")


PLACES = ("import", "pairs", "metric")
WAYS = [(place, raised) for place in PLACES for raised in list(RAISED.values())[:3]]
WAYS += [("metric", raised) for raised in list(RAISED.values())[3:]]


@pytest.mark.parametrize(("where", "raised"), WAYS, ids=str)
def test_whatever_a_task_raises_it_is_not_judged_and_the_others_are(project, where, raised):
    (project / "odd.py").write_text(task_text(where, raised))
    odd = BASE.replace('prompts = "pairs.jsonl"', 'name = "odd"\ntask = "odd.py:Odd"')
    good = BASE + "max_edges = 999"
    junit, summary = project / "j.xml", project / "s.md"
    write(project, odd + "ability = { min = -99 }", good)
    words = ["check", "--config", project / "pyproject.toml", "--junit", junit]
    done = CliRunner().invoke(app, [*map(str, words), "--summary", str(summary), "-q"])
    assert done.exit_code == 3, done.output
    root = ElementTree.parse(junit).getroot()
    assert {suite.get("name"): suite.get("errors") for suite in root} == {"odd": "1", "toy": "0"}
    assert "1 hold, 0 broken, 1 could not be judged" in " ".join(done.output.split())
    assert "odd.py" in summary.read_text().replace("\\", "")


@pytest.mark.parametrize(("where", "raised"), WAYS, ids=str)
def test_validate_neither_supports_nor_refutes_what_a_task_breaks(project, where, raised):
    (project / "odd.py").write_text(task_text(where, raised))
    words = ["validate", project / "circuits/toy.json", "--task", f"{project}/odd.py:Odd"]
    words += ["--model", project / "toy", "--criteria", "ability", "--n", "16", "--anyway", "-q"]
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 3, done.output
    said = " ".join(done.output.split())
    assert "odd.py" in said
    assert "Mend the task" in said
    assert "bug in circuitkit" not in said


def test_annotations_are_made_for_all_contracts_whatever_one_does(project, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (project / "odd.py").write_text(task_text("import", "sys.exit(0)"))
    odd = BASE.replace('prompts = "pairs.jsonl"', 'name = "odd"\ntask = "odd.py:Odd"')
    write(project, odd + "max_edges = 9", BASE + "max_edges = 1")
    done = CliRunner().invoke(app, ["check", "--config", str(project / "pyproject.toml"), "-q"])
    assert done.exit_code == 1
    titles = [line.partition("title=")[2][:9] for line in done.stderr.splitlines()]
    assert [title for title in titles if title] == ["odd%3A ed", "toy%3A ed"]


def pressed():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)


def test_an_interrupt_of_a_task_is_told_apart_from_the_key():
    with listening():
        with pytest.raises(TaskCodeError, match="KeyboardInterrupt"), task_code("task: must run"):
            raise KeyboardInterrupt
        assert is_ctrl_c(Interrupted())
        assert not is_ctrl_c(KeyboardInterrupt())
        with pytest.raises(Interrupted), task_code("task: must run"):
            pressed()
    assert is_ctrl_c(KeyboardInterrupt())
    assert not is_ctrl_c(ValueError())


def ended(code, *, kill=None):
    """Return how a process ended in which `run` is judged apart."""
    text = "from circuitkit.cli.apart import judged_apart\nimport os, sys, time, atexit\n"
    text += textwrap.dedent(code) + "\nraise SystemExit(judged_apart(run))\n"
    process = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE, text=True)
    if kill is not None:
        time.sleep(1)
        process.send_signal(kill)
    said = process.communicate(timeout=60)[1]
    return process.returncode, said


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(1)", 1),
        ("sys.exit(3)", 3),
        ("sys.exit('text')", 3),
        ("pass", 0),
        ("os._exit(0)", 3),
        ("os.kill(os.getpid(), 9)", 3),
        ("atexit.register(os._exit, 0); sys.exit(1)", 1),
        ("os._exit(130)", 130),
    ],
)
def test_a_judgement_counts_if_its_process_reached_the_end(body, code):
    found, said = ended(f"def run():\n    {body}")
    assert found == code
    assert ("Nothing was judged" in said) is (body.startswith("os.") and code == 3)


def test_ctrl_c_reaches_the_judging_process():
    code = """
    import signal
    def run():
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        time.sleep(50)
    """
    assert ended(code, kill=signal.SIGINT) == (130, "")


STARTS = """
import os, signal, sys
class Key:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Key())
sys.argv = ["circuitkit", *{words!r}]
from circuitkit_start import main
main()
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("circuitkit.moved", ["models"]),
        ("typer", ["models"]),
        ("circuitkit.cli.actions.listing", ["models"]),
        ("torch", ["validate", "no.json"]),
    ],
)
def test_ctrl_c_while_something_is_imported_ends_with_130_and_in_silence(module, words):
    text = STARTS.format(module=module, words=words)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
