"""Where a run may be logged: Weights & Biases, MLflow and Trackio, behind one small protocol.

    start(name, settings)   begins a run there; raises if it cannot
    numbers(values, said)   numbers and short texts of the result
    files(directory)        the run directory, whole
    end(failed)             the run is over

Another logger is a class with these four, its test, and one line in LOGGERS. Its package is
imported when it is made, before any work.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from circuitkit.errors import DependencyError, MethodError
from circuitkit.work.text import shown

FORM = "wandb:project, mlflow:experiment or trackio:project"
ARTIFACT = "circuitkit-run"  # kind of the files, where a logger asks for one


@runtime_checkable
class RunLogger(Protocol):
    """What a run is told to."""

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        """Begin a run of this name, with what was asked for."""

    def numbers(self, values: Mapping[str, float], said: Mapping[str, str]) -> None:
        """Keep numbers, and short texts beside them."""

    def files(self, directory: Path) -> None:
        """Keep all files of a run directory."""

    def end(self, *, failed: bool) -> None:
        """Say that the run is over."""


class WandbLogger:
    """A run of a project of Weights & Biases; WANDB_MODE=offline keeps it on this machine."""

    def __init__(self, project: str) -> None:
        self.project, self.wandb = project, _package("wandb", "log-wandb")

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        """Begin the run."""
        self.run = self.wandb.init(project=self.project, name=name, config=dict(settings))

    def numbers(self, values: Mapping[str, float], said: Mapping[str, str]) -> None:
        """Log the numbers once, and put the texts into the summary."""
        self.run.log(dict(values))
        self.run.summary.update(dict(said))

    def files(self, directory: Path) -> None:
        """Log the directory as an artifact."""
        artifact = self.wandb.Artifact(artifact_name(directory), type=ARTIFACT)
        artifact.add_dir(str(directory))
        self.run.log_artifact(artifact)

    def end(self, *, failed: bool) -> None:
        """Finish the run."""
        self.run.finish(exit_code=int(failed))


class MLflowLogger:
    """A run of an experiment of MLflow, in the store that MLFLOW_TRACKING_URI names."""

    def __init__(self, experiment: str) -> None:
        self.experiment, self.mlflow = experiment, _package("mlflow", "log-mlflow")

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        """Begin the run; settings are its parameters."""
        self.mlflow.set_experiment(self.experiment)
        self.mlflow.start_run(run_name=name)
        self.mlflow.log_params(dict(settings))

    def numbers(self, values: Mapping[str, float], said: Mapping[str, str]) -> None:
        """Log the numbers as metrics and the texts as tags."""
        self.mlflow.log_metrics(dict(values))
        self.mlflow.set_tags(dict(said))

    def files(self, directory: Path) -> None:
        """Log the directory as artifacts."""
        self.mlflow.log_artifacts(str(directory))

    def end(self, *, failed: bool) -> None:
        """End the run."""
        self.mlflow.end_run("FAILED" if failed else "FINISHED")


class TrackioLogger:
    """A run of a project of Trackio, on this machine or where TRACKIO_SPACE_ID says."""

    def __init__(self, project: str) -> None:
        self.project, self.trackio = project, _package("trackio", "log-trackio")

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        """Begin the run."""
        self.run = self.trackio.init(project=self.project, name=name, config=dict(settings))

    def numbers(self, values: Mapping[str, float], said: Mapping[str, str]) -> None:
        """Log numbers and texts together."""
        self.run.log({**values, **said})

    def files(self, directory: Path) -> None:
        """Log the directory as an artifact."""
        artifact = self.trackio.Artifact(artifact_name(directory), type=ARTIFACT)
        artifact.add_dir(str(directory))
        self.run.log_artifact(artifact)

    def end(self, *, failed: bool) -> None:
        """Finish the run; Trackio has no word for one that failed, so a text says it."""
        if failed:
            self.run.log({"failed": "true"})
        self.run.finish()


LOGGERS: dict[str, Callable[[str], RunLogger]] = {
    "wandb": WandbLogger,
    "mlflow": MLflowLogger,
    "trackio": TrackioLogger,
}


def logger_named(text: str) -> RunLogger:
    """Return the logger of a text such as wandb:project.

    Raises:
        MethodError: there is no such logger, or no project.
        DependencyError: its package is not installed.
    """
    kind, _, project = text.partition(":")
    if kind not in LOGGERS or not project.strip():
        raise MethodError(
            f"--log: must be {FORM}, got {shown(text)}. It says where the run is logged, and under "
            "which name. Write both."
        )
    return LOGGERS[kind](project.strip())


def artifact_name(directory: Path) -> str:
    """Return a name of letters, digits, dots, dashes and underscores, as loggers want them."""
    name = directory.resolve().name
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name) or "run"


def _package(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        why = "It keeps the log. Nothing was begun."
        raise DependencyError("--log", name, extra, why) from error
