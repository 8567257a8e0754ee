"""Exact edge patching with joint knock-outs: the effect of every edge in many states of the model.

    effect[e | k] = mean over pairs of  gain(all but k's out-edges) - gain(the same without e)
    score[e]      = the effect[e | k] of largest magnitude, over k = nothing and every component

What is backed up has no effect while its backup works, and what two parts cancel has none while
both do; with one of the two knocked out (ablated), it has. Positive supports the behaviour there.
After the joint knock-outs of Wang et al. 2022 (arXiv:2211.00593, section 4), taken over all edges.

It misleads where three or more parts back each other up. Cost: as many runs as edges times
components (without the input), so it is for small models. Resumable; the items are chunks of edges.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.circuits.circuit import layer_of
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.circuits.selection import TIE
from circuitkit.discovery.exact import CHUNK, chunks_by_receiver
from circuitkit.discovery.method import Method
from circuitkit.discovery.search import open_search
from circuitkit.discovery.time_estimate import TimeEstimate, estimate_of
from circuitkit.glossary import METHODS
from circuitkit.interventions.repeated_circuits import RepeatedCircuits, repeated_plan
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.checkpoint import Checkpoint


@dataclass(frozen=True)
class ExactJoint(Method):
    """Exact edge patching while one other component is knocked out, for each of them."""

    name = "exact-joint"
    summary = METHODS["exact-joint"]
    is_resumable = True

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        return

    def estimate(self, model: SubjectModel, pairs: PromptPairs) -> TimeEstimate:
        states = len(model.graph.senders)
        return estimate_of(model, pairs, float(states * model.graph.n_edges * len(pairs)))

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        self.require_usable(model, metric, work)
        best = torch.zeros(model.graph.n_edges, dtype=torch.float64)
        for chunk, effects in self._items(model, pairs, metric, work):
            # of effects as large in several states the first counts, whatever the rounding
            is_larger = effects.abs() > best[chunk].abs() * (1 + TIE)
            best[chunk] = torch.where(is_larger, effects, best[chunk])
        return EdgeScores.of_edges(model.graph, best)

    def _items(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> Iterator[tuple[list[int], Float[Tensor, " edge"]]]:
        graph = model.graph
        plan = repeated_plan(model, pairs, graph.n_edges, work)
        chunks = list(chunks_by_receiver(graph))
        knocked_out = ("", *graph.senders[1:])
        with open_search(self, model, pairs, metric, work, f"{CHUNK} edges") as done:
            repeated = RepeatedCircuits(model, pairs, metric, work, **done.plan(plan))
            n_done, n_items = 0, len(knocked_out) * len(chunks)
            work.progress(0, n_items)
            for component in knocked_out:
                for chunk in chunks:
                    yield chunk, _effects(repeated, graph, component, chunk, done)
                    n_done += 1
                    work.progress(n_done, n_items)


def _effects(
    repeated: RepeatedCircuits,
    graph: ComponentGraph,
    component: str,
    chunk: list[int],
    done: Checkpoint,
) -> Float[Tensor, " edge"]:
    """Return the effects of some edges while a component is knocked out ("": none)."""
    key = f"without {component or 'nothing'}, edges from {chunk[0]}"
    values = done.result(key)
    if values is None:
        base = graph.edge_mask.clone()
        first = min(graph.layer_of_receiver(int(graph.edge_index[n, 1])) for n in chunk)
        if component:
            base[graph.senders.index(component)] = False
            first = min(first, layer_of(component, graph))
        gains = repeated.gains(_without_each(graph, base, chunk), first)
        values = (gains[0] - gains[1:]).tolist()
        done.keep(key, values)
    return torch.tensor(values, dtype=torch.float64)


def _without_each(
    graph: ComponentGraph, base: Bool[Tensor, "sender receiver"], numbers: list[int]
) -> Bool[Tensor, "circuit sender receiver"]:
    """Return `base`, and `base` without each of the edges."""
    masks = base.repeat(len(numbers) + 1, 1, 1)
    at = graph.edge_index[numbers]
    masks[torch.arange(1, len(numbers) + 1), at[:, 0], at[:, 1]] = False
    return masks
