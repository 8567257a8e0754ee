"""Optimal ablation: each sender's write replaced by the constant that changes the gain least.

    constant[s]   =  argmin over c of  E |gain(clean run) - gain(clean run, s writes c)|
    importance[s] =  that minimum, in the metric's unit: what no constant can stand in for
    score[s, r]   =  mean of  gain(clean run) - gain(clean run, r alone reads constant[s])

A constant is one vector for all prompts and positions: d_model wide for the input and for MLPs,
d_head wide (z, over the scale of a norm behind attention) for heads. Positive: the edge supports
the behaviour. The constant belongs to the sender, so one edge may hurt less with another one.

Li and Janson 2024 (arXiv:2409.09951), section 2, minimise the loss of the task. Here it is the
distance to the clean run: a logit difference has no bound, so a constant could raise it without
end and look important for that. Constants start at the mean of what the sender writes and are
trained by Adam, scaled by the sender's own spread; of all visited the best is kept, so that it is
never worse than the mean. No randomness.

Cost: a step runs and differentiates, for every sender, the layers from its own on: about half of
(senders) forward and backward passes; and all edges one by one after that (interventions/edges.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.graph import ComponentGraph, EdgeScores, NodeScores
from circuitkit.discovery.method import Method, require_whole_mlps
from circuitkit.errors import MethodError
from circuitkit.glossary import METHODS
from circuitkit.gradients.terms import require_gradient
from circuitkit.interventions.ablation import SuppliedAblation, ZeroAblation
from circuitkit.interventions.budget import circuits_per_batch, pairs_per_batch
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.recorded import RecordedRun
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import Activations, counted_from, record
from circuitkit.model.runs import whole_run
from circuitkit.prompts.pairs import PromptPairs

EPSILON = 1e-6  # of Adam: far smaller slopes are rounding, and must not be followed


@dataclass(frozen=True)
class OptimalAblation(Method):
    """Exact effects of edges whose sender is replaced by its own best constant.

    Training takes `steps` steps, no more and no fewer; the rate falls linearly to zero over them.
    The method brings its own ablation: `Work.ablation` is not used.
    """

    name = "optimal-ablation"
    summary = METHODS["optimal-ablation"]
    uses_ablation = False
    steps: int = 50
    learning_rate: float = 0.2  # of Adam, in units of the sender's spread

    def __post_init__(self) -> None:
        if self.steps < 0 or self.learning_rate <= 0:
            raise MethodError(
                "optimal ablation: steps must be at least 0 and learning_rate above 0, got "
                f"{self.steps} and {self.learning_rate}. Constants are trained by them. Give such "
                "numbers, or leave them out."
            )

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        require_whole_mlps(model, self.name)
        require_gradient(metric)

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        self.require_usable(model, metric, work)
        found = train_constants(model, pairs, metric, self, work)
        ablation = SuppliedAblation(found.values, otherwise=ZeroAblation())
        names, memory = model.graph.edge_names, work.memory
        effects = measure_edges(
            model, pairs, names, metric, ablation=ablation, memory=memory, progress=work.progress
        )
        return EdgeScores.of_edges(model.graph, effects.effects.mean(1))


@dataclass(frozen=True)
class OptimalConstants:
    """The best constant of every sender by name, and the distances that remain.

    `at_mean` are those with which training began: each sender replaced by its mean.
    """

    values: dict[str, Float[Tensor, " width"]]
    importances: NodeScores
    at_mean: NodeScores


def component_importances(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    settings: OptimalAblation | None = None,
    work: Work | None = None,
) -> NodeScores:
    """Return how far the gain is from the clean run's with each sender at its best constant.

    Raises:
        MethodError: the metric has no gradient.
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one pair fits.
    """
    settings, work = settings or OptimalAblation(), work or Work()
    return train_constants(model, pairs, metric, settings, work).importances


def train_constants(
    model: SubjectModel, pairs: PromptPairs, metric: Metric, settings: OptimalAblation, work: Work
) -> OptimalConstants:
    """Return the best constant of every sender.

    Rows do not interact, so that one backward pass over copies of the pairs, one for each sender,
    gives every constant its own gradient.

    Raises:
        MethodError, PromptError, MemoryBudgetError: as `component_importances`.
    """
    settings.require_usable(model, metric, work)
    metric.check(pairs.labels)
    training = _Training(model, pairs, settings, work.memory)
    work.progress(0, settings.steps + 1)
    for step in range(settings.steps + 1):
        training.visit(_distances(model, pairs, metric, training.constants(), work.memory))
        if step < settings.steps:
            training.take()
        work.progress(step + 1, settings.steps + 1)
    return training.result(model.graph)


@dataclass(frozen=True)
class _Distances:
    """How far the gain is from the clean run's with each sender replaced, and its gradients."""

    constants: list[Tensor]
    values: Float[Tensor, " sender"]
    gradients: list[Tensor]


class _Training:
    """Every constant on its way, as mean + spread * t, with t in float64 on the CPU."""

    def __init__(
        self, model: SubjectModel, pairs: PromptPairs, settings: OptimalAblation, memory: int | None
    ) -> None:
        self.means, self.spreads = _means_and_spreads(model, pairs, memory)
        self.moved = [torch.zeros_like(mean) for mean in self.means]
        self.optimizer = torch.optim.Adam(self.moved, lr=settings.learning_rate, eps=EPSILON)
        steps = max(1, settings.steps)
        self.decay = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda n: 1 - n / steps)
        self.best = self.constants()
        self.lowest = torch.full((len(self.means),), torch.inf, dtype=torch.float64)
        self.first = self.lowest

    def constants(self) -> list[Tensor]:
        """Return every sender's constant at present."""
        ways = zip(self.means, self.spreads, self.moved, strict=True)
        return [mean + spread * moved for mean, spread, moved in ways]

    def visit(self, found: _Distances) -> None:
        """Keep the constants that are the best so far, and every gradient."""
        if bool(self.lowest.isinf().all()):
            self.first = found.values
        for i in (found.values < self.lowest).nonzero()[:, 0].tolist():
            self.best[i], self.lowest[i] = found.constants[i], found.values[i]
        for i, gradient in enumerate(found.gradients):
            self.moved[i].grad = gradient * self.spreads[i]

    def take(self) -> None:
        """Move every constant by one step."""
        self.optimizer.step()
        self.decay.step()

    def result(self, graph: ComponentGraph) -> OptimalConstants:
        """Return the best constants visited."""
        values = dict(zip(graph.senders, self.best, strict=True))
        scores = (NodeScores(graph.senders, x) for x in (self.lowest, self.first))
        return OptimalConstants(values, *scores)


def _distances(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    constants: list[Tensor],
    memory: int | None,
) -> _Distances:
    """Return the mean distance of every sender over all pairs, and its gradient."""
    n_copies, n_pairs = circuits_per_batch(model, pairs, len(constants), memory)
    values = torch.zeros(len(constants), dtype=torch.float64)
    gradients = [torch.zeros_like(constant) for constant in constants]
    for start in range(0, len(pairs), n_pairs):
        part = pairs.select(range(start, min(start + n_pairs, len(pairs))))
        with counted_from(start):
            clean = RecordedRun(model, whole_run(model, part.clean_batch), ())
        if metric.needs_clean_logits:
            part = part.with_clean_logits(clean.logits)
        labels = part.labels.to(model.device)
        expected = metric.gain(clean.logits, labels)
        for layer, senders in _groups(model.graph, n_copies):
            leaves = {s: constants[s].clone().requires_grad_() for s in senders}
            with torch.enable_grad(), model.frozen():
                logits = _replaced(model, clean, layer, leaves)
                gain = metric.gain(logits, labels.repeated(len(senders)))
                off = (expected - gain.unflatten(0, (len(senders), -1))).abs().double().sum(1)
                found = torch.autograd.grad(off.sum(), list(leaves.values()))
            values[senders] += off.detach().cpu() / len(pairs)
            for sender, gradient in zip(senders, found, strict=True):
                gradients[sender] += gradient / len(pairs)
    return _Distances(constants, values, gradients)


def _groups(graph: ComponentGraph, size: int) -> Iterator[tuple[int, list[int]]]:
    """Yield each layer with its senders by number, at most `size` at a time; the input comes first.

    They can be run together from the layer on.
    """
    for layer in range(graph.n_layers):
        first = graph.head_sender(layer) if layer else 0
        senders = list(range(first, graph.head_sender(layer + 1)))
        for start in range(0, len(senders), size):
            yield layer, senders[start : start + size]


def _replaced(
    model: SubjectModel, clean: RecordedRun, layer: int, constants: dict[int, Tensor]
) -> Float[Tensor, "copy_row vocab"]:
    """Return the logits of one copy of the rows for each sender, it alone writing its constant."""
    n, entering = len(constants), clean.kept[hook_points.resid_pre(layer)]
    hooks: dict[Point, Hook] = {}
    heads: dict[int, tuple[int, Tensor]] = {}
    for copy, (sender, constant) in enumerate(constants.items()):
        head = sender - model.graph.head_sender(layer)
        if head < 0:
            hooks[hook_points.resid_pre(0)] = _writer(n, copy, constant)
        elif head < model.graph.heads_in(layer):
            heads[copy] = head, constant
        else:
            hooks[hook_points.mlp_out(layer)] = _writer(n, copy, constant)
    if heads:
        hooks[hook_points.written_z(layer)] = _head_writer(n, heads)
    x, context = entering.repeat(n, 1, 1), clean.run.context.repeated(n)
    return model.run_from(x, context, hooks, first=layer, last_at_label=True)


def _writer(n_copies: int, copy: int, constant: Tensor) -> Hook:
    """Return a hook that gives one copy of the rows the constant."""

    def write(x: Float[Tensor, "copy_row pos d_model"]) -> Tensor:
        copies = list(x.chunk(n_copies))
        copies[copy] = constant.to(x).expand_as(copies[copy])
        return torch.cat(copies)

    return write


def _head_writer(n_copies: int, heads: dict[int, tuple[int, Tensor]]) -> Hook:
    """Return a hook that gives each of some copies of the rows the constant of one head."""

    def write(z: Float[Tensor, "copy_row pos head d_head"]) -> Tensor:
        copies = list(z.chunk(n_copies))
        for copy, (head, constant) in heads.items():
            is_it = torch.arange(z.shape[2], device=z.device) == head
            copies[copy] = torch.where(is_it[:, None], constant.to(z), copies[copy])
        return torch.cat(copies)

    return write


def _means_and_spreads(
    model: SubjectModel, pairs: PromptPairs, memory: int | None
) -> tuple[list[Tensor], list[float]]:
    """Return what each sender writes on average over all real tokens, and how far it strays.

    The spread is the root mean square of the difference from the mean, over tokens and entries.
    """
    sums, squares = [], []
    for batch in pairs.batches(pairs_per_batch(model, pairs, memory)):
        mask = batch.mask.to(model.device)
        writes = _by_sender(record(model, batch.clean_batch)[0])
        real = [write[mask].double().cpu() for write in writes]
        sums.append([x.sum(0) for x in real])
        squares.append([x.pow(2).sum(0) for x in real])
    n_tokens = int(pairs.mask.sum())
    means = [torch.stack(parts).sum(0) / n_tokens for parts in zip(*sums, strict=True)]
    second = [torch.stack(parts).sum(0) / n_tokens for parts in zip(*squares, strict=True)]
    both = zip(means, second, strict=True)
    spreads = [float((square - mean.pow(2)).clamp(min=0).mean().sqrt()) for mean, square in both]
    return means, spreads


def _by_sender(activations: Activations) -> list[Float[Tensor, "row pos width"]]:
    """Return each sender's write in narrow form, in sender order."""
    writes = [activations.input]
    for layer, z in enumerate(activations.z):
        writes += list(z.unbind(2))
        writes += activations.mlp[layer : layer + 1]
    return writes
