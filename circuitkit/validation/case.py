"""The case: what is judged. It never changes; replacing a field makes another case.

A case knows the circuit, the model and the pairs, never the method that found the circuit; where
circuits must be found again (stability, shuffled pairs), it brings a function that does. Its
circuits run on a bench, which remembers what they did for all cases that share it (bench.py).

Whatever is chosen among many (the worst knock-out, the set that exposes an edge) is chosen on other
pairs than those it is judged on, so that the worst is not worst by chance.
"""

import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError, MethodError, PromptError
from circuitkit.interventions.ablation import Ablation
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate, Values, share_of_whole
from circuitkit.statistics.gaps import require_gap
from circuitkit.validation.bench import Bench
from circuitkit.work.progress import Progress, silent
from circuitkit.work.text import brief

N_CHOOSING = 32  # pairs on which sets are chosen: enough to rank them
N_REFOUND = 8  # bootstrap samples on which the circuit is found again
T = TypeVar("T")
Find = Callable[[PromptPairs, int], Circuit]
Select = Callable[[int], Circuit]


@dataclass(frozen=True)
class HeldOut:
    """Pairs of another kind than those of discovery, and the ablations made for them."""

    pairs: PromptPairs
    ablations: Mapping[str, Ablation]


class LateHeldOut(Mapping[str, HeldOut]):
    """Held-out pairs that are drawn when a criterion first asks: most never do."""

    def __init__(self, draw: Callable[[], Mapping[str, HeldOut]]) -> None:
        self.draw = cache(draw)

    def __getitem__(self, kind: str) -> HeldOut:
        return self.draw()[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self.draw())

    def __len__(self) -> int:
        return len(self.draw())


@dataclass(frozen=True, eq=False)
class Case:
    """A circuit of a model on trial, with everything its judges may use.

    `validation` judges; on `discovery` sets are chosen. `ablations` holds every ablation by name,
    `ablation` names the one of the verdict. `find(pairs, seed)` finds a circuit of the same size
    again, `select(n_edges)` gives its best edges; None where that is not known. Results do not
    depend on `memory`, `progress` or `bench`; `dataclasses.replace` keeps the bench, and with it
    what the new case has in common with this one.
    """

    model: SubjectModel
    circuit: Circuit
    metric: Metric
    validation: PromptPairs
    discovery: PromptPairs
    ablations: Mapping[str, Ablation]
    ablation: str
    seed: int = 0
    memory: int | None = None
    find: Find | None = None
    select: Select | None = None
    held_out: Mapping[str, HeldOut] = field(default_factory=dict)
    progress: Progress = silent
    bench: Bench = field(default_factory=Bench, repr=False)

    def __repr__(self) -> str:
        on = f"{len(self.validation)} validation pairs, {self.ablation} ablation"
        return brief(f"Case({self.circuit!r}, {self.metric.name}, {on})")

    @cached_property
    def choosing(self) -> PromptPairs:
        """The discovery pairs on which sets are chosen."""
        return self.discovery.select(range(min(N_CHOOSING, len(self.discovery))))

    @cached_property
    def refound(self) -> tuple[Circuit, ...]:
        """The circuits found again on bootstrap samples of the discovery pairs.

        Raises:
            CriterionError: it cannot be found again.
        """
        n = len(self.discovery)
        rows = [random.Random(seed).choices(range(n), k=n) for seed in self.seeds(N_REFOUND)]
        return self.found_on([self.discovery.select(sample) for sample in rows])

    def found_on(self, samples: Sequence[PromptPairs]) -> tuple[Circuit, ...]:
        """Return the circuit found on each of some sets of pairs, each with a seed of its own.

        Raises:
            CriterionError: it cannot be found again.
        """
        if self.find is None:
            raise not_found_again("it does not say how it was found")
        seeds = self.seeds(len(samples))
        try:
            return tuple(self.find(pairs, s) for pairs, s in zip(samples, seeds, strict=True))
        except MethodError as error:
            raise CriterionError(f"circuit: could not be found again: {error}") from error

    def seeds(self, n: int) -> list[int]:
        """Return `n` seeds of this case."""
        return [self.seed * 1000 + i for i in range(n)]

    def values(
        self,
        circuits: Sequence[Circuit],
        *,
        choosing: bool = False,
        ablation: str = "",
        metric: Metric | None = None,
    ) -> Values:
        """Return the metric of each circuit on each pair, [circuit, pair], in the metric's unit.

        All that were not run before run in the same batches. Another `metric` than the case's may
        be asked for.

        Raises:
            CriterionError: an ablation other than the verdict's does not fit the pairs.
        """
        name = ablation or self.ablation
        pairs = self.choosing if choosing else self.validation
        work = Work(self.ablations[name], memory=self.memory, progress=self.progress)
        try:
            return self.bench.values(self.model, pairs, circuits, metric or self.metric, work)
        except PromptError as error:
            if name == self.ablation:
                raise
            raise CriterionError(f"under {name} ablation: {error}") from error

    def once(self, name: str, make: Callable[[], T], *given: Any) -> T:
        """Return what `make` makes of this case and of what else is given, made once.

        `given` is all that `make` reads and the case does not hold.
        """
        return self.bench.once((name, self.identity, *map(self.bench.digest, given)), make)

    @cached_property
    def identity(self) -> Hashable:
        """All that a result can depend on: every field but memory, progress and bench."""
        if isinstance(self.held_out, LateHeldOut):
            held: Mapping[str, tuple[Any, ...]] = {"drawn by": (self.held_out.draw,)}
        else:
            held = {kind: (each.pairs, each.ablations) for kind, each in self.held_out.items()}
        things = (
            *(self.model, self.circuit, self.metric, self.validation, self.discovery),
            *(self.ablations, self.find, self.select),
            *(part for parts in held.values() for part in parts),
        )
        return (self.ablation, self.seed, tuple(held), *map(self.bench.digest, things))

    def ends(self, *, choosing: bool = False, ablation: str = "") -> tuple[Values, Values]:
        """Return the metric of each pair for the whole model and for the empty circuit.

        Raises:
            VanishingGapError: they cannot be told apart.
        """
        graph = self.model.graph
        full, empty = self.values(
            [Circuit.full(graph), Circuit.empty(graph)], choosing=choosing, ablation=ablation
        )
        pairs = self.choosing if choosing else self.validation
        require_gap(full, empty, ablation or self.ablation, self.metric, pairs.clusters)
        return full, empty

    def faithfulness(self, circuits: Sequence[Circuit], *, ablation: str = "") -> Values:
        """Return the faithfulness of each circuit, a ratio of means without interval."""
        full, empty = self.ends(ablation=ablation)
        means = self.values(circuits, ablation=ablation).mean(1)
        return np.asarray((means - empty.mean()) / (full.mean() - empty.mean()))

    def share_of_gap(self, change: Values, *, ablation: str = "") -> Estimate:
        """Return the mean change of the metric as a share of m(M) - m(0), signed.

        Raises:
            VanishingGapError: m(M) - m(0) cannot be told from zero.
        """
        full, empty = self.ends(ablation=ablation)
        return share_of_whole(change, full - empty, clusters=self.validation.clusters)


def not_found_again(reason: str) -> CriterionError:
    """Return the error of a circuit that cannot be found again on other pairs."""
    return CriterionError(
        f"circuit: must be found again on other pairs, got none: {reason}. "
        "Judge a circuit that `circuitkit discover` wrote with a gradient method."
    )
