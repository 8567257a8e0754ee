"""Tasks: a behaviour as a small class that yields prompt pairs, and how a task is found.

task --sample_splits(seed)--> discovery, validation and reference pairs (prompts/splits.py)
"""

import hashlib
import importlib.util
import inspect
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

from circuitkit.errors import TaskError
from circuitkit.metrics import LogitDifference, Metric
from circuitkit.moved import old_names
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.task_code import task_code
from circuitkit.work.strangers import ENTRY_POINT_GROUP as ENTRY_POINT_GROUP
from circuitkit.work.strangers import TASK_FILE
from circuitkit.work.text import is_safe, shown

DIGEST = "__circuitkit_source_digest__"  # the name, in a task file's module, of its digest


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
    def source_digest(self) -> str:
        """The SHA-256 of the Python file that the task was run from; empty of an installed one."""
        return str(getattr(sys.modules.get(type(self).__module__), DIGEST, ""))

    @property
    def description(self) -> str:
        """The first line of the class's docstring."""
        return (inspect.getdoc(type(self)) or "").partition("\n")[0]


def registered_tasks() -> dict[str, type[Task]]:
    """Return the tasks that installed packages offer (entry point group `circuitkit.tasks`).

    Raises:
        TaskError: one of them cannot be imported, or is no task.
    """
    return {name: _loaded(point) for name, point in sorted(_entry_points().items())}


def installed_names() -> frozenset[str]:
    """Return the names of the tasks that installed packages offer; none of them is imported."""
    return frozenset(_entry_points())


def find_task(spec: str, *, digest: str = "") -> Task:
    """Return the task named `spec`: a registered name, `file.py:Class`, or `file.py` with one task.

    A file of Python is run. With a `digest`, it is run only if that is the SHA-256 of its bytes.

    Raises:
        TaskError: no such task, or the file does not hold a usable one, or is another.
    """
    if names_a_file(spec):
        path, _, class_name = spec.partition(":")
        return _instance(_class_in_file(Path(path), class_name, digest), spec)
    tasks = _entry_points()
    if spec not in tasks:
        raise TaskError(
            f"task {shown(spec)}: must be one of {', '.join(sorted(tasks)) or '(none installed)'}, "
            "or a file as my_task.py:MyTask. `circuitkit tasks` lists them. Check the spelling."
        )
    return _instance(_loaded(tasks[spec]), spec)


def names_a_file(spec: str) -> bool:
    """Return whether finding the task `spec` would run a Python file by its path."""
    return ".py" in spec


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _loaded(point: EntryPoint) -> type[Task]:
    with task_code(f"task {point.name!r}: {point.value} must import without error"):
        found = point.load()
    if not (inspect.isclass(found) and issubclass(found, Task)):
        raise TaskError(
            f"task {point.name!r}: {point.value} must be a class of Task, got {shown(found)}. An "
            "installed package offers it. Mend or remove that package."
        )
    return found


def _class_in_file(path: Path, class_name: str, digest: str) -> type[Task]:
    module = module_of(path, digest)
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


def module_of(path: Path, digest: str, called: str = "task file") -> ModuleType:
    """Return a file of Python as a module, after it was run.

    Raises:
        TaskError: it cannot be read, is another than that of the digest, or does not import.
    """
    where = f"{called} {shown(str(path))}"
    if not path.is_file():
        raise TaskError(f"{where}: must exist, got no such file. Check the path.")
    if path.suffix != ".py":
        raise TaskError(
            f"{where}: must end in .py, got {shown(path.suffix)}. It is run as Python. Rename it."
        )
    source = _read_source(path, where)
    found = hashlib.sha256(source).hexdigest()
    if digest not in ("", found):
        raise TaskError(
            f"{where}: must be the file that found the circuit, of SHA-256 {shown(digest)}, got "
            f"{found}. Other code would be run than the one that was recorded. Restore it, or look "
            "at it and name it yourself with --task."
        )
    name = f"{TASK_FILE}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py path always has a spec"
    assert spec.loader is not None, "and a loader"
    module = importlib.util.module_from_spec(spec)
    setattr(module, DIGEST, found)
    sys.modules[name] = module  # dataclasses and pickling look the module up by name
    with task_code(f"{where}: must import without error"):
        # the bytes that were digested: the file may be another by now
        exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102  the caller named it
    return module


def _read_source(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TaskError(
            f"{where}: must be readable, got {error.strerror or error}. It says what to run. Check "
            "its permissions."
        ) from error


def _instance(task_class: type[Task], spec: str) -> Task:
    with task_code(f"task {shown(spec)}: making it must raise no error"):
        missing = sorted(getattr(task_class, "__abstractmethods__", ()))
        if missing or not getattr(task_class, "name", ""):
            needed = ", ".join(missing) or "a class variable `name`"
            raise TaskError(
                f"task {shown(spec)}: must define {needed}. See examples/greater_than.py for a "
                "whole task in 30 lines."
            )
        task = task_class()
        require_task(task, spec)
    return task


def _written_at(kind: type) -> str:
    """Return the class, file and line where a task is written; empty where there is no source."""
    try:
        file, line = inspect.getsourcefile(kind), inspect.getsourcelines(kind)[1]
    except (OSError, TypeError):
        return ""
    return f" ({kind.__qualname__} in {Path(file or '').name}, line {line})"


def require_task(task: Task, spec: str) -> None:
    """Refuse a task whose class variables are of the wrong kind.

    Raises:
        TaskError: one is.
    """
    held_out = task.held_out
    is_task = inspect.isclass(held_out) and issubclass(held_out, Task)
    rules = (
        ("name", isinstance(task.name, str) and is_safe(task.name), "text, no control characters"),
        ("metric", isinstance(task.metric, Metric), "a metric, as LogitDifference()"),
        ("drop_misaligned", isinstance(task.drop_misaligned, bool), "True or False"),
        ("held_out", held_out is None or is_task, "another Task class, or None"),
    )
    for key, is_met, rule in rules:
        if not is_met:
            raise TaskError(
                f"task {shown(spec)}{_written_at(type(task))}: `{key}` must be {rule}, got "
                f"{shown(getattr(task, key))}. It is part of what is measured. Correct the class."
            )


if not TYPE_CHECKING:  # names that moved
    __getattr__ = old_names(__name__)
