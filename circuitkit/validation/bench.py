"""The bench: where circuits are run, and what each did is remembered.

    values   by digest of  model, pairs, metric, ablation, circuit
    once     by everything that the caller says it was made from

Cases share a bench and know nothing of each other: a case with another metric, other pairs or
another circuit has other digests, so what an older case measured is never taken for its own. How
much memory a run may take, and who is told of its progress, are in no digest: they change no value.
"""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.interventions.ablation import Ablation
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Values

T = TypeVar("T")


@dataclass(eq=False)
class Bench:
    """Runs circuits and remembers what each did, for all cases that share it."""

    _values: dict[Hashable, Values] = field(default_factory=dict, repr=False)
    _made: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _digests: dict[int, tuple[Any, Hashable]] = field(default_factory=dict, repr=False)

    def values(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        circuits: Sequence[Circuit],
        metric: Metric,
        work: Work,
    ) -> Values:
        """Return the metric of each circuit on each pair, [circuit, pair], in the metric's unit.

        All that were not run before run in the same batches, as `work` says: under its ablation,
        in its memory.

        Raises:
            PromptError: the ablation does not fit the pairs, or the metric needs other labels.
            MemoryBudgetError: not even one circuit on one pair fits.
        """
        on = tuple(self.digest(each) for each in (model, pairs, metric, work.ablation))
        keys = [(*on, mask_bytes(circuit)) for circuit in circuits]
        missing = {k: c for k, c in zip(keys, circuits, strict=True) if k not in self._values}
        if missing:
            rows = evaluate_circuits(
                model,
                pairs,
                list(missing.values()),
                ablation=work.ablation,
                metric=metric,
                memory=work.memory,
                progress=work.progress,
            ).numpy()
            self._values.update(zip(missing, rows, strict=True))
        return np.stack([self._values[key] for key in keys])

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` makes, made the first time it is asked for by this key.

        The key holds the digest of everything that `make` reads.
        """
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def digest(self, thing: Any) -> Hashable:
        """Return what tells a thing from others, worked out once for each lasting object.

        Pairs, ablations, circuits, arrays and tables of those are told by their contents; metrics
        without settings by their class; a model or a function by which object it is.
        """
        if isinstance(thing, Mapping):
            return tuple((key, self.digest(value)) for key, value in thing.items())
        if isinstance(thing, np.ndarray):
            return "array", thing.shape, str(thing.dtype), _short(thing.tobytes())
        known = self._digests.get(id(thing))
        if known is None:  # the thing is kept, so that its id stays its own
            known = self._digests[id(thing)] = (thing, self._digest(thing))
        return known[1]

    def _digest(self, thing: Any) -> Hashable:
        if isinstance(thing, PromptPairs):
            logits = thing.labels.clean_logits
            labelled = b"" if logits is None else logits.cpu().numpy().tobytes()
            told = repr((thing.roles, thing.cluster_names)).encode()
            return "pairs", thing.digest, _short(told + labelled)
        if isinstance(thing, Ablation):
            return type(thing), thing.identity
        if isinstance(thing, Circuit):
            scores = thing.scores.values.cpu().numpy().tobytes()
            return "circuit", thing.graph, mask_bytes(thing), _short(scores)
        if isinstance(thing, Metric) and not vars(thing):
            return type(thing)
        return "object", id(thing)


def mask_bytes(circuit: Circuit) -> bytes:
    """Return which edges a circuit keeps, and at which columns if not at all, as bytes."""
    graph = circuit.graph
    at = repr((graph.by, graph.columns)).encode() if isinstance(graph, ColumnGraph) else b""
    return np.packbits(circuit.edge_mask.numpy()).tobytes() + at


def _short(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()[:16]
