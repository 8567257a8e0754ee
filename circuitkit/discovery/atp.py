"""Attribution patching of nodes (AtP), and AtP* with its two corrections.

    AtP       score[n] = mean over pairs of  (clean - ablated value of n) . d gain / d n

A node is what the input, a head or an MLP writes, or a head's query, key or value. The gradient is
that of the clean run; summed over positions, or over each column of positions. A positive score
means the node supports the behaviour. The score of a head or MLP is the sum of the EAP scores of
its out-edges. Nanda 2022, "Attribution patching"; Kramar et al. 2024 (arXiv:2403.00745), section 2.

    QK fix    a query's or key's effect is linear in the pattern, not in the softmax's input:
              (clean pattern - pattern with the ablated query or key) . d gain / d pattern
              with the pattern exact. Kramar et al. 2024, section 3.1; the keys of a column are
              replaced together, where they take one position at a time.
    GradDrop  mean over layers l, of the absolute score of each pair when gradients do not pass
              through what layer l adds to the residual stream, so that effects that cancel
              between paths are seen. A node's own layer is left out, so it is the mean over the
              other layers. Section 3.1 too. Scores are magnitudes then.

AtP misleads where a softmax saturates (the QK fix mends that) or effects cancel (GradDrop shows
them). Cost: two forward passes and one backward; with GradDrop one backward for every layer.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.graph import INPUT, EdgeScores, NodeScores, mlp_name
from circuitkit.discovery.method import Method, edges_between, require_slope, require_whole_mlps
from circuitkit.errors import AlignmentError, MethodError
from circuitkit.glossary import METHODS
from circuitkit.gradients.nodes import (
    NOTHING,
    NodeValues,
    differentiate_nodes,
    node_points,
    record_nodes,
)
from circuitkit.gradients.terms import mean_over_pairs, require_gradient
from circuitkit.interventions.ablation import CorruptedRun
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.forward import Sources
from circuitkit.model.hook_points import Point
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs


@dataclass(frozen=True)
class Corrections:
    """Which corrections to AtP are applied; AtP* is both."""

    qk_fix: bool = False
    grad_drop: bool = False


ATP_STAR = Corrections(qk_fix=True, grad_drop=True)
PLAIN = Corrections()


@dataclass(frozen=True)
class AtP(Method):
    """AtP; an edge scores as the lesser of its ends (method.edges_between)."""

    name = "atp"
    summary = METHODS["atp"]
    is_signed = False
    corrections: ClassVar[Corrections] = PLAIN

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        require_whole_mlps(model, self.name)
        _require_usable(model, metric, self.corrections, work)
        require_slope(metric, self.name)

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        self.require_usable(model, metric, work)
        nodes = score_nodes(model, pairs, metric, corrections=self.corrections, work=work)
        return edges_between(model.graph, nodes)


@dataclass(frozen=True)
class AtPStar(AtP):
    """AtP*: with the QK fix and GradDrop."""

    name = "atp-star"
    summary = METHODS["atp-star"]
    corrections: ClassVar[Corrections] = ATP_STAR


def score_nodes(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    *,
    corrections: Corrections = PLAIN,
    work: Work | None = None,
) -> NodeScores:
    """Return the score of every node over all positions, in the metric's unit.

    Raises:
        MethodError: the metric has no gradient; values that no run computes; GradDrop on one layer.
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one pair fits.
    """
    whole = Columns(("all",), pairs.mask.unsqueeze(0))
    [scores] = score_node_columns(model, pairs, metric, whole, corrections=corrections, work=work)
    return scores


def score_node_columns(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    columns: Columns,
    *,
    corrections: Corrections = PLAIN,
    work: Work | None = None,
) -> tuple[NodeScores, ...]:
    """Return the score of every node for each column of positions.

    Raises:
        MethodError, PromptError, MemoryBudgetError: as `score_nodes`.
    """
    work = work or Work()
    _require_usable(model, metric, corrections, work)

    def score_batch(runs: PairRuns, masks: Tensor) -> Tensor:
        return _Batch(runs, corrections).scores(masks)

    found = mean_over_pairs(model, pairs, metric, columns, work, score_batch)
    return tuple(NodeScores(node_names(model), scores) for scores in found)


def node_names(model: SubjectModel) -> tuple[str, ...]:
    """Return the nodes in order: input, then per layer q, k, v and output of each head, and MLP."""
    names = [INPUT]
    for layer in range(model.graph.n_layers):
        if layer not in model.graph.mixers:
            names += model.graph.reads_in(layer)
        names += model.graph.names_in(layer) + [mlp_name(layer)] * model.graph.has_mlps
    return tuple(names)


def _require_usable(
    model: SubjectModel, metric: Metric, corrections: Corrections, work: Work
) -> None:
    require_gradient(metric)
    if not isinstance(work.ablation, CorruptedRun):
        raise MethodError(
            f"AtP: ablation must be resample, got {work.ablation.name!r}. Queries, keys and values "
            "have a value in a run only. Use resample, or EAP for other ablations."
        )
    if corrections.grad_drop and model.graph.n_layers < 2:
        raise MethodError(
            "AtP*: GradDrop needs at least 2 layers, got 1. A node is scored while another layer "
            "is held. Use AtP, with the QK fix if you like."
        )


class _Batch:
    """One batch of pairs: the change of every node, and its scores under each held layer."""

    def __init__(self, runs: PairRuns, corrections: Corrections) -> None:
        if not runs.pairs.is_level:
            raise AlignmentError(
                "AtP: clean and corrupted prompts must have equally many tokens, got pairs that "
                "are aligned span by span. Its nodes read from position to position. Use EAP, or "
                "pairs of equal length."
            )
        self.runs, self.model, self.corrections = runs, runs.model, corrections
        layers = range(self.model.graph.n_layers)
        held = [*layers] if corrections.grad_drop else [NOTHING]
        self.clean, self.gradients = differentiate_nodes(runs, held)
        self.ablated = record_nodes(self.model, runs.corrupted)
        points = node_points(self.model)
        self.change = NodeValues({p: self.clean.at[p] - self.ablated.at[p] for p in points})

    def scores(self, masks: Tensor) -> Float[Tensor, "column node"]:
        """Return the scores of every column, summed over pairs."""
        return torch.stack([self._column(mask) for mask in masks]).cpu()

    def _column(self, mask: Tensor) -> Float[Tensor, " node"]:
        moved = self._moved_patterns(mask) if self.corrections.qk_fix else {}
        by_held = torch.stack([self._per_pair(grads, mask, moved) for grads in self.gradients])
        if not self.corrections.grad_drop:
            return by_held[0].sum(-1)
        n_layers = self.model.graph.n_layers
        # the input lies in no layer, so none of its terms is zero by construction
        others = torch.full((by_held.shape[1], 1), n_layers - 1, dtype=torch.float64)
        others[0] = n_layers
        return (by_held.abs().sum(0) / others.to(by_held.device)).sum(-1)

    def _per_pair(
        self, gradients: NodeValues, mask: Tensor, moved: dict[Point, Tensor]
    ) -> Float[Tensor, "node pair"]:
        parts = []
        for point in node_points(self.model):
            if point in moved:
                grad = gradients.at[hook_points.pattern(point.layer)]
                parts.append((moved[point] * grad).sum((2, 3)).T)
                continue
            terms = (self.change.at[point] * gradients.at[point]).double()
            terms = terms.unsqueeze(2) if terms.ndim == 3 else terms
            parts.append((terms.sum(-1) * mask.unsqueeze(-1)).sum(1).T)
        return torch.cat([part.double() for part in parts])

    def _moved_patterns(self, mask: Tensor) -> dict[Point, Tensor]:
        """Return clean minus ablated pattern for queries and keys replaced within `mask`."""
        where = mask[:, :, None, None]
        moved = {}
        for layer in range(self.model.graph.n_layers):
            if layer in self.model.graph.mixers:
                continue
            q, k = (hook_points.projection(layer, read) for read in ("q", "k"))
            new_q = torch.where(where, self.ablated.at[q], self.clean.at[q])
            new_k = torch.where(where, self.ablated.at[k], self.clean.at[k])
            clean = self._pattern(layer, self.clean.at[q], self.clean.at[k])
            moved[q] = clean - self._pattern(layer, new_q, self.clean.at[k])
            moved[k] = clean - self._pattern(layer, self.clean.at[q], new_k)
        return moved

    def _pattern(self, layer: int, q: Tensor, k: Tensor) -> Tensor:
        kept: list[Tensor] = []
        run, v = self.runs.clean, self.clean.at[hook_points.projection(layer, "v")]

        def keep(pattern: Tensor) -> Tensor:
            kept.append(pattern)
            return pattern

        past = Sources(run.past).of(layer)
        with torch.no_grad():
            self.model.layers[layer].attention.attend(
                q, k, v, run.context.layers[layer], past=past, on_pattern=keep
            )
        return kept[0]
