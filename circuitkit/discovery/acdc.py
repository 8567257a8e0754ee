"""ACDC: from the logits back, drop every edge without which the metric hardly changes.

    effect of e = mean over pairs of  gain(what is kept) - gain(what is kept, without e)
    e is dropped for good if effect < threshold            (`absolute`: if |effect| < threshold)

The order is stated, for the result depends on it. Receivers: the logits, then layer by layer from
the last, the MLP first, then values, keys and queries of all heads, each from the last head.
Senders: from the last layer, its MLP first, then its heads from the first; the input last. A
receiver whose component feeds nothing any more is not asked: its edges go too. With `whole` reads
(as the authors' code), each value, key and query is first tried without any of its edges at once.

The score of an edge is its effect when it was tried, in the metric's unit (times one over their
number where a read went whole); zero where it was not tried. So the circuit is what scores at least
the threshold. Conmy et al. 2023 (arXiv:2304.14997), algorithm 1; there the metric is KL to the
clean run, which is ours with --metric kl.

Candidates are run in one batch as if each were dropped in its turn; up to and including the first
that is kept, those are the runs of the one-by-one procedure, and the rest is run again. Receivers
in front still have all their edges, so runs begin at the receiver's layer. It misleads where parts
back each other up: the one tried first goes. Resumable; the items are batches of candidates.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import INPUT, LOGITS, ComponentGraph, EdgeScores, component_of
from circuitkit.discovery.method import Method
from circuitkit.discovery.search import open_search
from circuitkit.discovery.time_estimate import TimeEstimate, estimate_of
from circuitkit.errors import MethodError
from circuitkit.glossary import METHODS
from circuitkit.interventions.repeated_circuits import RepeatedCircuits, repeated_plan
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.checkpoint import Checkpoint

LOOK_AHEAD = 64  # candidates in one batch, at most

Candidate = list[tuple[int, int]]  # edges that are tried at once, as (sender, receiver)


@dataclass(frozen=True)
class ACDC(Method):
    """Automatic circuit discovery with a threshold in the metric's unit."""

    name = "acdc"
    summary = METHODS["acdc"]
    is_resumable = True
    threshold: float = 0.05
    absolute: bool = False
    whole: bool = True

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise MethodError(
                f"method 'acdc': threshold must be above 0, got {self.threshold}. It is what an "
                "edge must be worth, in the metric's unit. Use 0.01 or so."
            )

    @property
    def ranks_signed(self) -> bool:
        """Whether edges that work against the behaviour rank last."""
        return not self.absolute

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        return

    def estimate(self, model: SubjectModel, pairs: PromptPairs) -> TimeEstimate:
        return estimate_of(model, pairs, float(model.graph.n_edges * len(pairs)))

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        self.require_usable(model, metric, work)
        plan = repeated_plan(model, pairs, LOOK_AHEAD, work)
        with open_search(self, model, pairs, metric, work, f"{LOOK_AHEAD} candidates") as done:
            repeated = RepeatedCircuits(model, pairs, metric, work, **done.plan(plan))
            search = Search(self, model.graph, repeated, done)
            steps = list(_receivers(model.graph))
            work.progress(0, len(steps))
            for number, receivers in enumerate(steps):
                search.ask(receivers)
                work.progress(number + 1, len(steps))
        return EdgeScores(model.graph, search.scores)

    def own_circuit(self, scores: EdgeScores) -> Circuit:
        """Return the circuit of the edges that were worth the threshold when tried."""
        return Circuit(scores.graph, self.is_worth(scores.values), scores)

    def is_worth(self, effects: Tensor) -> Tensor:
        """Return which effects keep an edge."""
        return (effects.abs() if self.absolute else effects) >= self.threshold


class Search:
    """What is kept so far, its gain, and the scores of what was tried."""

    def __init__(
        self, method: ACDC, graph: ComponentGraph, repeated: RepeatedCircuits, done: Checkpoint
    ) -> None:
        self.method, self.graph, self.repeated, self.done = method, graph, repeated, done
        self.kept = graph.edge_mask.clone()
        self.scores = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
        self.order = _sender_order(graph)
        self.gain: float | None = None
        self.window = LOOK_AHEAD

    def ask(self, receivers: Sequence[int]) -> None:
        """Try the edges of receivers of one kind in one layer."""
        alive = [r for r in receivers if self._feeds_something(r)]
        for r in set(receivers) - set(alive):
            self.kept[:, r] = False
        if self.method.whole and self.graph.receivers[receivers[0]].endswith(">"):
            wholes = [[(s, r) for s in self.order if self.kept[s, r]] for r in alive]
            self.settle(wholes)
        for r in alive:
            self.settle([[(s, r)] for s in self.order if self.kept[s, r]])

    def _feeds_something(self, receiver: int) -> bool:
        component = component_of(self.graph.receivers[receiver])
        if component == LOGITS:
            return True
        return bool(self.kept[self.graph.senders.index(component)].any())

    def settle(self, candidates: list[Candidate]) -> None:
        """Drop each candidate in turn that is not worth keeping, the kept ones being put back."""
        while candidates:
            batch = candidates[: self.window]
            effects = self._effects_if_all_go(batch)
            n_settled = 0
            for candidate, (effect, gain) in zip(batch, effects, strict=True):
                n_settled += 1
                is_kept = bool(self.method.is_worth(torch.tensor(effect)))
                if not is_kept or len(candidate) == 1:  # a kept whole is tried edge by edge later
                    for s, r in candidate:
                        self.scores[s, r], self.kept[s, r] = effect / len(candidate), is_kept
                if is_kept:
                    break
                self.gain = gain
            candidates = candidates[n_settled:]
            # where little goes, little is run ahead in vain
            self.window = min(LOOK_AHEAD, 2 * len(batch) if n_settled == len(batch) else n_settled)

    def _effects_if_all_go(self, batch: list[Candidate]) -> list[tuple[float, float]]:
        """Return each candidate's effect and the gain without it, those before it being dropped."""
        key = _key(self.kept, batch)
        gains = self.done.result(key)
        if gains is None:
            first = self.graph.layer_of_receiver(batch[0][0][1])
            masks = self.kept.repeat(len(batch), 1, 1)
            for i, candidate in enumerate(batch):
                for s, r in candidate:
                    masks[i:, s, r] = False
            if self.gain is None:
                masks = torch.cat([self.kept.unsqueeze(0), masks])
            gains = self.repeated.gains(masks, first).tolist()
            self.done.keep(key, gains)
        if self.gain is None:
            self.gain, gains = gains[0], gains[1:]
        before = [self.gain, *gains[:-1]]
        return [(old - new, new) for old, new in zip(before, gains, strict=True)]


def _receivers(graph: ComponentGraph) -> Iterator[list[int]]:
    """Yield receiver indices in the order in which they are asked, those asked together at once."""
    yield [len(graph.receivers) - 1]
    for layer in reversed(range(graph.n_layers)):
        first = graph.first_receiver(layer)
        if graph.has_mlps:
            yield [*reversed(range(len(graph.receivers))[graph.mlp_receivers(layer)])]
        heads = [receiver for receiver in reversed(range(first, graph.mlp_receiver(layer)))]
        yield heads


def _sender_order(graph: ComponentGraph) -> list[int]:
    order: list[int] = []
    for layer in reversed(range(graph.n_layers)):
        first = graph.head_sender(layer)
        order += range(len(graph.senders))[graph.mlp_senders(layer)]
        order += range(first, graph.mlp_sender(layer))
    return [*order, graph.senders.index(INPUT)]


def _key(kept: Bool[Tensor, "sender receiver"], batch: list[Candidate]) -> str:
    """Return the state and the candidates as text: what the gains of a batch depend on."""
    hashed = hashlib.sha256(kept.numpy().tobytes() + repr(batch).encode())
    return hashed.hexdigest()[:32]
