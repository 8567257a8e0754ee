"""Exact edge patching with joint knock-outs: the effect of every edge in many states of the model.

    effect[e | k] = mean over pairs of  gain(all but k's out-edges) - gain(the same without e)
    score[e]      = the effect[e | k] of largest magnitude, over k = nothing and every component

What is backed up has no effect while its backup works, and what two parts cancel has none while
both do; with one of the two knocked out (ablated), it has. Positive supports the behaviour there.
After the joint knock-outs of Wang et al. 2022 (arXiv:2211.00593, section 4), taken over all edges.

It misleads where three or more parts back each other up. Cost: as many runs as edges times
components (without the input), so it is for small models. Resumable; the items are chunks of edges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from circuitkit.circuits.circuit import layer_of
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.circuits.selection import TIE
from circuitkit.discovery.exact import CHUNK, by_receiver
from circuitkit.discovery.method import Method
from circuitkit.discovery.search import in_order, open_search, prepared
from circuitkit.discovery.time_estimate import TimeEstimate, estimate_of
from circuitkit.glossary import METHODS
from circuitkit.interventions.repeated_circuits import RepeatedCircuits, repeated_plan
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.executors.items import Compute, Item


@dataclass(frozen=True)
class ExactJoint(Method):
    """Exact edge patching while one other component is knocked out, for each of them."""

    name = "exact-joint"
    summary = METHODS["exact-joint"]
    is_resumable = True
    is_divisible = True

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        return

    def estimate(self, model: SubjectModel, pairs: PromptPairs) -> TimeEstimate:
        states = len(model.graph.senders)
        return estimate_of(model, pairs, float(states * model.graph.n_edges * len(pairs)))

    def computing(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> Compute:
        return _Repeated(model, pairs, metric, work)

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        own = prepared(self, model, pairs, metric, work)
        metric.check(pairs.labels)
        order = by_receiver(model.graph)
        plan = repeated_plan(model, pairs, model.graph.n_edges, work)
        best = torch.zeros(model.graph.n_edges, dtype=torch.float64)
        with open_search(self, model, pairs, metric, work, f"{CHUNK} edges") as done:
            items = _items(model, pairs, done.plan(plan))
            for item, values in in_order(items, own, done, work):
                part = _Range(*item.range)
                chunk, effects = (
                    order[part.first : part.end],
                    torch.tensor(values, dtype=torch.float64),
                )
                # of effects as large in several states the first counts, whatever the rounding
                is_larger = effects.abs() > best[chunk].abs() * (1 + TIE)
                best[chunk] = torch.where(is_larger, effects, best[chunk])
        return EdgeScores.of_edges(model.graph, best)


class _Range(NamedTuple):
    """What is knocked out (0: nothing), edges by their place in `by_receiver`, and rows at once."""

    knocked_out: int
    first: int
    end: int
    n_pairs: int
    n_circuits: int


def _items(model: SubjectModel, pairs: PromptPairs, plan: Mapping[str, int]) -> dict[str, Item]:
    """Return the items by what files of results call them."""
    graph, digest = model.graph, pairs.digest
    order, found = by_receiver(graph), {}
    for number, component in enumerate(("nothing", *graph.senders[1:])):
        for first in range(0, len(order), CHUNK):
            what = f"without {component}, edges from {order[first]}"
            end = min(first + CHUNK, len(order))
            part = _Range(number, first, end, plan["n_pairs"], plan["n_circuits"])
            found[what] = Item(model.name, digest, what, tuple(part))
    return found


class _Repeated:
    """Computes items: the effects of some edges while a component is knocked out."""

    def __init__(self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work) -> None:
        self._made_of, self._graph = (model, pairs, metric, work), model.graph
        self._order = by_receiver(model.graph)
        self._repeated_of = lru_cache(1)(self._repeated)

    def _repeated(self, n_pairs: int, n_circuits: int) -> RepeatedCircuits:
        return RepeatedCircuits(*self._made_of, n_pairs=n_pairs, n_circuits=n_circuits)

    def __call__(self, item: Item) -> Sequence[float]:
        part, graph = _Range(*item.range), self._graph
        chunk = self._order[part.first : part.end]
        base = graph.edge_mask.clone()
        first = min(graph.layer_of_receiver(int(graph.edge_index[n, 1])) for n in chunk)
        if part.knocked_out:
            base[part.knocked_out] = False
            first = min(first, layer_of(graph.senders[part.knocked_out], graph))
        repeated = self._repeated_of(part.n_pairs, part.n_circuits)
        gains = repeated.gains(_without_each(graph, base, chunk), first)
        values: list[float] = (gains[0] - gains[1:]).tolist()
        return values


def _without_each(
    graph: ComponentGraph, base: Bool[Tensor, "sender receiver"], numbers: list[int]
) -> Bool[Tensor, "circuit sender receiver"]:
    """Return `base`, and `base` without each of the edges."""
    masks = base.repeat(len(numbers) + 1, 1, 1)
    at = graph.edge_index[numbers]
    masks[torch.arange(1, len(numbers) + 1), at[:, 0], at[:, 1]] = False
    return masks
