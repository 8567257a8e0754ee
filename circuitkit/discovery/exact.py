"""Exact edge patching: the effect of every edge, measured by one run each. What others estimate.

    score[s, r] = mean over pairs of  gain(clean run) - gain(clean run, r reads s's ablated write)

or, denoising, gain(corrupted run, r reads s's clean write) - gain(corrupted run). All else follows
(interventions/edges.py). Positive where the edge supports the behaviour; unit: the metric's.

It misleads where parts back each other up (no single edge matters) or cancel; `exact-joint` is for
those. Cost: a share of a forward pass per edge and pair, from the receiver's layer on. Resumable:
the items are batches of pairs times chunks of edges, in receiver order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.discovery.method import Method
from circuitkit.discovery.search import in_order, open_search, prepared
from circuitkit.discovery.time_estimate import TimeEstimate, estimate_of
from circuitkit.errors import MethodError
from circuitkit.glossary import METHODS
from circuitkit.interventions.ablation import CorruptedRun
from circuitkit.interventions.budget import rows_per_batch
from circuitkit.interventions.edges import EdgeBench
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import counted_from
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.executors.items import Compute, Item

CHUNK = 256  # edges an item: lost at most, when a search is killed


class _Range(NamedTuple):
    """Pairs and edges of an item, those by their place in `by_receiver`; and rows at once."""

    first_pair: int
    end_pair: int
    first: int
    end: int
    max_rows: int


class _Column(NamedTuple):
    """The positions at which edges are changed; no mask: all of them."""

    name: str = ""
    mask: Bool[Tensor, "pair pos"] | None = None

    @property
    def place(self) -> str:
        """What stands behind the name of an item: other positions are other work."""
        if self.mask is None:
            return ""
        return f" at {self.name!r} ({sha256(self.mask.numpy().tobytes()).hexdigest()[:8]})"

    def positions(self, first: int, end: int) -> tuple[tuple[int, ...], ...]:
        """Return the positions in each of some pairs."""
        if self.mask is None:
            return ()
        return tuple(tuple(row.nonzero().flatten().tolist()) for row in self.mask[first:end])


@dataclass(frozen=True)
class ExactEdges(Method):
    """Exact edge patching, `noising` or `denoising`."""

    name = "exact"
    summary = METHODS["exact"]
    is_resumable = True
    is_divisible = True
    has_columns = True
    columns_add_up = False  # each column is changed in a run of its own
    direction: str = "noising"

    def __post_init__(self) -> None:
        known = [direction.value for direction in Direction]
        if self.direction not in known:
            raise MethodError(
                f"method 'exact': direction must be one of {', '.join(known)}, got "
                f"{self.direction!r}. It says which run is changed. Choose one."
            )

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        is_denoising = self.direction == Direction.DENOISING.value
        if is_denoising and not isinstance(work.ablation, CorruptedRun):
            raise MethodError(
                f"method 'exact': denoising needs resample ablation, got {work.ablation.name!r}. "
                "There is no run in which every value is ablated so. Use noising."
            )

    def estimate(self, model: SubjectModel, pairs: PromptPairs) -> TimeEstimate:
        graph = model.graph
        layers = torch.tensor([graph.layer_of_receiver(int(r)) for r in graph.edge_index[:, 1]])
        share = float(((graph.n_layers - layers) / graph.n_layers).mean())
        return estimate_of(model, pairs, float(graph.n_edges * len(pairs) * share))

    def computing(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> Compute:
        self.require_usable(model, metric, work)
        return _Benches(model, pairs, metric, work, Direction(self.direction))

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        (scores,) = self._scores(model, pairs, metric, [_Column()], work)
        return scores

    def score_columns(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        columns: Columns,
        work: Work,
    ) -> tuple[EdgeScores, ...]:
        """Return the effect of every edge changed at one column alone: one run for each of them.

        These need not add up to the effect of the whole edge.
        """
        own = [_Column(name, mask) for name, mask in zip(columns.names, columns.masks, strict=True)]
        return self._scores(model, pairs, metric, own, work)

    def _scores(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        columns: Sequence[_Column],
        work: Work,
    ) -> tuple[EdgeScores, ...]:
        metric.check(pairs.labels)
        own = prepared(self, model, pairs, metric, work)
        n_pairs, max_rows = rows_per_batch(model, pairs, work.memory)
        plan = {"n_pairs": min(n_pairs, work.batch_size or n_pairs), "max_rows": max_rows}
        order = by_receiver(model.graph)
        sums = torch.zeros(len(columns), model.graph.n_edges, dtype=torch.float64)
        with open_search(self, model, pairs, metric, work, f"{CHUNK} edges") as done:
            items = _items(model, pairs, columns, done.plan(plan))
            numbers = [n for n in range(len(columns)) for _ in range(len(items) // len(columns))]
            found = in_order(items, own, done, work)
            for number, (item, values) in zip(numbers, found, strict=True):
                part = _Range(*item.range)
                edges = order[part.first : part.end]
                sums[number, edges] += torch.tensor(values, dtype=torch.float64)
        return tuple(EdgeScores.of_edges(model.graph, each / len(pairs)) for each in sums)


def _items(
    model: SubjectModel, pairs: PromptPairs, columns: Sequence[_Column], plan: Mapping[str, int]
) -> dict[str, Item]:
    """Return the items by what files of results call them, column by column."""
    found, digest, order = {}, pairs.digest, by_receiver(model.graph)
    for column in columns:
        for start in range(0, len(pairs), plan["n_pairs"]):
            end = min(start + plan["n_pairs"], len(pairs))
            positions = column.positions(start, end)
            for first in range(0, len(order), CHUNK):
                what = f"pairs from {start}, edges from {order[first]}{column.place}"
                last = min(first + CHUNK, len(order))
                part = _Range(start, end, first, last, plan["max_rows"])
                found[what] = Item(model.name, digest, what, tuple(part), positions)
    return found


class _Benches:
    """Computes items: the sums of the effects of some edges over a batch of pairs.

    Both runs of a batch are kept for the items that follow on the same pairs.
    """

    def __init__(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        work: Work,
        direction: Direction,
    ) -> None:
        self._model, self._pairs, self._metric = model, pairs, metric
        self._ablation, self._direction = work.ablation, direction
        self._order = by_receiver(model.graph)
        self._bench_of = lru_cache(1)(self._bench)
        self._changed_at = lru_cache(1)(self._at)

    def __call__(self, item: Item) -> Sequence[float]:
        part = _Range(*item.range)
        chunk = self._order[part.first : part.end]
        bench = self._changed_at(part.first_pair, part.end_pair, part.max_rows, item.positions)
        sums = torch.zeros(len(chunk), dtype=torch.float64)
        for places, effects in bench.effects(chunk):
            sums[places] = effects.sum(1)
        values: list[float] = sums.tolist()
        return values

    def _bench(self, first: int, end: int, max_rows: int) -> EdgeBench:
        part = self._pairs.select(range(first, end))
        with counted_from(first):
            return EdgeBench(
                self._model, part, self._metric, self._ablation, self._direction, max_rows
            )

    def _at(
        self, first: int, end: int, max_rows: int, positions: tuple[tuple[int, ...], ...]
    ) -> EdgeBench:
        bench = self._bench_of(first, end, max_rows)
        if not positions:
            return bench
        mask = torch.zeros(end - first, self._pairs.clean.shape[1], dtype=torch.bool)
        for row, places in enumerate(positions):
            mask[row, list(places)] = True
        return bench.at(mask)


def by_receiver(graph: ComponentGraph) -> list[int]:
    """Return the edges' numbers, those into one receiver together."""
    order: list[int] = torch.argsort(graph.edge_index[:, 1], stable=True).tolist()
    return order
