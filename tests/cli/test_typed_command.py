"""Only the command line records what was typed; a call from Python is never taken for it."""

import sys

from circuitkit.cli.actions.requests import request_of
from circuitkit.cli.options import Machine, What
from circuitkit.study.pipeline import study
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, subject_of

STRANGE = ["notebook", "--secret", "strange; rm -rf", "-q", "--force", "ioi"]


def test_a_call_from_python_records_no_command_whatever_its_program_was_started_with(
    project, monkeypatch
):
    monkeypatch.setattr(sys, "argv", STRANGE)
    subject = subject_of(Request(prompts=project / "pairs.jsonl", model=str(project / "toy")))
    settings = Settings(
        ablation="resample", n_edges=150, n_random=1, criteria=("faithfulness",), anyway=True
    )
    found = study(subject, settings)
    assert found.info.command == ""
    assert "secret" not in repr(found.info)


def test_a_command_records_what_was_typed_less_what_only_changes_the_terminal(monkeypatch):
    monkeypatch.setattr(sys, "argv", STRANGE)
    typed = request_of(What("ioi", bos="never"), Machine())
    assert typed.command == "circuitkit --secret 'strange; rm -rf' ioi"
    assert typed.bos == "never"
