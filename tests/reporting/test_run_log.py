"""Logging of a run: what is told, when, and that no fault of a logger loses the run."""

import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from circuitkit.errors import DependencyError, LogError, LogWarning, MethodError
from circuitkit.reporting import loggers
from circuitkit.reporting.loggers import LOGGERS, RunLogger, artifact_name, logger_named
from circuitkit.reporting.run_log import RunLog, logged, numbers_of, settings_of, texts_of
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.validation.verdict import SUPPORTED


@dataclass
class Told:
    """A logger that remembers what it was told, and fails where it is asked to."""

    failing: tuple[str, ...] = ()
    heard: list[tuple] = field(default_factory=list)

    def _hear(self, what, *told):
        if what in self.failing:
            raise ConnectionError(f"no way to {what}")
        self.heard.append((what, *told))

    def start(self, name, settings):
        self._hear("start", name, settings)

    def numbers(self, values, said):
        self._hear("numbers", values, said)

    def files(self, directory):
        self._hear("files", directory)

    def end(self, *, failed):
        self._hear("end", failed)


@dataclass(frozen=True)
class Asked:
    task: str = "ioi"
    n: int = 100
    nothing: str = ""
    none: None = None
    path: Path = Path("x")


@pytest.fixture
def told(monkeypatch):
    """A logger called `told:`, and what it heard."""
    logger = Told()
    monkeypatch.setitem(LOGGERS, "told", lambda project: logger)
    return logger


def test_a_run_is_begun_told_and_ended_in_this_order(told, record):
    with logged("told:project") as log:
        log.begin("toy--tiny", Asked())
        log.tell(record, Path("run"))
    assert [each[0] for each in told.heard] == ["start", "numbers", "files", "end"]
    settings = {"task": "ioi", "n": 100, "path": "PosixPath('x')"}
    assert told.heard[0] == ("start", "toy--tiny", settings)
    assert told.heard[2:] == [("files", Path("run")), ("end", False)]


def test_a_run_that_went_wrong_is_ended_as_failed(told, record):
    with pytest.raises(ValueError, match="work"), logged("told:project") as log:
        fail_after(log.begin("toy", Asked()))
    assert told.heard[-1] == ("end", True)


def fail_after(_):
    raise ValueError("work")


def test_what_never_began_is_never_ended(told):
    with pytest.raises(ValueError, match="input"), logged("told:project"):
        raise ValueError("input")
    assert told.heard == []


def tell_whole(record):
    with logged("told:project") as log:
        log.begin("toy", Asked())
        log.tell(record, Path("run"))


@pytest.mark.parametrize("failing", ["numbers", "files", "end"])
def test_a_logger_that_fails_midway_costs_a_warning_and_nothing_else(told, record, failing):
    told.failing = (failing,)
    with pytest.warns(LogWarning, match=f"its {failing}.*no way to {failing}.*run is whole"):
        tell_whole(record)
    rest = [each[0] for each in told.heard]
    assert rest == [each for each in ("start", "numbers", "files", "end") if each != failing]


def test_a_logger_that_cannot_begin_stops_everything_in_a_sentence(told):
    told.failing = ("start",)
    with pytest.raises(LogError, match="must begin before the work, got ConnectionError"):
        tell_whole(None)
    assert told.heard == []


def test_without_a_logger_nothing_is_told(record):
    with logged("") as log:
        log.begin("toy", Asked())
        log.tell(record, Path("run"))
    assert log == RunLog()


@pytest.mark.parametrize("text", ["wandb", "wandb:", "mlflow: ", "tensorboard:x", ":x"])
def test_another_logger_or_none_is_refused(text):
    with pytest.raises(MethodError, match="--log: must be wandb:project, mlflow"):
        logger_named(text)


@pytest.mark.parametrize("kind", LOGGERS)
def test_a_missing_package_is_a_sentence_before_any_work(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(DependencyError, match=rf"circuitkit-mi\[log-{kind}\]"):
        logger_named(f"{kind}:project")


def test_numbers_are_those_of_the_record(record):
    numbers = numbers_of(record)
    for check in record.validation.verdict.checks:
        if check.value is None:
            assert check.criterion not in numbers
            continue
        assert numbers[check.criterion] == check.value.value
        if check.value.n > 1:
            ends = numbers[f"{check.criterion}_low"], numbers[f"{check.criterion}_high"]
            assert ends == (check.value.low, check.value.high)
        else:
            assert f"{check.criterion}_low" not in numbers
    assert numbers["faithfulness-zero"] == 0.625
    assert not any("/" in name for name in numbers)  # x and x/low cannot both be files
    assert (numbers["n_edges"], numbers["n_edges_in_graph"]) == (6, 75)
    assert numbers["sufficiency_p"] == 0.05


def test_a_number_that_is_not_finite_is_left_out(record):
    check = record.validation.verdict.checks[0]
    endless = replace(check, value=Estimate(0.5, -float("inf"), float("nan"), 9))
    verdict = replace(record.validation.verdict, checks=(endless,))
    numbers = numbers_of(replace(record, validation=replace(record.validation, verdict=verdict)))
    assert numbers["faithfulness"] == 0.5
    assert "faithfulness_low" not in numbers
    assert "faithfulness_high" not in numbers


def test_texts_name_the_verdict_every_outcome_and_the_recipe(record):
    said = texts_of(record)
    assert said["verdict"] == record.validation.verdict.outcome == SUPPORTED
    assert said["outcome/faithfulness"] == "supported"
    assert said["model_digest"] == "0123abcd"
    assert any(name.startswith("recipe/") for name in said)
    assert all(isinstance(text, str) for text in said.values())
    assert settings_of(Asked())["task"] == "ioi"


def test_names_of_artifacts_are_plain():
    assert artifact_name(Path("/x/ioi--pico--eap")) == "ioi--pico--eap"
    assert artifact_name(Path("/x/ä b:c")) == "--b-c"


class FakeRun:
    def __init__(self, calls):
        self.calls, self.summary = (
            calls,
            SimpleNamespace(update=lambda t: calls.append(("texts", t))),
        )

    def log(self, values):
        self.calls.append(("log", values))

    def log_artifact(self, artifact):
        self.calls.append(("artifact", artifact.name, artifact.type, artifact.directory))

    def finish(self, **words):
        self.calls.append(("finish", words))


class FakeArtifact:
    def __init__(self, name, type):
        self.name, self.type = name, type

    def add_dir(self, directory):
        self.directory = directory


def fake_package(monkeypatch, name):
    """Put a stand-in of wandb or trackio, with the calls it got."""
    calls, package = [], ModuleType(name)
    package.init = lambda **words: calls.append(("init", words)) or FakeRun(calls)
    package.Artifact = FakeArtifact
    monkeypatch.setitem(sys.modules, name, package)
    return calls


def use(logger, *, failed):
    assert isinstance(logger, RunLogger)
    logger.start("toy", {"n": 3})
    logger.numbers({"faithfulness": 0.5}, {"verdict": "refuted"})
    logger.files(Path("/x/run"))
    logger.end(failed=failed)


def test_wandb_gets_config_numbers_summary_files_and_the_exit_code(monkeypatch):
    calls = fake_package(monkeypatch, "wandb")
    use(logger_named("wandb:mine"), failed=True)
    assert calls == [
        ("init", {"project": "mine", "name": "toy", "config": {"n": 3}}),
        ("log", {"faithfulness": 0.5}),
        ("texts", {"verdict": "refuted"}),
        ("artifact", "run", loggers.ARTIFACT, "/x/run"),
        ("finish", {"exit_code": 1}),
    ]


def test_trackio_gets_config_numbers_texts_and_files(monkeypatch):
    calls = fake_package(monkeypatch, "trackio")
    use(logger_named("trackio:mine"), failed=True)
    assert calls == [
        ("init", {"project": "mine", "name": "toy", "config": {"n": 3}}),
        ("log", {"faithfulness": 0.5, "verdict": "refuted"}),
        ("artifact", "run", loggers.ARTIFACT, "/x/run"),
        ("log", {"failed": "true"}),
        ("finish", {}),
    ]


def test_mlflow_gets_parameters_metrics_tags_files_and_the_status(monkeypatch):
    calls, package = [], ModuleType("mlflow")
    names = ("set_experiment", "log_params", "log_metrics", "set_tags", "log_artifacts", "end_run")
    for name in names:
        setattr(package, name, lambda told, name=name: calls.append((name, told)))
    package.start_run = lambda run_name: calls.append(("start_run", run_name))
    monkeypatch.setitem(sys.modules, "mlflow", package)
    use(logger_named("mlflow:mine"), failed=False)
    assert calls == [
        ("set_experiment", "mine"),
        ("start_run", "toy"),
        ("log_params", {"n": 3}),
        ("log_metrics", {"faithfulness": 0.5}),
        ("set_tags", {"verdict": "refuted"}),
        ("log_artifacts", "/x/run"),
        ("end_run", "FINISHED"),
    ]


def test_real_wandb_takes_a_whole_record_offline(record, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    run = tmp_path / "run"
    run.mkdir()
    (run / "circuit.json").write_text("{}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        with logged("wandb:project") as log:
            log.begin("toy", record.info)
            log.tell(record, run)
            assert log.logger.run.summary["verdict"] == record.validation.verdict.outcome
        wandb.teardown()
    kept = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert kept
    assert kept[0].stat().st_size > 0
