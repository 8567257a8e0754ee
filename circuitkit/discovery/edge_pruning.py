"""Edge pruning: a mask on every edge, trained so that few stay open and the behaviour is kept.

    minimise     E |gain(clean run) - gain(circuit of masks z)| / gap + l1 (t - s) + l2 (t - s)^2
    s            expected share of closed edges;  t: its target, raised from 0 during training
    gap          |mean gain(clean run) - mean gain(fully ablated run)|
    score[s, r]  sigmoid(log alpha of the edge) after training, from 0 to 1

An edge carries  ablated + z (live - ablated)  (gradients/soft_circuit.py), with z hard concrete
(Louizos et al. 2018, arXiv:1712.01312, equations 10 to 13):

    z         =  clip(y (zeta - gamma) + gamma, 0, 1)
    y         =  sigmoid((log u - log (1 - u) + log alpha) / beta)    u uniform, in training
    y         =  sigmoid(log alpha)                                   without noise, after it
    P(z > 0)  =  sigmoid(log alpha - beta log (-gamma / zeta))

The multipliers l1 and l2 rise by the gradient while the target is missed. Masks are trained by
Adam on a few pairs a step. Bhaskar et al. 2024 (arXiv:2406.16778), section 3, who take the KL from
the clean run and mask components as well as edges; here the distance is that of any metric with a
gradient, which for KL is the KL itself, and edges alone are masked.

Scores are magnitudes: no edge scores below zero, and one that works against the behaviour is kept
too, since the distance is. Cost: a step runs one forward and one backward pass with an own input
for every receiver, and two plain forward passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.discovery.method import Method
from circuitkit.errors import MethodError, VanishingGapError
from circuitkit.glossary import METHODS
from circuitkit.gradients.soft_circuit import SoftCircuits, require_memory
from circuitkit.gradients.terms import require_gradient
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import record
from circuitkit.prompts.pairs import PromptPairs

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1  # Louizos et al. 2018, section 4.1
FIRST_LOG_ALPHA = 2.0  # nearly open, where the mask still has a slope
SMALLEST_U = 1e-6
ROUNDING = 1e-5  # relative: what float32 runs may differ by
FORGETFUL = (0.9, 0.9)  # of Adam: a multiplier must fall as fast as it rose
NEAR = 0.01  # of the target share: met


@dataclass(frozen=True)
class EdgePruning(Method):
    """Edge pruning. The circuit is the edges whose mask ends above one half.

    Training ends after `steps`, or as soon as, with the final target reached, the mean distance of
    the last `patience` steps is no less than that of the `patience` steps before.
    """

    name = "edge-pruning"
    summary = METHODS["edge-pruning"]
    is_signed = False

    target_sparsity: float = 0.9  # the share of edges to close
    steps: int = 400
    learning_rate: float = 0.1  # of Adam, on log alpha
    multiplier_rate: float = 0.1  # of Adam, on the two multipliers
    raised_share: float = 0.5  # of the steps, over which the target rises
    pairs_per_step: int = 16
    patience: int = 50

    def __post_init__(self) -> None:
        for name in ("target_sparsity", "raised_share"):
            _require(name, getattr(self, name), "between 0 and 1", 0 < getattr(self, name) < 1)
        for name in ("learning_rate", "multiplier_rate"):
            _require(name, getattr(self, name), "above 0", getattr(self, name) > 0)
        for name in ("steps", "pairs_per_step", "patience"):
            _require(name, getattr(self, name), "at least 1", getattr(self, name) >= 1)

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        require_gradient(metric)

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        """Return sigmoid(log alpha) of every edge.

        Raises:
            MethodError: the metric has no gradient.
            PromptError: the metric needs labels that the pairs lack.
            VanishingGapError: the metric does not tell the clean from the ablated run.
            MemoryBudgetError: the pairs of one step do not fit.
        """
        trained = train_masks(model, pairs, metric, self, work)
        return EdgeScores.of_edges(model.graph, trained.log_alpha.sigmoid())

    def own_circuit(self, scores: EdgeScores) -> Circuit:
        # the mask is one half where sigmoid(log alpha) is: the stretch is symmetric
        return Circuit(scores.graph, (scores.values > 0.5) & scores.graph.edge_mask, scores)


@dataclass(frozen=True)
class TrainedMasks:
    """The masks' parameters after training, and its course, step by step."""

    log_alpha: Float[Tensor, " edge"]
    distances: tuple[float, ...]  # |gain(clean) - gain(circuit)| / gap, mean over the step's pairs
    sparsities: tuple[float, ...]  # expected share of closed edges


def sample_masks(log_alpha: Float[Tensor, " edge"], u: Float[Tensor, " edge"]) -> Tensor:
    """Return one draw of every mask, given uniform noise between 0 and 1."""
    stretched = ((u.log() - (-u).log1p() + log_alpha) / BETA).sigmoid()
    return (stretched * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def open_probabilities(log_alpha: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
    """Return the probability that a draw of each mask is not zero."""
    shift = BETA * torch.tensor(-GAMMA / ZETA, dtype=log_alpha.dtype).log()
    return (log_alpha - shift).sigmoid()


def train_masks(
    model: SubjectModel, pairs: PromptPairs, metric: Metric, settings: EdgePruning, work: Work
) -> TrainedMasks:
    """Return the masks after training. They depend on `work.ablation` and `work.seed`.

    Raises:
        MethodError, PromptError, VanishingGapError, MemoryBudgetError: as `EdgePruning`.
    """
    settings.require_usable(model, metric, work)
    metric.check(pairs.labels)
    size = min(settings.pairs_per_step, len(pairs))
    require_memory(model, pairs, size, work.memory)
    distances = _Distances(model, _in_own_order(pairs), metric, work, size)
    training = _Training(model.graph, distances, settings, work.seed)
    work.progress(0, settings.steps)
    for step in range(settings.steps):
        training.take(step)
        if training.is_settled(step):
            break
        work.progress(step + 1, settings.steps)
    work.progress(settings.steps, settings.steps)
    return training.result()


class _Distances:
    """How far circuits are from the clean run, in units of the gap.

    Everything is computed on at most `size` pairs at once, whatever memory there is: training
    would make different results even of different rounding.
    """

    def __init__(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work, size: int
    ) -> None:
        self.model, self.metric, self.ablation, self.size = model, metric, work.ablation, size
        self.pairs = _with_clean_logits(model, pairs, size) if metric.needs_clean_logits else pairs
        ends = torch.tensor([1.0, 0.0], dtype=torch.float64)
        weights = ends[:, None, None].expand(2, *model.graph.edge_mask.shape)
        starts = range(0, len(pairs), size)
        rows = [list(range(start, min(start + size, len(pairs)))) for start in starts]
        with torch.no_grad():
            gains = torch.cat([self._gains(part, weights) for part in rows], 1)
        self.clean = gains[0]
        self.gap = self._gap(*gains)

    def of(
        self, weights: Float[Tensor, "sender receiver"], rows: Sequence[int]
    ) -> Float[Tensor, ""]:
        """Return the mean distance over some pairs of the circuit of these weights."""
        [gains] = self._gains(rows, weights.unsqueeze(0))
        distance: Tensor = (self.clean[rows] - gains).abs().mean() / self.gap
        return distance

    def _gains(
        self, rows: Sequence[int], weights: Float[Tensor, "circuit sender receiver"]
    ) -> Float[Tensor, "circuit pair"]:
        part = self.pairs.select(rows)
        circuits = SoftCircuits.of(PairRuns(self.model, part, self.ablation, self.metric))
        logits = circuits.logits(weights).flatten(0, 1)
        labels = part.labels.repeated(len(weights)).to(logits.device)
        return self.metric.gain(logits, labels).double().cpu().reshape(len(weights), -1)

    def _gap(self, clean: Tensor, ablated: Tensor) -> float:
        gap = abs(float(clean.mean() - ablated.mean()))
        if gap <= ROUNDING * float(clean.abs().mean() + ablated.abs().mean()):
            raise VanishingGapError(
                f"edge pruning: {self.metric.name} of the clean and of the ablated run must "
                f"differ, got a mean difference of {gap:.2g} over {len(clean)} pairs. It is the "
                "unit of the distance. Use another ablation, or a task the model can do."
            )
        return gap


class _Training:
    """Masks and multipliers on their way, in float64 on the CPU; the seed draws noise and pairs."""

    def __init__(
        self, graph: ComponentGraph, distances: _Distances, settings: EdgePruning, seed: int
    ) -> None:
        self.graph, self.distances, self.settings = graph, distances, settings
        self.generator = torch.Generator().manual_seed(seed)
        first = torch.full((graph.n_edges,), FIRST_LOG_ALPHA, dtype=torch.float64)
        self.log_alpha = first.requires_grad_()
        self.multipliers = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        ascent = {"lr": settings.multiplier_rate, "betas": FORGETFUL, "maximize": True}
        self.optimizer = torch.optim.Adam(
            [
                {"params": [self.log_alpha], "lr": settings.learning_rate},
                {"params": [self.multipliers], **ascent},
            ]
        )
        self.course: list[float] = []
        self.sparsities: list[float] = []

    def take(self, step: int) -> None:
        """Take one step of training."""
        n_pairs = len(self.distances.pairs)
        rows = torch.randperm(n_pairs, generator=self.generator)[: self.distances.size]
        u = torch.rand(self.graph.n_edges, generator=self.generator, dtype=torch.float64)
        with torch.enable_grad():
            masks = sample_masks(self.log_alpha, u.clamp(SMALLEST_U, 1 - SMALLEST_U))
            distance = self.distances.of(self._weights(masks), rows.tolist())
            sparsity = 1 - open_probabilities(self.log_alpha).mean()
            missing = self._target(step) - sparsity
            loss = distance + self.multipliers @ torch.stack([missing, missing**2])
            trained = [self.log_alpha, self.multipliers]
            for tensor, grad in zip(trained, torch.autograd.grad(loss, trained), strict=True):
                tensor.grad = grad
        self.optimizer.step()
        self.course.append(float(distance.detach()))
        self.sparsities.append(float(sparsity.detach()))

    def is_settled(self, step: int) -> bool:
        """Whether the target is met and the distance no longer falls."""
        n = self.settings.patience
        if step + 1 < self.settings.steps * self.settings.raised_share + 2 * n:
            return False
        if self.sparsities[-1] < self.settings.target_sparsity - NEAR:
            return False
        return sum(self.course[-n:]) >= sum(self.course[-2 * n : -n])

    def result(self) -> TrainedMasks:
        """Return what has come of it."""
        log_alpha = self.log_alpha.detach().clone()
        return TrainedMasks(log_alpha, tuple(self.course), tuple(self.sparsities))

    def _target(self, step: int) -> float:
        raised = self.settings.steps * self.settings.raised_share
        return self.settings.target_sparsity * min(1.0, (step + 1) / raised)

    def _weights(self, masks: Float[Tensor, " edge"]) -> Float[Tensor, "sender receiver"]:
        zeros = torch.zeros(self.graph.edge_mask.shape, dtype=torch.float64)
        return zeros.index_put(tuple(self.graph.edge_index.T), masks)


def _in_own_order(pairs: PromptPairs) -> PromptPairs:
    """Return the pairs sorted by what they hold, so that draws do not depend on their order."""

    def content(row: int) -> str:
        pair = pairs.pairs[row]
        return repr((pair.contents(), list(pair.answers), list(pair.wrong_answers)))

    return pairs.select(sorted(range(len(pairs)), key=content))


def _with_clean_logits(model: SubjectModel, pairs: PromptPairs, size: int) -> PromptPairs:
    parts = [record(model, part.clean_batch)[1] for part in pairs.batches(size)]
    return pairs.with_clean_logits(torch.cat(parts).cpu())


def _require(name: str, value: float | int, rule: str, holds: bool) -> None:
    if not holds:
        raise MethodError(
            f"edge pruning: {name} must be {rule}, got {value}. The masks could not be trained. "
            "Give such a number, or leave it out."
        )
