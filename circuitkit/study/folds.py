"""Cross-fitting: where pairs are few, all of them find circuits and all of them judge.

    1. pairs are dealt into k folds; pairs of one cluster, or that share a prompt, into one
    2. circuit C_j is found on all pairs but those of fold j, as the settings say
    3. f = sum over pairs i of (m_i(C_j) - m_i(0)) / sum over pairs of (m_i(M) - m_i(0)),
       j being the fold of i: no pair judges a circuit that it found

The claim is about the procedure: circuits found so, on (k - 1) / k of the pairs, keep f of the
behaviour on average. It is about none of them alone, and not about the circuit found on all pairs,
which nothing is left to judge.

Interval: the wider of two. Over pairs in their clusters, given the circuits: right for the mean of
what these k circuits keep, if one pair more or less hardly changes them (Bayle et al. 2020,
arXiv:2007.12671). Over folds, Student's t with k - 1 degrees: sees that they do change. No interval
is right for all: the circuits share pairs (Bengio and Grandvalet 2004, JMLR 5:1089).

Held against bounds are f, and the size of the largest circuit: the whole model keeps everything.
"""

import random
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import PromptError
from circuitkit.prompts.clusters import linked
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.prompts.splits import Splits
from circuitkit.statistics.bootstrap import CONFIDENCE, Estimate, Values, share_of_whole
from circuitkit.statistics.bound import Bound
from circuitkit.statistics.clusters import Clusters
from circuitkit.statistics.gaps import require_gap
from circuitkit.study.plain_case import plain_case
from circuitkit.study.search import find_circuit
from circuitkit.study.settings import Settings, Stage
from circuitkit.study.subject import Subject
from circuitkit.validation.judge import MIN_TO_JUDGE
from circuitkit.validation.verdict import REFUTED, UNDECIDED, Finding, outcome_of
from circuitkit.work.progress import silent

Folds = NDArray[np.int64]


@dataclass(frozen=True)
class FoldResult:
    """One fold: the circuit found on the other pairs, and what it keeps on these, as a point."""

    circuit: Circuit
    n_found_on: int
    n_judged_on: int
    faithfulness: float | None  # None: the model and the empty circuit do the same on these


@dataclass(frozen=True)
class CrossFit:
    """What circuits found by one procedure keep on pairs that did not find them.

    `overlap` is the mean Jaccard overlap of two of the circuits. `outcome` holds `faithfulness`
    against `bound`, and the largest circuit against `most_edges`; it is undecided with too few
    independent pairs.
    """

    folds: tuple[FoldResult, ...]
    faithfulness: Estimate
    bound: Bound
    most_edges: int
    outcome: str
    overlap: float
    sentence: str

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "claim": self.sentence,
            "outcome": self.outcome,
            "faithfulness": vars(self.faithfulness),
            "bound": vars(self.bound),
            "most_edges": self.most_edges,
            "overlap": self.overlap,
            "folds": [
                {
                    "found_on": fold.n_found_on,
                    "judged_on": fold.n_judged_on,
                    "faithfulness": fold.faithfulness,
                    "edges": list(fold.circuit.edges),
                }
                for fold in self.folds
            ],
        }


def cross_fit(
    subject: Subject, settings: Settings, n_folds: int, stage: Stage = lambda title: silent
) -> CrossFit:
    """Return what the settings' circuits keep on held-out folds of the discovery pairs.

    Raises:
        PromptError: fewer groups of pairs than folds.
        VanishingGapError: ablating everything does not change the metric.
        MethodError, MemoryBudgetError: as finding a circuit raises them.
    """
    pairs = subject.splits.discovery
    fold_of = folds_of(pairs, n_folds, settings.seed)
    results, rows = [], np.empty((3, len(pairs)))
    for fold in range(n_folds):
        inside = np.flatnonzero(fold_of == fold)
        circuit, values = _one_fold(subject, settings, inside.tolist(), stage)
        rows[:, inside] = values
        full, empty, own = values.mean(1)
        share = float((own - empty) / (full - empty)) if full != empty else None
        results.append(FoldResult(circuit, len(pairs) - len(inside), len(inside), share))
    full, empty, own = rows
    require_gap(full, empty, settings.ablation, subject.metric, pairs.clusters)
    value = pooled(own - empty, full - empty, pairs.clusters, fold_of)
    bound = settings.thresholds.bounds["faithfulness"]
    most = settings.thresholds.most_edges(subject.model.graph)
    outcome = outcome_of(Finding(value), bound)
    if max(result.circuit.n_edges for result in results) > most:
        outcome = REFUTED
    if pairs.n_clusters < MIN_TO_JUDGE:
        outcome = UNDECIDED
    overlap = _overlap([result.circuit for result in results])
    sentence = _sentence(results, value, outcome, settings)
    return CrossFit(tuple(results), value, bound, most, outcome, overlap, sentence)


def folds_of(pairs: PromptPairs, n_folds: int, seed: int) -> Folds:
    """Return the fold of each pair, from 0 on, about equally large ones.

    Raises:
        PromptError: fewer groups of pairs than folds.
    """
    both = zip(pairs.pair_digests(), pairs.cluster_names, strict=True)
    group_of = linked([(*prompts, ("cluster", cluster)) for prompts, cluster in both])
    groups = list(dict.fromkeys(group_of.tolist()))
    if not 2 <= n_folds <= len(groups):
        raise PromptError(
            f"--folds: must be from 2 to the number of independent groups of pairs, "
            f"{len(groups)} here, got {n_folds}. Pairs that share a prompt, or are of one cluster, "
            "stay together, and each fold needs one group. Ask for fewer folds, or add prompts."
        )
    random.Random(seed).shuffle(groups)
    sizes, found = [0] * n_folds, np.empty(len(pairs), dtype=np.int64)
    for group in groups:
        fold = sizes.index(min(sizes))
        found[group_of == group] = fold
        sizes[fold] += int((group_of == group).sum())
    return found


def pooled(change: Values, whole: Values, clusters: Clusters, fold_of: Folds) -> Estimate:
    """Return mean change / mean whole, with the wider of the intervals over pairs and over folds.

    Raises:
        CriterionError: too few clusters to see a spread.
    """
    of_pairs = share_of_whole(change, whole, clusters=clusters)
    off, k = change - of_pairs.value * whole, int(fold_of.max()) + 1
    sums = np.bincount(fold_of, weights=off, minlength=k)
    error = float(sums.std(ddof=1)) * np.sqrt(k) / abs(float(whole.sum()))
    half = float(t.ppf((1 + CONFIDENCE) / 2, k - 1)) * error
    low, high = of_pairs.value - half, of_pairs.value + half
    return replace(of_pairs, low=min(of_pairs.low, low), high=max(of_pairs.high, high))


def _one_fold(
    subject: Subject, settings: Settings, inside: list[int], stage: Stage
) -> tuple[Circuit, Values]:
    """Return the circuit found outside, and the metric of model, empty circuit and it inside."""
    pairs = subject.splits.discovery
    outside = pairs.select(sorted(set(range(len(pairs))) - set(inside)))
    # a file without reference lines gives all its pairs: those that judge must supply no means
    reference = outside if subject.source is None else subject.splits.reference
    own = replace(subject, splits=Splits(outside, pairs.select(inside), reference))
    circuit, _ = find_circuit(own, settings, stage)
    graph = own.model.graph
    return circuit, plain_case(own, circuit, settings).values(
        [Circuit.full(graph), Circuit.empty(graph), circuit]
    )


def _overlap(circuits: list[Circuit]) -> float:
    """Return the mean Jaccard overlap of two circuits."""
    sets = [set(circuit.edges) for circuit in circuits]
    return float(np.mean([len(a & b) / max(1, len(a | b)) for a, b in combinations(sets, 2)]))


def _sentence(results: list[FoldResult], value: Estimate, outcome: str, settings: Settings) -> str:
    n, k = sum(result.n_judged_on for result in results), len(results)
    largest = max((result.circuit for result in results), key=lambda circuit: circuit.n_edges)
    share = largest.n_edges / largest.graph.n_edges
    few = "" if value.n >= MIN_TO_JUDGE else f"; a verdict needs {MIN_TO_JUDGE}"
    return (
        f"{outcome.capitalize()}: circuits of at most {largest.n_edges} edges ({share:.1%} of "
        f"all), found by {settings.method} on {k - 1} of {k} folds of {n} pairs, keep "
        f"{value.value:.0%} of the behaviour under {settings.ablation} ablation (95 % interval "
        f"{value.low:.0%} to {value.high:.0%}, {value.n} independent pairs{few}) on the fold that "
        "did not find them. "
        "Faithfulness and size were judged, nothing else; the claim is about the procedure, not "
        "about one circuit."
    )
