"""`run --log`: the package is asked for first, a bad logger never costs the run."""

import json
import sys

import pytest

from circuitkit.reporting.loggers import LOGGERS
from circuitkit.study import subject as subject_module
from circuitkit.study.records import load_record
from tests.reporting.test_run_log import Told

from .test_app import call
from .test_app import common as common
from .test_app import prompt_file as prompt_file


@pytest.fixture
def told(monkeypatch):
    logger = Told()
    monkeypatch.setitem(LOGGERS, "told", lambda project: logger)
    return logger


def test_a_run_is_logged_with_its_settings_numbers_and_files(told, common, tmp_path):
    out = tmp_path / "out"
    done = call("run", *common, "--ablation", "resample", "-o", out, "--log", "told:here")
    assert done.exit_code == 0, done.output
    start, numbers, files, end = told.heard
    assert start[1] == "out"
    assert start[2]["ablation"] == "resample"
    verdict = load_record(out).validation.verdict
    assert numbers[1]["faithfulness"] == verdict.check("faithfulness").value.value
    assert numbers[2]["verdict"] == verdict.outcome
    assert files == ("files", out)
    assert end == ("end", False)


@pytest.mark.filterwarnings("default::circuitkit.errors.LogWarning")
def test_a_logger_that_fails_midway_loses_no_run(told, common, tmp_path):
    told.failing = ("numbers", "files", "end")
    out = tmp_path / "out"
    done = call("run", *common, "--ablation", "resample", "-o", out, "--log", "told:here")
    assert done.exit_code == 0, done.output
    assert "Note: The log lacks its files: ConnectionError: no way to files." in done.output
    assert (out / "report.html").exists()
    load_record(out)


def test_nothing_is_begun_where_the_logger_or_its_package_is_missing(
    monkeypatch,
    common,
    tmp_path,
):
    begun = []
    monkeypatch.setattr(subject_module, "load_model", lambda *a, **k: begun.append(a))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    out = tmp_path / "out"
    done = call("run", *common, "-o", out, "--json", "--log", "mlflow:here")
    assert done.exit_code == 2
    assert "pip install 'circuitkit-mi[log-mlflow]'" in json.loads(done.stdout)["message"]
    done = call("run", *common, "-o", out, "--log", "nowhere:here")
    assert done.exit_code == 2
    assert "--log: must be wandb:project" in done.output
    assert begun == []
    assert not out.exists()


def test_bad_input_leaves_no_failed_run_in_the_log(told, tmp_path):
    done = call("run", "no-such-task", "-o", tmp_path / "out", "--log", "told:here", "-q")
    assert done.exit_code == 2
    assert told.heard == []
