"""All items of a scoreboard, side by side and resumable, as tables."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from pathlib import Path

import pyarrow
import pyarrow.parquet

from circuitkit.bench.scoreboard.measure import N_TRAINED, SETTINGS, Item, measure_item, refusal_of
from circuitkit.discovery.methods import METHODS, method_named
from circuitkit.errors import MethodError
from circuitkit.work.checkpoint import open_checkpoint
from circuitkit.work.progress import Progress, silent
from circuitkit.zoo.planted import BLUEPRINTS, DIFFICULTIES, planted

TRAINED_TASKS = ("ioi", "induction", "factual-recall")
# Measures every edge once for each component: only where single effects hide something.
JOINT, HIDING = "exact-joint", ("backup", "cancellation")


@dataclass(frozen=True)
class Plan:
    """Which methods on which models; `n` pairs find, and as many others judge."""

    methods: tuple[str, ...] = tuple(METHODS)
    models: tuple[str, ...] = tuple(BLUEPRINTS)
    difficulties: tuple[str, ...] = tuple(DIFFICULTIES)
    seeds: tuple[int, ...] = (0,)
    n: int = 24
    trained_tasks: tuple[str, ...] = TRAINED_TASKS
    n_trained: int = N_TRAINED

    def __post_init__(self) -> None:
        for name in self.methods:
            method_named(name)
        for item in self.planted_items():
            planted(item.model)
        if not self.methods or not (self.planted_items() or self.trained_tasks):
            raise MethodError(
                "scoreboard: at least one method and one model must be chosen, got none. There is "
                "nothing to compare. Leave the options out for all of them."
            )

    def planted_items(self) -> list[Item]:
        """Return the planted half of the board."""
        return [
            Item(method, f"{model}:{difficulty}:{seed}", self.n, seed)
            for seed in self.seeds
            for model in self.models
            for difficulty in self.difficulties
            for method in self.methods
            if method != JOINT or difficulty in HIDING
        ]

    def trained_items(self) -> list[Item]:
        """Return the trained half of the board, on pico."""
        return [
            Item(method, "pico", self.n_trained, self.seeds[0], task)
            for task in self.trained_tasks
            for method in self.methods
            if method != JOINT
        ]


@dataclass(frozen=True)
class Row:
    """One item and its numbers."""

    item: Item
    numbers: dict[str, float]


@dataclass(frozen=True)
class Board:
    """All rows, and why items are missing."""

    plan: Plan
    rows: tuple[Row, ...]
    refused: dict[Item, str]

    def planted_rows(self) -> list[Row]:
        """Return the rows on planted models."""
        return [row for row in self.rows if not row.item.task]

    def trained_rows(self) -> list[Row]:
        """Return the rows on trained models."""
        return [row for row in self.rows if row.item.task]


def measure_board(
    plan: Plan,
    *,
    checkpoint: Path | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> Board:
    """Return the whole scoreboard; what `checkpoint` holds already is not measured again.

    Raises:
        CheckpointError: the file is of another version of circuitkit, or damaged.
    """
    items = plan.planted_items() + plan.trained_items()
    found: dict[Item, list[float]] = {}
    refused: dict[Item, str] = {}
    identity = {"version": version("circuitkit-mi"), "work": "scoreboard"}
    with open_checkpoint(checkpoint, identity) as done:
        missing = []
        for item in items:
            numbers = done.result(item.key)
            if numbers is not None:
                found[item] = numbers
            elif why := refusal_of(item):
                refused[item] = why
            else:
                missing.append(item)
        n_items = len(found) + len(missing)
        progress(len(found), n_items)
        for item, numbers in _measured(missing, workers):
            done.keep(item.key, numbers)
            found[item] = numbers
            progress(len(found), n_items)
    rows = tuple(
        Row(item, dict(zip(item.columns, found[item], strict=True)))
        for item in items
        if item in found
    )
    return Board(plan, rows, refused)


def _measured(items: Sequence[Item], workers: int) -> Iterator[tuple[Item, list[float]]]:
    if workers == 1:
        for item in items:
            yield item, measure_item(item)
        return
    with ProcessPoolExecutor(workers, _processes()) as pool:
        waiting = {pool.submit(measure_item, item): item for item in items}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _processes() -> BaseContext:
    """Return how workers start: as forks of a process that has imported everything once, if any."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([measure_item.__module__])
    return context


def parquet_of(rows: Sequence[Row]) -> bytes:
    """Return rows of one half of the board as a parquet file."""
    table = [
        {
            "method": row.item.method,
            "settings": str(dict(SETTINGS.get(row.item.method, {}))),
            "model": row.item.model,
            "task": row.item.task,
            "n": row.item.n,
            "seed": row.item.seed,
            **row.numbers,
        }
        for row in rows
    ]
    buffer = BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), buffer)
    return buffer.getvalue()
