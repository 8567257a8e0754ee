"""What the scoreboard measures: independent items, each one method on one model.

A planted item says how well the method recovers the true edges, and how faithful the circuit of as
many edges is. A trained item gives MIB's CPR and CMD. Cost is in floating-point operations, counted
by PyTorch and given in forward passes over the same pairs, and in seconds.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from circuitkit.bench.scoreboard.recovery import measure_recovery
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.circuits.selection import select_top
from circuitkit.discovery.method import Method
from circuitkit.discovery.methods import method_named
from circuitkit.errors import CircuitkitError
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.work import Work
from circuitkit.model import SubjectModel
from circuitkit.model.recording import record
from circuitkit.prompts.splits import Splits, sample_splits
from circuitkit.task import Task, find_task
from circuitkit.validation.areas import FRACTIONS, measure_areas
from circuitkit.validation.faithfulness import measure_faithfulness_points
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted

# Settings that differ from a method's defaults: fewer steps, so that the board takes minutes.
SETTINGS: Mapping[str, Mapping[str, float]] = {
    "edge-pruning": {"steps": 150},
    "optimal-ablation": {"steps": 30},
}
N_TRAINED = 100  # pairs of each split on a trained model
PLANTED_COLUMNS = (
    "n_edges",
    "n_true",
    "auroc",
    "average_precision",
    "node_auroc",
    "node_average_precision",
    "recall",
    "faithfulness",
    "passes",
    "seconds",
)
TRAINED_COLUMNS = ("n_edges", "cpr", "cmd", *(f"f_{k:g}" for k in FRACTIONS), "passes", "seconds")


@dataclass(frozen=True)
class Item:
    """One cell of the scoreboard: a method on a model. `task` is empty for planted models."""

    method: str
    model: str
    n: int
    seed: int
    task: str = ""

    @property
    def key(self) -> str:
        """What its result is kept under."""
        settings = dict(SETTINGS.get(self.method, {}))
        return f"{self.method} {settings} on {self.model} {self.task}, n {self.n}, seed {self.seed}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the numbers that `measure_item` returns."""
        return TRAINED_COLUMNS if self.task else PLANTED_COLUMNS


def measure_item(item: Item) -> list[float]:
    """Return the numbers of an item, as `item.columns` names them.

    Raises:
        MethodError: the method cannot work on the model or metric.
        VanishingGapError: the model does nothing that could be ablated.
    """
    torch.set_num_threads(1)  # items run side by side; results do not depend on it
    model, task, splits = _subject(item.model, item.task, item.n, item.seed)
    method = method_named(item.method, SETTINGS.get(item.method))
    scores, passes, seconds = _scored(method, model, task, splits, item.seed)
    if item.task:
        return [*_trained(method, scores, model, task, splits), passes, seconds]
    return [*_planted(item, method, scores, model, task, splits), passes, seconds]


def refusal_of(item: Item) -> str:
    """Return why a method cannot do an item; empty where it can."""
    model, task, _ = _subject(item.model, item.task, item.n, item.seed)
    try:
        method_named(item.method, SETTINGS.get(item.method)).require_usable(
            model, task.metric, Work()
        )
    except CircuitkitError as error:
        return str(error)
    return ""


@cache
def _subject(name: str, task_name: str, n: int, seed: int) -> tuple[SubjectModel, Task, Splits]:
    task = find_task(task_name or planted(name).task)
    model = load_model(name)
    return model, task, sample_splits(task, model.tokenizer, n=n, seed=seed)


def _scored(
    method: Method, model: SubjectModel, task: Task, splits: Splits, seed: int
) -> tuple[EdgeScores, float, float]:
    """Return the scores, and what they cost in forward passes and seconds."""
    pairs = splits.discovery
    with _Operations() as one_pass:
        record(model, pairs.clean_batch)
    start = time.perf_counter()
    with _Operations() as counted:
        scores = method.score_edges(model, pairs, task.metric, Work(seed=seed))
    seconds = time.perf_counter() - start
    return scores, counted.total / one_pass.total, seconds


class _Operations(TorchDispatchMode):
    """Counts the floating-point operations of matrix products, forwards and backwards.

    PyTorch's own counter also follows modules, which it cannot where gradients of activations are
    taken; the formulas are its.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def _planted(
    item: Item,
    method: Method,
    scores: EdgeScores,
    model: SubjectModel,
    task: Task,
    splits: Splits,
) -> list[float]:
    truth = planted(item.model).truth(model)
    signed = method.ranks_signed
    found = measure_recovery(scores, truth, signed=signed)
    [faithfulness] = measure_faithfulness_points(
        model,
        splits.validation,
        [select_top(scores, truth.n_edges, signed=signed)],
        task.metric,
        Work(ResampleAblation()),
    )
    return [
        float(scores.graph.n_edges),
        float(truth.n_edges),
        found.auroc,
        found.average_precision,
        found.node_auroc,
        found.node_average_precision,
        found.recall,
        faithfulness,
    ]


def _trained(
    method: Method, scores: EdgeScores, model: SubjectModel, task: Task, splits: Splits
) -> list[float]:
    def select(n_edges: int) -> Circuit:
        return select_top(scores, n_edges, signed=method.ranks_signed)

    areas = measure_areas(model, splits.validation, select, metric=task.metric)
    return [float(scores.graph.n_edges), areas.cpr, areas.cmd, *areas.faithfulness]
