"""A run told to a logger (loggers.py), so that no fault of the logger loses the run.

    begin   before the work: what was asked for. A logger that cannot begin stops everything
    tell    after the run is saved: its numbers, then its files. What fails is warned of
    end     always, as failed where an error ended the work

Numbers of a check: `criterion`, `criterion_low` and `criterion_high`, the ends of its 95 %
interval, and `criterion_n`; no slash, of which MLflow's files make folders. Texts: the verdict, its
sentence, each question's answer and the outcome of each check.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

from circuitkit.errors import LogError, LogWarning
from circuitkit.reporting.loggers import RunLogger, logger_named
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.records import RunRecord
from circuitkit.work.text import error_text, shown

MAX_TEXT = 500  # characters of a setting or a sentence: MLflow takes no more in a parameter


@dataclass
class RunLog:
    """A log that a run is told to; without a logger nothing is told."""

    logger: RunLogger | None = None
    is_begun: bool = False

    def begin(self, name: str, *asked: object) -> None:
        """Begin the log with the fields of what was asked for.

        Raises:
            LogError: the logger cannot begin.
        """
        if self.logger is None:
            return
        try:
            self.logger.start(name, settings_of(*asked))
        except Exception as error:  # a logger's own errors, of a network or a login, are anyone's
            raise LogError(
                f"--log: the log must begin before the work, got {error_text(error)}. Nothing was "
                "begun. Log in there, work offline as its documentation says, or leave --log out."
            ) from error
        self.is_begun = True

    def tell(self, record: RunRecord, directory: Path) -> None:
        """Tell a run that was saved; what cannot be told is warned of."""
        if self.logger is None or not self.is_begun:
            return
        logger, numbers, said = self.logger, numbers_of(record), texts_of(record)
        self._attempt("its numbers", lambda: logger.numbers(numbers, said))
        self._attempt("its files", lambda: logger.files(directory))

    def end(self, *, failed: bool) -> None:
        """End the log, once."""
        if self.logger is not None and self.is_begun:
            self.is_begun, logger = False, self.logger
            self._attempt("its end", lambda: logger.end(failed=failed))

    def _attempt(self, what: str, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:
            warnings.warn(
                f"The log lacks {what}: {error_text(error)}. The run is whole in its directory.",
                LogWarning,
                stacklevel=3,
            )


@contextmanager
def logged(where: str) -> Iterator[RunLog]:
    """Yield the log of a text such as wandb:project, empty for none; end it with the block.

    Raises:
        MethodError: there is no such logger.
        DependencyError: its package is not installed.
    """
    log = RunLog(logger_named(where) if where else None)
    failed = True
    try:
        yield log
        failed = False
    finally:
        log.end(failed=failed)


def settings_of(*asked: object) -> dict[str, Any]:
    """Return the fields of dataclasses as numbers, truths and short texts; empty ones left out."""
    found = {each.name: getattr(one, each.name) for one in asked for each in fields(one)}  # type: ignore[arg-type]
    return {name: _plain(value) for name, value in found.items() if value not in (None, "", (), {})}


def numbers_of(record: RunRecord) -> dict[str, float]:
    """Return the numbers of a run by name: sizes, faithfulness under each ablation, checks."""
    circuit, validation = record.circuit, record.validation
    numbers: dict[str, float] = {
        "n_edges": circuit.n_edges,
        "n_edges_in_graph": record.graph.n_edges,
        "n_components": len(circuit.components),
        "n_validation": record.info.n_validation,
    }
    for found in validation.faithfulness:
        numbers |= _interval(f"faithfulness-{found.ablation}", found.value)
    for check in validation.verdict.checks:
        numbers |= {} if check.value is None else _interval(check.criterion, check.value)
        numbers |= {} if check.p is None else {f"{check.criterion}_p": check.p}
    return {name: value for name, value in numbers.items() if isfinite(value)}


def texts_of(record: RunRecord) -> dict[str, str]:
    """Return the short texts of a run by name: verdict, answers, outcomes, model and recipe."""
    info, verdict = record.info, record.validation.verdict
    recipe = {f"recipe/{name}": str(value) for name, value in settings_of(info.recipe).items()}
    return {
        "verdict": verdict.outcome,
        "sentence": verdict.sentence[:MAX_TEXT],
        **{f"question/{each.question}": each.outcome for each in verdict.questions},
        **{f"outcome/{check.criterion}": check.outcome for check in verdict.checks},
        "model": info.model,
        "model_digest": info.model_digest,
        "unit": info.unit,
        **recipe,
    }


def _interval(name: str, found: Estimate) -> Mapping[str, float]:
    if found.n == 1:  # a count, exact
        return {name: found.value}
    ends = {f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_n": float(found.n)}
    return {name: found.value, **ends}


def _plain(value: object) -> Any:
    if isinstance(value, bool | int | float):
        return value
    return value[:MAX_TEXT] if isinstance(value, str) else shown(value, MAX_TEXT)
