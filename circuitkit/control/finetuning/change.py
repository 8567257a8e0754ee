"""Which edges carry what fine-tuning changed, and whether taking those back takes it back.

    carried(C)  = (m(C) - m(0)) / (m(tuned) - m(0))       edges of C are tuned, all else is the base
    reverted(C) = (m(tuned) - m(not C)) / (m(tuned) - m(0))       edges of C are the base, all else
                                                                  is tuned

m is the metric's mean over the clean prompts, m(0) that of the tuned model's reading of the base
model's residual stream (base.py). `m(base)` stands beside it: what lies between the two is what
fine-tuning did to the final norm and the unembedding alone, and no edge carries it. Both shares
are 1 for all edges and 0 for none. Signed: a share below 0 means that the edges work against the
change. A circuit of the change need not begin at the input: what was tuned is its own beginning.
Cross-model patching: Prakash et al. 2024 (arXiv:2402.14811), there by whole components.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.circuits.selection import prune_unread, select_best
from circuitkit.control.finetuning.base import FromBase, joined, require_comparable
from circuitkit.discovery.method import Method
from circuitkit.errors import MethodError, VanishingGapError
from circuitkit.interventions.ablation import ZeroAblation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate, Values, mean_estimate, share_of_whole
from circuitkit.statistics.gaps import require_gap
from circuitkit.work.progress import Progress, silent

AIM = 0.9  # share of the change at which a circuit of it is large enough
N_SIZES = 24
LARGEST = 0.5  # share of all edges beyond which a circuit of the change says nothing


@dataclass(frozen=True)
class Tuning:
    """A tuned model and its base, the pairs on which both are asked, and the metric."""

    tuned: SubjectModel
    base: SubjectModel
    metric: Metric
    memory: int | None = None

    def __post_init__(self) -> None:
        require_comparable(self.tuned, self.base)

    @cached_property
    def model(self) -> SubjectModel:
        """The tuned model, in which edges can carry what the base writes."""
        return joined(self.tuned, self.base)

    def work(self, progress: Progress = silent) -> Work:
        """Return how its circuits run: edges outside carry what the base writes."""
        return Work(FromBase(self.base), memory=self.memory, progress=progress)


@dataclass(frozen=True)
class ComponentChange:
    """What a component carries of the change: `reverted` if all it writes is the base's."""

    name: str
    reverted: Estimate


@dataclass(frozen=True)
class TuningChange:
    """What fine-tuning changed, and which edges carry it. Means are of the metric, in its unit.

    `stream` is the tuned model's reading of the base model's residual stream, m(0).
    """

    metric: str
    unit: str
    base: Estimate
    stream: Estimate
    tuned: Estimate
    change: Estimate
    circuit: Circuit
    carried: Estimate
    reverted: Estimate
    random_carried: tuple[float, ...]
    components: tuple[ComponentChange, ...]


def score_change(
    tuning: Tuning, pairs: PromptPairs, method: Method, progress: Progress = silent
) -> EdgeScores:
    """Return what each edge carries of the change, by a discovery method, in the metric's unit.

    Positive: the edge carries the change of the metric upwards.

    Raises:
        MethodError: the method cannot work under this ablation.
    """
    if not method.uses_ablation:
        raise MethodError(
            f"fine-tuning: the method must ask what ablated edges change, got {method.name!r}. It "
            "would score the same edges whatever the base model is. Use eap, eap-ig or exact."
        )
    model, work = tuning.model, tuning.work(progress)
    method.require_usable(model, tuning.metric, work)
    return method.score_edges(model, pairs, tuning.metric, work)


def circuit_of_change(
    tuning: Tuning, pairs: PromptPairs, scores: EdgeScores, n_edges: int = 0
) -> Circuit:
    """Return the best edges that lead to the logits: so many, or the fewest that carry AIM.

    Raises:
        MethodError: more edges are asked for than there are, or none leads to the logits.
        VanishingGapError: the change cannot be told from none.
    """
    graph = scores.graph
    step = max(1, round(LARGEST * graph.n_edges / N_SIZES))
    sizes = [n_edges] if n_edges else [step * k for k in range(1, N_SIZES + 1)]
    circuits = [prune_unread(select_best(scores, n, "top", signed=False)) for n in sizes]
    if n_edges == 0:
        full, empty, *values = _values(tuning, pairs, [*_ends(graph), *circuits])
        _require_change(full, empty, tuning, pairs)
        shares = [(v.mean() - empty.mean()) / (full.mean() - empty.mean()) for v in values]
        enough = [c for c, share in zip(circuits, shares, strict=True) if share >= AIM]
        circuits = enough[:1] or circuits[-1:]
    if circuits[0].n_edges == 0:
        raise MethodError(
            f"fine-tuning: of the best {sizes[0]} edges some must lead to the logits, got only "
            "dead ends. Nothing of the change would arrive. Ask for more edges."
        )
    return circuits[0]


def measure_change(
    tuning: Tuning,
    pairs: PromptPairs,
    circuit: Circuit,
    controls: Sequence[Circuit] = (),
    progress: Progress = silent,
) -> TuningChange:
    """Return what a circuit carries of the change on pairs that did not find it.

    Raises:
        VanishingGapError: the change cannot be told from none.
        GraphError: the circuit is of another architecture.
    """
    whole = Circuit.full(circuit.graph)
    senders = circuit.graph.senders
    single = [whole.without([name]) for name in senders]
    asked = [*_ends(circuit.graph), circuit, circuit.complement, *single, *controls]
    full, empty, kept, without, *rest = _values(tuning, pairs, asked, progress)
    _require_change(full, empty, tuning, pairs)

    def share(change: Values) -> Estimate:
        return share_of_whole(change, full - empty, clusters=pairs.clusters)

    def mean(values: Values) -> Estimate:
        return mean_estimate(values, clusters=pairs.clusters)

    base = _of_base(tuning, pairs)
    return TuningChange(
        metric=tuning.metric.name,
        unit=tuning.metric.unit,
        base=mean(base),
        stream=mean(empty),
        tuned=mean(full),
        change=mean(full - base),
        circuit=circuit,
        carried=share(kept - empty),
        reverted=share(full - without),
        random_carried=tuple(share(v - empty).value for v in rest[len(senders) :]),
        components=tuple(map(ComponentChange, senders, [share(full - v) for v in rest])),
    )


def _of_base(tuning: Tuning, pairs: PromptPairs) -> Values:
    """Return the metric of the base model itself."""
    [found] = evaluate_circuits(
        tuning.base,
        pairs,
        [Circuit.full(tuning.base.graph)],
        ablation=ZeroAblation(),
        metric=tuning.metric,
        memory=tuning.memory,
    )
    return np.asarray(found.numpy())


def _require_change(full: Values, empty: Values, tuning: Tuning, pairs: PromptPairs) -> None:
    """Refuse to divide by a change that may be none."""
    try:
        require_gap(full, empty, FromBase.name, tuning.metric, pairs.clusters)
    except VanishingGapError as error:
        change = mean_estimate(full - empty, clusters=pairs.clusters)
        raise VanishingGapError(
            f"fine-tuning: it must change {tuning.metric.name} on these prompts, got {change} over "
            f"{change.n} pairs. There is nothing for edges to carry. Use a task that was trained, "
            "or more pairs (--n)."
        ) from error


def _ends(graph: ComponentGraph) -> tuple[Circuit, Circuit]:
    return Circuit.full(graph), Circuit.empty(graph)


def _values(
    tuning: Tuning, pairs: PromptPairs, circuits: Sequence[Circuit], progress: Progress = silent
) -> list[Values]:
    work = tuning.work(progress)
    found = evaluate_circuits(
        tuning.model,
        pairs,
        circuits,
        ablation=work.ablation,
        metric=tuning.metric,
        memory=work.memory,
        progress=work.progress,
    )
    return list(np.asarray(found.numpy()))
