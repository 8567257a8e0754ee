"""What `tasks` and `models` list, with how models do on tasks."""

from typing import Any

from circuitkit.cli.actions.requests import request_of
from circuitkit.cli.options import Machine, ShownAtOnce, What
from circuitkit.cli.terminal import show_rows
from circuitkit.errors import PromptError
from circuitkit.study.subject import subject_of
from circuitkit.task import find_task, registered_tasks
from circuitkit.validation.baseline import measure_baseline
from circuitkit.zoo import zoo_models


def list_tasks(model: str, n: int, seed: int, shown: ShownAtOnce) -> None:
    """Show every task; and how a model does on it, if one is named."""
    rows = []
    for name in registered_tasks():
        row: dict[str, Any] = {"task": name, "description": find_task(name).description}
        if model:
            row |= _baseline_row(What(name, model=model, n=n, seed=seed))
        rows.append(row)
    show_rows("Tasks", rows, as_json=shown.as_json)


def list_models(task: str, n: int, seed: int, shown: ShownAtOnce) -> None:
    """Show every model that ships; and how it does on a task, if one is named."""
    rows = []
    for entry in zoo_models():
        row: dict[str, Any] = {"model": entry.name, "description": entry.description}
        if task:
            row |= _baseline_row(What(task, model=entry.name, n=n, seed=seed))
        rows.append(row)
    show_rows("Models", rows, as_json=shown.as_json)


def _baseline_row(what: What) -> dict[str, str]:
    try:
        subject = subject_of(request_of(what, Machine()))
    except PromptError:
        return {"can do it": "no: its tokenizer lacks the words"}
    baseline = measure_baseline(subject.model, subject.splits.validation, subject.metric)
    return {
        "accuracy": str(baseline.accuracy),
        "clean": f"{baseline.clean} {baseline.unit}",
        "corrupted": f"{baseline.corrupted} {baseline.unit}",
        "can do it": "no" if baseline.fault else "yes",
    }
