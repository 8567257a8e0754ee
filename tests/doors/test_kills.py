"""Commands killed for good at random moments: each file is the old one or the new one, and an exit
code of 0 is never left by a judgement that was cut off.

`CIRCUITKIT_KILLS=20` asks for that many kills a command; `run` is killed by
tests/reporting/test_run_directories.py.
"""

import os
import random
import re
import signal
import sys
import time

import psutil
import pytest

from circuitkit.cli import main
from tests.contracts.conftest import BASE, write

KILLS = int(os.environ.get("CIRCUITKIT_KILLS", "2"))
COMMANDS = {
    "discover": ("discover", "--prompts", "pairs.jsonl", "--model", "toy", "--edges", "60", "-q"),
    "validate": (
        "validate",
        "circuits/toy.json",
        "--model",
        "toy",
        "--prompts",
        "pairs.jsonl",
        "--criteria",
        "faithfulness,kl",
        "-q",
    ),
    "check": ("check", "-q"),
}
COMMAND, CHILD = "the command", "its judging process"
OUTPUT = {"discover": "-o", "validate": "-o", "check": "--junit"}


def started(words):
    """Return the process id of a fork in which the command runs: nothing is imported again."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            sys.argv = ["circuitkit", *words]
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            os._exit(code)
    return child


def content(path):
    """Return what a file holds, but for how long judging took."""
    return re.sub(rb' time="[\d.]+"', b"", path.read_bytes())


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def words(project, monkeypatch, request):
    write(project, BASE + "max_edges = 999\nkl = { max = 99 }")
    monkeypatch.chdir(project)
    return (*COMMANDS[request.param], OUTPUT[request.param], "out.file")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize(
    ("words", "whom"),
    [(name, COMMAND) for name in COMMANDS] + [(name, CHILD) for name in ("validate", "check")],
    indirect=["words"],
)
def test_a_command_killed_at_any_moment_leaves_the_old_file_or_the_new(words, whom, project):
    path, before = project / "out.file", b"what was there"
    begun = time.monotonic()
    whole = ended(started(words))
    takes, after = time.monotonic() - begun, content(path)
    rng, left = random.Random(0), []
    for _ in range(KILLS):
        path.write_bytes(before)
        child = started(words)
        time.sleep(takes * rng.uniform(0, 1.1))
        family = psutil.Process(child).children()
        victim = family[0].pid if family and whom == CHILD else child
        os.kill(victim, signal.SIGKILL)
        code = ended(child)
        psutil.wait_procs(family)  # without its command, a judging process ends by itself
        found = content(path)
        left.append((code, found == after, found == before))
    assert len(after) > 100
    assert all(is_new or is_old for _, is_new, is_old in left), left
    assert {code for code, is_new, _ in left if not is_new} <= {-signal.SIGKILL, 3}, left
    assert {code for code, is_new, _ in left if is_new} <= {-signal.SIGKILL, 3, whole}, left
