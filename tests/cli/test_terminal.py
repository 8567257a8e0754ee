"""What reaches the terminal, and with which exit code: nothing unforeseen counts as a verdict."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from circuitkit.cli import terminal
from circuitkit.cli.app import app
from circuitkit.cli.command import command
from circuitkit.cli.terminal import PlainConsole, bars, reported_errors, show_table
from circuitkit.errors import CircuitFileError
from circuitkit.work.interrupts import Interrupted

CIRCUIT = str(Path(__file__).parents[2] / "circuits" / "ioi.json")
HOSTILE = "[/b] a[bold]b[/x] \x1b[31mred\x07 :warning: \ud800\n::warning::pwned"


def ended(error, **options):
    """Run a command that raises `error`, and return how it ended."""
    command = typer.Typer()

    @command.command()
    def fails():
        with reported_errors(**options):
            raise error

    return CliRunner().invoke(command, [])


UNFORESEEN = [
    typer.Exit(0), typer.Exit(1), typer.Abort(),
    RuntimeError("odd"), KeyError("odd"), SystemExit(0), SystemExit("odd"), GeneratorExit(),
    RecursionError(), MemoryError(), AssertionError(), StopIteration(), OSError("odd"),
]  # fmt: skip


@pytest.mark.parametrize("error", UNFORESEEN, ids=repr)
def test_an_error_that_nobody_foresaw_is_no_verdict_and_says_that_it_is_a_bug(error):
    done = ended(error)
    assert done.exit_code == 3
    shown = " ".join(done.output.split())
    assert shown.startswith(type(error).__name__)
    assert "This is a bug in circuitkit" in shown
    assert "test_terminal.py line" in shown
    assert "Traceback" not in shown


def test_verbose_shows_where_a_bug_was_raised_and_of_our_own_errors_no_more_than_before():
    assert "Traceback (most recent call last)" in ended(RuntimeError("odd"), verbose=True).output
    own = CircuitFileError("one sentence")
    assert ended(own, verbose=True).output == ended(own).output


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_a_reader_that_has_gone_is_no_bug():
    code = "from circuitkit.cli.app import app; app(['explain'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 3


@pytest.mark.parametrize("error", [*UNFORESEEN, CircuitFileError("one sentence")], ids=repr)
def test_json_stays_json_whatever_is_raised(error):
    done = ended(error, as_json=True)
    assert done.exit_code == (2 if isinstance(error, CircuitFileError) else 3)
    assert json.loads(done.stdout)["error"] == type(error).__name__


def test_an_error_of_our_own_is_shown_alone():
    done = ended(CircuitFileError("file: must be x, got y. Why. What to do."))
    assert done.exit_code == 2
    assert done.output == "CircuitFileError: file: must be x, got y. Why. What to do.\n"


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_exit_code_is_what_a_command_returns(code):
    own = typer.Typer()
    own.command()(command(lambda: code))
    done = CliRunner().invoke(own, [])
    assert (done.exit_code, done.output) == (code, "")


def test_ctrl_c_ends_with_130_and_a_reader_that_has_gone_with_3():
    assert ended(Interrupted()).exit_code == 130
    gone = ended(BrokenPipeError())
    assert (gone.exit_code, gone.output) == (3, "")


def test_an_interrupt_that_no_key_made_is_no_ctrl_c():
    done = ended(KeyboardInterrupt())
    assert done.exit_code == 3
    assert "KeyboardInterrupt" in done.output


def test_what_is_printed_on_the_way_is_no_json(capsys):
    own = typer.Typer()

    @own.command()
    def prints():
        with reported_errors(as_json=True):
            print("a task says hello")
            terminal.show_json({"a": 1})

    done = CliRunner().invoke(own, [])
    assert json.loads(done.stdout) == {"a": 1}
    assert "a task says hello" in done.stderr


@pytest.fixture
def screen(monkeypatch):
    """What a colour terminal of 200 columns would get, in place of both consoles."""
    text = io.StringIO()
    console = PlainConsole(
        file=text, force_terminal=True, width=200, highlight=False, color_system="standard"
    )
    monkeypatch.setattr(terminal, "OUT", console)
    monkeypatch.setattr(terminal, "NOTES", console)
    return text


def strange(text):
    """Return the escape sequences that do more than colour."""
    for own in ("\x1b[0m", "\x1b[1m", "\x1b[1;31m", "\x1b[3m"):
        text = text.replace(own, "")
    return [c for c in text if ord(c) < 32 and c != "\n"]


def test_no_name_is_markup_or_reaches_the_terminal_as_an_escape_sequence(screen):
    terminal.OUT.print(HOSTILE, soft_wrap=True)
    shown = screen.getvalue()
    assert strange(shown) == []
    assert "[/b] a[bold]b[/x] \\x1b[31mred\\x07 :warning: \\ud800" in shown
    assert not any(line.startswith("::") for line in shown.splitlines())


def test_titles_headers_and_cells_of_tables_are_shown_as_they_are(screen):
    show_table(HOSTILE, (HOSTILE, "b"), [(HOSTILE, "[red]x[/red]")])
    shown = screen.getvalue()
    assert strange(shown) == []
    assert shown.count("[/b]") == 3
    assert "[red]x[/red]" in shown


def test_errors_and_their_labels_are_shown_as_they_are(screen):
    with pytest.raises(typer.Exit), reported_errors():
        raise CircuitFileError(HOSTILE)
    assert strange(screen.getvalue()) == []
    assert "a[bold]b[/x]" in screen.getvalue()


def test_the_title_of_a_bar_is_no_markup(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(terminal, "NOTES", Console(file=text, force_terminal=True, width=120))
    with bars(shown=True) as stage:
        stage("[/b]\x1b[31m")(1, 2)
    assert "[/b]\\x1b[31m" in text.getvalue()


@pytest.mark.parametrize("command", ["validate", "discover", "patch", "path"])
def test_an_output_that_is_a_directory_is_refused_before_any_work(tmp_path, command):
    words = {"validate": ["validate", CIRCUIT]}.get(command, [command, "ioi"])
    done = CliRunner().invoke(app, [*words, "--model", "no such", "-o", str(tmp_path), "-q"])
    assert done.exit_code == 2
    assert "must be a file, got a directory" in done.output
    assert list(tmp_path.iterdir()) == []


def test_an_output_path_with_brackets_is_written_and_named(tmp_path):
    out = tmp_path / "a[bold]b[/x].json"
    words = ["discover", "planted-induction", "--model", "planted-induction", "--n", "8"]
    done = CliRunner().invoke(app, [*words, "--edges", "4", "-o", str(out), "-q", "--anyway"])
    assert done.exit_code == 0, done.output
    assert out.is_file()
    assert "a[bold]b[/x].json: " in done.output


EVIL = """
import sys
from pathlib import Path
from circuitkit.prompts.pairs import PromptPair
from circuitkit.task import Task

Path(__file__).with_name("was run").touch()


class Evil(Task):
    name = "evil"

    def pairs(self, rng):
        sys.exit(0)
"""


@pytest.fixture
def evil(tmp_path):
    """A circuit file whose task is a Python file beside it."""
    (tmp_path / "evil.py").write_text(EVIL)
    text = Path(CIRCUIT).read_text().replace('"task": "ioi"', f'"task": "{tmp_path}/evil.py:Evil"')
    (tmp_path / "circuit.json").write_text(text)
    return tmp_path


@pytest.mark.parametrize("command", ["validate", "interpret"])
def test_a_circuit_file_never_runs_the_python_file_that_it_names(evil, command):
    done = CliRunner().invoke(app, [command, str(evil / "circuit.json"), "-q"])
    assert done.exit_code == 2
    assert "--task" in done.output
    assert not (evil / "was run").exists()


def test_a_task_that_ends_the_program_is_no_verdict(evil):
    words = ["validate", str(evil / "circuit.json"), "--task", f"{evil}/evil.py:Evil", "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    assert "TaskCodeError" in done.output
    assert "SystemExit: 0" in done.output
    assert (evil / "was run").exists()
