"""A search goes on from its own file, whatever its output is called; roles name files safely."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from circuitkit.cli.actions import discover
from circuitkit.cli.actions.discover import checkpoint_beside, file_names
from circuitkit.cli.app import app
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request

REQUEST, SETTINGS = Request(task="ioi"), Settings(method="acdc")


def test_another_output_beside_names_the_same_checkpoint():
    names = {
        checkpoint_beside(Path(f"out/{name}.json"), REQUEST, SETTINGS) for name in ("a", "b", "run")
    }
    assert len(names) == 1
    assert names.pop().parent == Path("out")


@pytest.mark.parametrize(
    ("request_", "settings"),
    [
        (Request(task="ioi", seed=1), SETTINGS),
        (Request(task="ioi", model="other"), SETTINGS),
        (Request(prompts=Path("p.jsonl")), SETTINGS),
        (REQUEST, Settings(method="exact")),
        (REQUEST, Settings(method="acdc", method_settings={"threshold": 0.1})),
        (REQUEST, Settings(method="acdc", scoring_ablation="zero")),
    ],
)
def test_other_work_has_another_checkpoint(request_, settings):
    one, other = (
        checkpoint_beside(Path("c.json"), *work)
        for work in ((REQUEST, SETTINGS), (request_, settings))
    )
    assert one != other


def test_how_fast_it_goes_makes_no_other_work():
    same = checkpoint_beside(
        Path("c.json"),
        Request(task="ioi", device="cuda", command="circuitkit discover"),
        Settings(method="acdc", memory=10**9, batch_size=4, anyway=True),
    )
    assert same == checkpoint_beside(Path("c.json"), REQUEST, SETTINGS)


def test_a_search_that_was_stopped_goes_on_into_another_file(tmp_path, monkeypatch):
    words = ["discover", "planted-induction", "--model", "planted-induction", "--n", "8"]
    words += ["--method", "exact", "--edges", "30", "--anyway", "-q"]

    def stopped(*_, **__):
        raise OSError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(discover, "save_circuit", stopped)
        done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "a.json")])
    assert done.exit_code == 3
    [kept] = tmp_path.iterdir()
    size = kept.stat().st_mtime_ns
    keeps = []
    monkeypatch.setattr(
        "circuitkit.work.checkpoint.Checkpoint.keep", lambda *given: keeps.append(given)
    )
    done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "b.json")])
    assert done.exit_code == 0, done.output
    assert keeps == []  # nothing was computed again
    assert size
    assert os.listdir(tmp_path) == ["b.json"]


def test_names_of_roles_cannot_leave_the_directory_or_meet():
    names = ["A", "a", "../../etc/x", "a/b", "a-b", "", "..", "\x00", "x" * 500, "A-2"]
    found = file_names(names)
    assert len({name.lower() for name in found}) == len(names)
    assert all(len(name) < 70 and "/" not in name and not name.startswith(".") for name in found)
    assert found[0] == "A"
