"""Information-flow routes: how close each sender's write is to what a receiver reads.

    proximity[s]  = max(0, |x|_1 - |x - what s writes|_1)          x: what the receiver reads
    score[s, r]   = mean over pairs of  mean over positions of  proximity[s] / sum of proximities

|.|_1 is the sum of magnitudes over d_model, the sum is over all senders in front of r, and x is the
residual stream before r's norm, on the clean prompt. Scores are shares: from 0 to 1, and those into
one receiver sum to 1 unless at some position no sender is close at all, where all are zero. q, k
and v of all heads of a layer read the same x and score the same. The logits count every position,
as the others do, although the metric is read at one: so does the reference code of EAP-IG.

Metric, corrupted prompts and ablation play no part. Biases of attention are in x but belong to no
sender. It misleads about what a behaviour needs: a large write that nothing uses scores high. Cost:
one forward pass. Ferrando & Voita 2024 (arXiv:2403.00824), at the level of edges as in
github.com/hannamw/EAP-IG; there `input` is the token embedding alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.graph import EdgeScores
from circuitkit.discovery.method import Method, require_whole_mlps
from circuitkit.glossary import METHODS
from circuitkit.interventions.budget import pairs_per_batch
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import Recorder, counted_from, require_finite, sender_outputs
from circuitkit.model.runs import whole_run
from circuitkit.prompts.batch import PromptBatch
from circuitkit.prompts.columns import Columns, all_positions
from circuitkit.prompts.pairs import PromptPairs


@dataclass(frozen=True)
class InformationFlow(Method):
    """Information-flow routes."""

    name = "information-flow"
    summary = METHODS["information-flow"]
    is_signed = False
    has_columns = True
    uses_ablation = False

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        """Refuse MLPs that are taken apart; neither metric nor ablation is used.

        Raises:
            MethodError: one is.
        """
        require_whole_mlps(model, self.name)

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        [scores] = self.score_columns(model, pairs, metric, all_positions(pairs), work)
        return scores

    def score_columns(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        columns: Columns,
        work: Work,
    ) -> tuple[EdgeScores, ...]:
        """Return each column's part of the scores: columns that hold all tokens add up to them.

        Raises:
            MemoryBudgetError: not even one pair fits.
            ActivationError: an activation is NaN or infinite.
        """
        self.require_usable(model, metric, work)
        size = work.batch_size or pairs_per_batch(model, pairs, work.memory)
        shape = (len(columns.names), *model.graph.edge_mask.shape)
        total = torch.zeros(shape, dtype=torch.float64)
        weights = columns.masks.double() / pairs.mask.sum(1, keepdim=True)
        work.progress(0, len(pairs))
        for start in range(0, len(pairs), size):
            rows = slice(start, min(start + size, len(pairs)))
            with counted_from(start):
                part = pairs.select(range(rows.start, rows.stop))
                total += _batch_shares(model, part.clean_batch, weights[:, rows])
            work.progress(rows.stop, len(pairs))
        return tuple(EdgeScores(model.graph, scores / len(pairs)) for scores in total)


def _batch_shares(
    model: SubjectModel, batch: PromptBatch, weights: Float[Tensor, "column row pos"]
) -> Float[Tensor, "column sender receiver"]:
    """Return every edge's share of its receiver, weighted over places."""
    graph = model.graph
    senders, reads = _record(model, batch)
    weights = weights.flatten(1).to(model.device)
    total = torch.zeros(len(weights), *graph.edge_mask.shape, dtype=torch.float64)

    def add(receivers: slice, n_senders: int, x: Tensor) -> None:
        shares = _shares(senders[:n_senders], x.flatten(0, 1)).double()
        total[:, :n_senders, receivers] = (weights @ shares.T).cpu().unsqueeze(-1)

    for layer in range(graph.n_layers):
        first, mlp = graph.first_receiver(layer), graph.mlp_receiver(layer)
        x = reads[hook_points.resid_pre(layer)]
        add(slice(first, mlp), graph.n_senders_before_attention(layer), x)
        if graph.has_mlps:
            x = reads[hook_points.mlp_in(layer)]
            add(slice(mlp, mlp + 1), graph.n_senders_before_mlp(layer), x)
    last = reads[hook_points.resid_post(graph.n_layers - 1)]
    add(slice(-1, None), len(graph.senders), last)
    return total


def _shares(
    senders: Float[Tensor, "sender place d_model"], x: Float[Tensor, "place d_model"]
) -> Float[Tensor, "sender place"]:
    """Return each sender's proximity to `x` over that of all; zeros where none is close."""
    # sender by sender: a difference of all at once is as large as all their writes
    distance = torch.stack([(x - written).abs().sum(-1) for written in senders])
    proximity = (x.abs().sum(-1) - distance).clamp(min=0)
    whole = proximity.sum(0)
    return proximity / torch.where(whole == 0, 1, whole)


def _record(
    model: SubjectModel, batch: PromptBatch
) -> tuple[Float[Tensor, "sender place d_model"], dict[Point, Tensor]]:
    """Return what every sender writes, and the residual stream where receivers read it."""
    graph, run = model.graph, whole_run(model, batch)
    recorder, reads = Recorder(model), _Reads()
    points = [hook_points.resid_post(graph.n_layers - 1)]
    for layer in range(graph.n_layers):
        points += [hook_points.resid_pre(layer), hook_points.mlp_in(layer)]
    hooks = recorder.hooks()
    hooks |= {point: reads.keeper(point) for point in points if point not in hooks}
    with torch.no_grad():
        model.run_from(run.entering, run.context, hooks)
    activations = recorder.activations(run)
    require_finite(activations, model.name)
    reads.kept[hook_points.resid_pre(0)] = activations.input
    return sender_outputs(model, activations), reads.kept


class _Reads:
    """Hooks that keep the residual stream at some points."""

    def __init__(self) -> None:
        self.kept: dict[Point, Tensor] = {}

    def keeper(self, point: Point) -> Hook:
        def keep(x: Tensor) -> None:
            self.kept[point] = x.detach()

        return keep
