"""Tasks: a behaviour as a small class that yields prompt pairs, and how a task is found.

task --sample_splits(seed)--> discovery, validation and reference pairs (prompts/splits.py)
"""

import importlib.util
import inspect
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

from circuitkit.errors import TaskError
from circuitkit.metrics import LogitDifference, Metric
from circuitkit.moved import old_names
from circuitkit.prompts.pairs import PromptPair

ENTRY_POINT_GROUP = "circuitkit.tasks"


class Task(ABC):
    """A behaviour: an endless, seeded stream of prompt pairs, and the metric that measures it."""

    name: ClassVar[str]
    metric: ClassVar[Metric] = LogitDifference()
    drop_misaligned: ClassVar[bool] = False
    held_out: ClassVar["type[Task] | None"] = None  # the same behaviour in wordings not in `pairs`

    @abstractmethod
    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield pairs without end. All randomness comes from `rng`."""

    def reference_pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield the pairs whose corrupted prompts supply the means of mean ablation."""
        return self.pairs(rng)

    @property
    def other_wordings(self) -> "Task | None":
        """The task of `held_out`."""
        return None if self.held_out is None else self.held_out()

    @property
    def description(self) -> str:
        """The first line of the class's docstring."""
        return (inspect.getdoc(type(self)) or "").partition("\n")[0]


def registered_tasks() -> dict[str, type[Task]]:
    """Return the tasks that installed packages offer (entry point group `circuitkit.tasks`)."""
    found = {point.name: point.load() for point in entry_points(group=ENTRY_POINT_GROUP)}
    return dict(sorted(found.items()))


def find_task(spec: str) -> Task:
    """Return the task named `spec`: a registered name, `file.py:Class`, or `file.py` with one task.

    Raises:
        TaskError: no such task, or the file does not hold a usable one.
    """
    if ".py" in spec:
        path, _, class_name = spec.partition(":")
        return _instance(_class_in_file(Path(path), class_name), spec)
    tasks = registered_tasks()
    if spec not in tasks:
        raise TaskError(
            f"task {spec!r}: must be one of {', '.join(tasks) or '(none installed)'}, or a file "
            "as my_task.py:MyTask. `circuitkit tasks` lists them. Check the spelling."
        )
    return _instance(tasks[spec], spec)


def _class_in_file(path: Path, class_name: str) -> type[Task]:
    module = _module_from(path)
    classes = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Task)
        and value.__module__ == module.__name__
    }
    if class_name and class_name in classes:
        return classes[class_name]
    if not class_name and len(classes) == 1:
        return next(iter(classes.values()))
    raise TaskError(
        f"task file {str(path)!r}: must define "
        f"{'the Task class ' + repr(class_name) if class_name else 'exactly one Task class'}, got "
        f"{sorted(classes) or 'none'}. It says what to run. Name one as {path.name}:ClassName."
    )


def _module_from(path: Path) -> ModuleType:
    if not path.is_file():
        raise TaskError(f"task file {str(path)!r}: must exist, got no such file. Check the path.")
    name = f"circuitkit_task_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py path always has a spec"
    assert spec.loader is not None, "and a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look the module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise TaskError(
            f"task file {str(path)!r}: must import without error, got "
            f"{type(error).__name__}: {error}. Mend the file."
        ) from error
    return module


def _instance(task_class: type[Task], spec: str) -> Task:
    missing = sorted(getattr(task_class, "__abstractmethods__", ()))
    if missing or not getattr(task_class, "name", ""):
        raise TaskError(
            f"task {spec!r}: must define {', '.join(missing) or 'a class variable `name`'}. "
            "See examples/greater_than.py for a whole task in 30 lines."
        )
    return task_class()


if not TYPE_CHECKING:  # names that moved
    __getattr__ = old_names(__name__)
