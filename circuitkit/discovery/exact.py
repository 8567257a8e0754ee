"""Exact edge patching: the effect of every edge, measured by one run each. What others estimate.

    score[s, r] = mean over pairs of  gain(clean run) - gain(clean run, r reads s's ablated write)

or, denoising, gain(corrupted run, r reads s's clean write) - gain(corrupted run). All else follows
(interventions/edges.py). Positive where the edge supports the behaviour; unit: the metric's.

It misleads where parts back each other up (no single edge matters) or cancel; `exact-joint` is for
those. Cost: a share of a forward pass per edge and pair, from the receiver's layer on. Resumable:
the items are batches of pairs times chunks of edges, in receiver order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.discovery.method import Method
from circuitkit.discovery.search import open_search
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
from circuitkit.work.checkpoint import Checkpoint

CHUNK = 256  # edges an item: lost at most, when a search is killed


class _Column(NamedTuple):
    """The positions at which edges are changed."""

    name: str
    mask: Bool[Tensor, "pair pos"]


@dataclass(frozen=True)
class ExactEdges(Method):
    """Exact edge patching, `noising` or `denoising`."""

    name = "exact"
    summary = METHODS["exact"]
    is_resumable = True
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

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        self.require_usable(model, metric, work)
        metric.check(pairs.labels)
        sums = torch.zeros(model.graph.n_edges, dtype=torch.float64)
        for chunk, values in self._items(model, pairs, metric, work):
            sums[chunk] += values
        return EdgeScores.of_edges(model.graph, sums / len(pairs))

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
        self.require_usable(model, metric, work)
        metric.check(pairs.labels)
        found = []
        for number, name in enumerate(columns.names):
            sums = torch.zeros(model.graph.n_edges, dtype=torch.float64)
            own = _Column(name, columns.masks[number])
            for chunk, values in self._items(model, pairs, metric, work, own):
                sums[chunk] += values
            found.append(EdgeScores.of_edges(model.graph, sums / len(pairs)))
        return tuple(found)

    def _items(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        work: Work,
        column: "_Column | None" = None,
    ) -> Iterator[tuple[list[int], Float[Tensor, " edge"]]]:
        """Yield chunks of edges, and the sums of their effects over a batch of pairs.

        `column`: the edges are changed at these positions alone.
        """
        place = "" if column is None else f" at {column.name!r}"
        n_pairs, max_rows = rows_per_batch(model, pairs, work.memory)
        plan = {"n_pairs": min(n_pairs, work.batch_size or n_pairs), "max_rows": max_rows}
        chunks = list(chunks_by_receiver(model.graph))
        with open_search(self, model, pairs, metric, work, f"{CHUNK} edges{place}") as done:
            plan = done.plan(plan)
            starts = range(0, len(pairs), plan["n_pairs"])
            n_done, n_items = 0, len(starts) * len(chunks)

            def bench_at(start: int) -> EdgeBench:
                part = pairs.select(range(start, min(start + plan["n_pairs"], len(pairs))))
                direction = Direction(self.direction)
                with counted_from(start):
                    bench = EdgeBench(
                        model, part, metric, work.ablation, direction, plan["max_rows"]
                    )
                return bench if column is None else bench.at(column.mask[start:][: len(part)])

            work.progress(0, n_items)
            for start in starts:
                bench = cache(partial(bench_at, start))  # made only if something is missing
                for chunk in chunks:
                    key = f"pairs from {start}, edges from {chunk[0]}{place}"
                    sums = _sums(bench, chunk, key, done)
                    n_done += 1
                    work.progress(n_done, n_items)
                    yield chunk, sums


def chunks_by_receiver(graph: ComponentGraph, size: int = CHUNK) -> Iterator[list[int]]:
    """Yield edge numbers, those into one receiver together, `size` at a time."""
    order = torch.argsort(graph.edge_index[:, 1], stable=True).tolist()
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _sums(
    bench: Callable[[], EdgeBench], chunk: list[int], key: str, done: Checkpoint
) -> Float[Tensor, " edge"]:
    """Return the sums of the effects of some edges over the pairs of a bench."""
    values = done.result(key)
    if values is None:
        sums = torch.zeros(len(chunk), dtype=torch.float64)
        for places, effects in bench().effects(chunk):
            sums[places] = effects.sum(1)
        values = sums.tolist()
        done.keep(key, values)
    return torch.tensor(values, dtype=torch.float64)
