"""Exact patching of nodes: the effect of every component, query, key and value, one run each.

    score[n] = mean over pairs of  gain(clean run) - gain(clean run, n has its corrupted value)

at all positions at once; an edge scores as the lesser of its ends (method.edges_between), so a
circuit holds every edge between the nodes that matter. Positive where the node supports the
behaviour. The node-level version of exact edge patching: cheaper by as much as there are more edges
than nodes, and blind to which of a node's edges carries the effect. Cost: a share of a forward pass
per node and pair.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from circuitkit.circuits.graph import INPUT, EdgeScores, NodeScores
from circuitkit.discovery.method import Method, edges_between, require_whole_mlps
from circuitkit.discovery.search import in_order, open_search, prepared
from circuitkit.errors import MethodError
from circuitkit.glossary import METHODS
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.budget import free_bytes, rows_per_batch
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.sites import site_named
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import counted_from
from circuitkit.moved import old_names
from circuitkit.prompts.columns import all_positions
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.executors.items import Compute, Item

SITES = ("heads", "q", "k", "v", "mlp")


@dataclass(frozen=True)
class ExactNodes(Method):
    """Exact activation patching of heads, their reads, and MLPs."""

    name = "exact-nodes"
    summary = METHODS["exact-nodes"]
    is_signed = False
    is_divisible = True

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        require_whole_mlps(model, self.name)
        if not isinstance(work.ablation, ResampleAblation):
            raise MethodError(
                f"method 'exact-nodes': ablation must be resample, got {work.ablation.name!r}. "
                "Queries, keys and values have a value in a run only. Use resample, or exact."
            )

    def computing(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> Compute:
        return partial(_effects, model, pairs, metric)

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        self.require_usable(model, metric, work)
        return edges_between(model.graph, measure_nodes(model, pairs, metric, work))


class _Range(NamedTuple):
    """The pairs of an item, and the memory in bytes that says how many rows run at once."""

    first: int
    end: int
    memory: int


def measure_nodes(
    model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
) -> NodeScores:
    """Return the mean exact effect of every node.

    Raises:
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one pair fits.
    """
    metric.check(pairs.labels)
    method = ExactNodes()
    own = prepared(method, model, pairs, metric, work)
    sites = [site for site in SITES if site != "mlp" or model.graph.has_mlps]
    items = _items(model, pairs, sites, work)
    found: dict[str, list[Tensor]] = defaultdict(list)  # by site: [place or gap, pair]
    with open_search(method, model, pairs, metric, replace(work, checkpoint=None), "") as done:
        for item, values in in_order(items, own, done, work):
            n_pairs = _Range(*item.range).end - _Range(*item.range).first
            block = torch.tensor(values, dtype=torch.float64).reshape(-1, n_pairs)
            found[item.what.split()[0]].append(block)
    whole = {site: torch.cat(blocks, 1) for site, blocks in found.items()}
    names = [place.name for site in sites for place in site_named(site).places(model)]
    # patching all that enters block 0 is the corrupted run
    gap = whole[sites[0]][-1].mean().unsqueeze(0)
    return NodeScores((INPUT, *names), torch.cat([gap, *(whole[s][:-1].mean(1) for s in sites)]))


def _items(
    model: SubjectModel, pairs: PromptPairs, sites: Sequence[str], work: Work
) -> dict[str, Item]:
    memory = free_bytes(model) if work.memory is None else work.memory  # for every item the same
    n_pairs, digest = rows_per_batch(model, pairs, memory)[0], pairs.digest
    found = {}
    for site in sites:
        for start in range(0, len(pairs), n_pairs):
            part = _Range(start, min(start + n_pairs, len(pairs)), memory)
            what = f"{site} of pairs from {start}"
            found[what] = Item(model.name, digest, what, tuple(part))
    return found


def _effects(
    model: SubjectModel, pairs: PromptPairs, metric: Metric, item: Item
) -> Sequence[float]:
    """Compute an item: the effect of each place of a site on each pair, then the gap of each."""
    part = _Range(*item.range)
    some = pairs.select(range(part.first, part.end))
    with counted_from(part.first):
        found = patch_activations(
            model,
            some,
            site_named(item.what.split()[0]),
            all_positions(some),
            metric=metric,
            memory=part.memory,
        )
    values: list[float] = [*found.effects.flatten().tolist(), *found.gap.tolist()]
    return values


if not TYPE_CHECKING:  # names that moved
    __getattr__ = old_names(__name__)
