"""Help, mistakes and completion: what they load, and what they show at 80 columns."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import circuitkit
from circuitkit import names
from circuitkit.cli.app import app
from circuitkit.discovery.methods import METHODS
from circuitkit.glossary import meaning
from tests.test_public_names import SLOW

RUNNER = CliRunner()
COMMANDS = sorted(get_command(app).commands)
LOADED = "import sys, atexit; atexit.register(lambda: print('LOADED', *sorted({n.partition('.')[0] "
LOADED += "for n in sys.modules}))); sys.argv = ['circuitkit', *sys.argv[1:]]; "
LOADED += "from circuitkit.cli import main; main()"
QUICK = SLOW - {"typer", "rich"}


def shown(*words, width=80):
    done = RUNNER.invoke(app, words, env={"COLUMNS": str(width)}, terminal_width=width)
    assert done.exit_code == 0, done.output
    return done.output


def loaded_by(*words, **env):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )
    last = done.stdout.rpartition("LOADED")[2]
    return done, set(last.split())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--help"], 0, "Find circuits in transformers"),
        (["-h"], 0, "Find circuits in transformers"),
        ([], 2, "Find circuits in transformers"),
        (["--version"], 0, f"circuitkit {circuitkit.__version__}"),
        (["-V"], 0, f"circuitkit {circuitkit.__version__}"),
        (["tasks", "--help"], 0, "List the tasks"),
        (["discover", "-h"], 0, "eap-ig-activations"),
        (["validate", "-h"], 0, "rank-stability"),
        (["bench-validation", "-h"], 0, "Try the judge"),
        (["tsks"], 2, "Did you mean 'tasks'?"),
        (["run", "ioi", "--edgs", "3"], 2, "--edges"),
        (["run", "ioi", "--edges", "few"], 2, "Invalid value for '--edges'"),
        (["run", "ioi", "--memory", "lots"], 2, "--memory: must be a size"),
    ],
)
def test_what_needs_no_model_loads_no_library(words, code, says):
    done, loaded = loaded_by(*words)
    assert done.returncode == code, done.stderr
    assert says in " ".join((done.stdout + done.stderr).split())
    assert "circuitkit" in loaded
    assert not loaded & QUICK


def test_completion_loads_no_library_and_completes_commands_and_choices():
    for typed, expected in (
        ("circuitkit bench-", ["bench-discovery", "bench-validation"]),
        ("circuitkit run --method exact", ["exact", "exact-joint", "exact-nodes"]),
        ("circuitkit patch --at resid", ["resid", "resid-mid", "resid-post"]),
    ):
        done, loaded = loaded_by(
            _CIRCUITKIT_COMPLETE="complete_bash",
            COMP_WORDS=typed,
            COMP_CWORD=str(len(typed.split()) - 1),
        )
        assert sorted(done.stdout.rpartition("LOADED")[0].split()) == expected
        assert not loaded & QUICK


def test_completion_can_be_installed():
    assert "--install-completion" in shown("--help")
    assert "--show-completion" in shown("--help")


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_the_terminal_and_cuts_no_name(name, width):
    text = shown(name, "--help", width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert "..." not in text.partition("\n\n")[2].replace("cuda:1, ...", "")
    for parameter in get_command(app).commands[name].params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            assert option.startswith("-") is False or option in text.replace(",", " ").split()
        assert set((getattr(parameter, "help", "") or "").split()) <= set(text.split())
    for kind in ("<str>", "<int>", "<float>", "<path>", "TEXT", "INTEGER"):
        if kind != "TEXT" or name != "check":
            assert kind not in text


def test_the_list_of_commands_fits_60_columns():
    text = shown("--help", width=60)
    assert all(len(line) <= 60 for line in text.splitlines())
    assert set(COMMANDS) <= set(text.split())


@pytest.mark.parametrize(
    ("command", "name", "line"),
    [
        ("run", "eap-ig", meaning("eap-ig", "method")),
        ("discover", "all", meaning("all", "choice")),
        ("run", "kl", meaning("kl", "metric")),
        ("validate", "token-mean", meaning("token-mean", "ablation")),
        ("discover", "greedy", meaning("greedy", "choice")),
        ("patch", "resid-mid", names.SITES["resid-mid"]),
    ],
)
def test_a_choice_stands_in_the_help_with_its_line_of_the_glossary(command, name, line):
    assert f" {name}: {line} " in f"{' '.join(shown(command, '--help').split())} "


@pytest.mark.parametrize("typed", [["--method", "edge-pruning"], ["--method=edge-pruning"]])
@pytest.mark.parametrize("command", ["run", "discover"])
def test_help_lists_the_settings_of_the_method_that_is_named(command, typed):
    text = " ".join(shown(command, *typed, "--help").split())
    for key, (default, line) in names.SETTINGS["edge-pruning"].items():
        assert f"{key}={default} {line[0].upper()}{line[1:]}." in text
    assert "Settings of" not in shown(command, "--help")
    assert "It has none." in shown(command, "--method", "eap", "--help")


def test_the_settings_that_help_lists_are_those_of_the_methods():
    for name, method in METHODS.items():
        defaults = {field.name: str(field.default) for field in fields(method)}
        listed = names.SETTINGS.get(name, {})
        told = {
            key: value.title() if value in ("true", "false") else value
            for key, (value, _) in listed.items()
        }
        assert told == defaults, name


def test_the_settings_of_a_method_are_explained_with_it():
    text = " ".join(shown("explain", "acdc").split())
    assert "--set threshold=0.05: what an edge must be worth" in text
    assert "--set" not in shown("explain", "eap")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text_and_starts_its_line(name):
    for parameter in get_command(app).commands[name].params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name
            assert not parameter.help.startswith("..."), parameter.name


def test_names_in_angle_brackets_are_shown():
    text = shown("path", "--help")
    assert "Receivers: logits, m3, 'a3.h0<q>', a3.h0" in " ".join(text.split())
    assert "circuitkit path ioi --from heads --to 'a3.h0<q>'" in " ".join(text.split())
    assert "<task>.json" in shown("bench-validation", "-h")


@pytest.mark.parametrize(
    ("command", "choices"),
    [
        ("run", names.METHODS),
        ("run", names.METRICS),
        ("run", names.ABLATIONS),
        ("run", names.DTYPES),
        ("run", names.BOS),
        ("discover", [*names.METHODS, "all", *names.SELECTIONS, "role", "position"]),
        ("patch", [*names.SITES, *names.COLUMNS, "noising", "denoising"]),
        ("path", ["recomputed", "frozen"]),
        ("validate", names.CRITERIA),
        ("report", names.REPORT_FORMATS),
        ("bench-discovery", [*names.METHODS, *names.PLANTED_MODELS, *names.DIFFICULTIES]),
    ],
)
def test_help_shows_every_choice_in_one_piece(command, choices):
    text = shown(command, "--help", width=60)
    for mark in "[]|,.:;<>()":
        text = text.replace(mark, " ")
    assert set(choices) <= set(text.split())


def test_options_stand_under_the_heading_of_their_group():
    text = shown("run", "--help")
    headings = [line for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        "Arguments:",
        "What is studied:",
        "How the circuit is found:",
        "Machine:",
        "What is shown:",
        "Where it is written:",
        "Options:",
    ]
    assert text.index("Machine:") < text.index("--device") < text.index("What is shown:")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "ioi", "--batch-size", "²"], "--batch-size: must be auto or a positive number"),
        (["run", "ioi", "--batch-size", "1" * 30], "--batch-size: must be auto or a positive"),
        (["run", "ioi", "--seed", "-1"], "--seed: must be from 0 to 4294967295, got -1."),
        (["run", "ioi", "--seed", "1" + "0" * 26], "--seed: must be from 0 to"),
        (["validate", "no.json", "--seed", "-1"], "--seed: must be from 0 to"),
        (["compare", "a", "b", "--seed", "-1"], "--seed: must be from 0 to"),
        (["train-pico", "-o", "x", "--seed", "-1"], "--seed: must be from 0 to"),
        (
            ["train-pico", "-o", "x", "--behaviours", "--dictionaries"],
            "--behaviours: must be given",
        ),
        (["tasks", "--seed", "-1"], "--seed: must be from 0 to"),
        (["bench-discovery", "--seeds", "0,²"], "--seeds: must be whole numbers as 0,1, got '²'"),
        (["discover", "ioi", "--threshold", "nan"], "--threshold: must be a finite number"),
        (["discover", "ioi", "--threshold", "inf"], "--threshold: must be a finite number"),
        (["validate", "no.json", "--min-faithfulness", "inf"], "--min-faithfulness: must be a f"),
        (["validate", "no.json", "--min-faithfulness", "nan"], "--min-faithfulness: must be a f"),
        (["validate", "no.json", "--max-edge-share", "nan"], "--max-edge-share: must be a finite"),
        (["run", "ioi", "--bos", "sometimes"], "--bos: must be one of auto, always, never"),
        (["run", "ioi", "--memory", "0"], "--memory: must be a size"),
        (["run", "ioi", "--memory", "9" * 400], "--memory: must be a size"),
        (["run", "ioi", "--memory", "4XB"], "--memory: must be a size"),
        (["run", "ioi", "--set", "steps"], "a setting and its value"),
    ],
)
def test_a_wrong_value_is_one_sentence_before_anything_is_loaded(words, message, monkeypatch):
    def never():
        raise AssertionError("the library was loaded")

    monkeypatch.setattr(f"circuitkit.cli.{words[0].replace('-', '_')}.loading", never)
    done = RUNNER.invoke(app, words)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_an_error_of_an_option_is_json_if_asked():
    done = RUNNER.invoke(app, ["run", "ioi", "--seed", "-1", "--json"])
    assert '"error": "MethodError"' in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("wait", [0.05, 0.5, 1.5])
def test_ctrl_c_while_python_imports_leaves_at_once_with_130_and_no_message(wait):
    code = "import sys; sys.argv = ['circuitkit', 'tasks']; from circuitkit.cli import main; "
    code += "print('go', flush=True); main()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "go\n"
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def test_the_entry_points_of_this_and_the_last_version_are_one():
    from circuitkit.cli import main
    from circuitkit.cli.app import main as as_before

    assert main is as_before
