"""What it changes to use circuit B of a model in place of circuit A.

    f(C) = (m(C) - m(0)) / (m(M) - m(0))          faithfulness, as in validation/faithfulness.py
    f(B) - f(A) = (m(B) - m(A)) / (m(M) - m(0))   positive: B keeps more of the behaviour

Both circuits run on the same validation pairs, so the difference is of pairs: where they agree on
hard prompts and easy ones alike, its interval is far narrower than theirs. Each model has its own
m(M) - m(0). Neither circuit is judged on prompts that found it, or the other.
"""

from dataclasses import dataclass

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CriterionError
from circuitkit.interventions.run_circuit import require_same_graph
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate, mean_estimate
from circuitkit.study.cases import rows_seen
from circuitkit.study.subject import Subject
from circuitkit.validation.case import Case
from circuitkit.validation.precision import warn_if_coarse
from circuitkit.work.notebook import Shown
from circuitkit.work.progress import Progress, silent
from circuitkit.work.text import brief

MAX_LEFT_OUT = 0.5  # share of the pairs: beyond it, the seed is that of a circuit's own discovery


@dataclass(frozen=True)
class FaithfulnessDifference(Shown):
    """Circuits A and B in one model, on `a.n` pairs: `difference` is f(B) - f(A).

    `gap` is m(M) - m(0), in the metric's unit. `n_left_out` pairs were drawn and not used, as they
    share a prompt with those that found a circuit.
    """

    model: str
    model_digest: str
    ablation: str
    metric: str
    unit: str
    a: Estimate
    b: Estimate
    difference: Estimate
    gap: Estimate
    n_left_out: int

    def __repr__(self) -> str:
        found = f"B - A = {self.difference}, A {self.a}, B {self.b}"
        return brief(f"FaithfulnessDifference({found}, {self.ablation} ablation of {self.model})")


def measure_difference(
    subject: Subject,
    a: Circuit,
    b: Circuit,
    *,
    ablation: str,
    memory: int | None = None,
    progress: Progress = silent,
) -> FaithfulnessDifference:
    """Return the faithfulness of both circuits in the subject's model, and their difference.

    Raises:
        GraphError: a circuit belongs to another architecture.
        CriterionError: the validation pairs found a circuit, or too many of those drawn did.
        VanishingGapError: the model and the empty circuit cannot be told apart.
    """
    for circuit in (a, b):
        require_same_graph(subject.model, circuit)
    pairs = unseen_pairs(subject, a, b)
    warn_if_coarse(
        subject.model, pairs, ablation=subject.ablations[ablation], metric=subject.metric
    )
    case = Case(
        model=subject.model,
        circuit=a,
        metric=subject.metric,
        validation=pairs,
        discovery=subject.splits.discovery,
        ablations=subject.ablations,
        ablation=ablation,
        memory=memory,
        progress=progress,
    )
    return _difference(case, b, n_left_out=len(subject.splits.validation) - len(pairs))


def _difference(case: Case, b: Circuit, *, n_left_out: int) -> FaithfulnessDifference:
    """Return what changes if the case's circuit gives way to `b`."""
    graph, metric = case.model.graph, case.metric
    full, empty = Circuit.full(graph), Circuit.empty(graph)
    of_full, of_empty, of_a, of_b = case.values([full, empty, case.circuit, b])
    return FaithfulnessDifference(
        model=case.model.name,
        model_digest=case.model.digest,
        ablation=case.ablation,
        metric=metric.name,
        unit=metric.unit,
        a=case.share_of_gap(of_a - of_empty),
        b=case.share_of_gap(of_b - of_empty),
        difference=case.share_of_gap(of_b - of_a),
        gap=mean_estimate(np.asarray(of_full - of_empty)),
        n_left_out=n_left_out,
    )


def unseen_pairs(subject: Subject, a: Circuit, b: Circuit) -> PromptPairs:
    """Return the validation pairs that share no prompt with those that found either circuit.

    Pairs that a task draws may repeat what another seed drew: those are left out. Pairs of a file
    are the user's choice: they are refused.

    Raises:
        CriterionError: pairs of a file found a circuit, or most of those drawn did.
    """
    pairs = subject.splits.validation
    seen_by = {"A": rows_seen(a, pairs), "B": rows_seen(b, pairs)}
    seen = sorted({row for rows in seen_by.values() for row in rows})
    if not seen:
        return pairs
    if subject.source is None or len(seen) > MAX_LEFT_OUT * len(pairs):
        who = " and ".join(name for name, rows in seen_by.items() if rows)
        raise CriterionError(
            f"validation pairs: must be others than those that found circuits A and B, got "
            f"{len(seen)} of {len(pairs)} that share a prompt with those of {who}, as "
            f"{pairs.pairs[seen[0]].clean!r}. A circuit would be measured on what it was fitted "
            "to. Give another --seed or other --prompts, or compare the files alone with --no-run."
        )
    return pairs.select([row for row in range(len(pairs)) if row not in set(seen)])
