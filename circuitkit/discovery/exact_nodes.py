"""Exact patching of nodes: the effect of every component, query, key and value, one run each.

    score[n] = mean over pairs of  gain(clean run) - gain(clean run, n has its corrupted value)

at all positions at once; an edge scores as the lesser of its ends (method.edges_between), so a
circuit holds every edge between the nodes that matter. Positive where the node supports the
behaviour. The node-level version of exact edge patching: cheaper by as much as there are more edges
than nodes, and blind to which of a node's edges carries the effect. Cost: a share of a forward pass
per node and pair.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from circuitkit.circuits.graph import INPUT, EdgeScores, NodeScores
from circuitkit.discovery.method import Method, edges_between, require_whole_mlps
from circuitkit.errors import MethodError
from circuitkit.glossary import METHODS
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.sites import site_named
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.moved import old_names
from circuitkit.prompts.columns import all_positions
from circuitkit.prompts.pairs import PromptPairs


@dataclass(frozen=True)
class ExactNodes(Method):
    """Exact activation patching of heads, their reads, and MLPs."""

    name = "exact-nodes"
    summary = METHODS["exact-nodes"]
    is_signed = False

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        require_whole_mlps(model, self.name)
        if not isinstance(work.ablation, ResampleAblation):
            raise MethodError(
                f"method 'exact-nodes': ablation must be resample, got {work.ablation.name!r}. "
                "Queries, keys and values have a value in a run only. Use resample, or exact."
            )

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        self.require_usable(model, metric, work)
        return edges_between(model.graph, measure_nodes(model, pairs, metric, work))


def measure_nodes(
    model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
) -> NodeScores:
    """Return the mean exact effect of every node.

    Raises:
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one pair fits.
    """
    names, values = [INPUT], list[Tensor]()
    for name in ("heads", "q", "k", "v", "mlp"):
        if name == "mlp" and not model.graph.has_mlps:
            continue
        effects = patch_activations(
            model,
            pairs,
            site_named(name),
            all_positions(pairs),
            metric=metric,
            memory=work.memory,
            progress=work.progress,
        )
        if not values:  # patching all that enters block 0 is the corrupted run
            values.append(effects.gap.mean().unsqueeze(0))
        names += effects.rows
        values.append(effects.effects[:, 0].mean(1))
    return NodeScores(tuple(names), torch.cat(values))


if not TYPE_CHECKING:  # names that moved
    __getattr__ = old_names(__name__)
