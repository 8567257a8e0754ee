"""From a subject to a circuit: scoring, the choice of a size, and the removal of dead ends."""

from collections.abc import Callable

import numpy as np

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.circuits.selection import prune_dead_ends, select_above, select_best
from circuitkit.errors import MethodError
from circuitkit.interventions.work import Work
from circuitkit.study.recipe import with_provenance
from circuitkit.study.settings import Settings, Stage, method_of, work_of
from circuitkit.study.subject import Subject
from circuitkit.validation.case import Case
from circuitkit.validation.faithfulness import measure_faithfulness_points
from circuitkit.validation.judge import MIN_TO_JUDGE
from circuitkit.validation.minimality import ALPHA, edge_effects, holm, p_above, reference_level
from circuitkit.work.progress import Progress, silent

N_STEPS = 12  # numbers of idle edges that are tried
AIM = 0.95  # faithfulness on discovery pairs at which a circuit is large enough


def discover(subject: Subject, settings: Settings, progress: Progress = silent) -> EdgeScores:
    """Return the method's scores of all edges on the discovery pairs.

    Raises:
        MethodError: the method cannot work on this model, metric or ablation.
    """
    work = work_of(subject, settings, progress)
    pairs = subject.splits.discovery
    return method_of(settings).score_edges(subject.model, pairs, subject.metric, work)


def find_circuit(
    subject: Subject, settings: Settings, stage: Stage = lambda title: silent
) -> tuple[Circuit, EdgeScores]:
    """Return the circuit that the settings find, with its recipe, and the scores of all edges.

    Raises:
        MethodError: the method cannot work here, or the selection leaves nothing connected.
    """
    scores = discover(subject, settings, stage("Scoring edges"))
    selected = choose_circuit(subject, scores, settings, stage)
    found = connected(selected)
    found = trimmed(subject, found, settings, stage) if settings.minimal else found
    return with_provenance(found, subject, settings, n_selected=selected.n_edges), scores


def choose_circuit(
    subject: Subject,
    scores: EdgeScores,
    settings: Settings,
    stage: Stage = lambda title: silent,
) -> Circuit:
    """Return the circuit, dead ends included: of a size, above a threshold, or the method's own.

    A method without a circuit of its own, and `greedy` selection, give the smallest that is
    faithful enough.

    Raises:
        MethodError: more edges are asked for than there are, or none is left.
    """
    return choose(scores, settings, lambda: smallest_faithful(subject, scores, settings, stage))


def choose(scores: EdgeScores, settings: Settings, size: Callable[[], int]) -> Circuit:
    """Return the circuit as `choose_circuit` does; `size()` says how large where nothing else does.

    Raises:
        MethodError: more edges are asked for than there are, or none is left.
    """
    if settings.threshold > 0:
        return select_above(scores, settings.threshold, signed=settings.ranks_signed)
    method = method_of(settings)
    own = method.own_circuit(scores)
    if settings.n_edges or own is None or settings.selection != "top":
        return best_edges(scores, settings.n_edges or size(), settings)
    if own.n_edges == 0:
        raise MethodError(
            f"method {method.name!r}: its circuit must have an edge, got none with the settings "
            f"{method}. Nothing could be drawn or judged. Change them with --set, or use --edges."
        )
    return own


def connected(circuit: Circuit) -> Circuit:
    """Return the circuit without dead ends.

    Raises:
        MethodError: nothing leads from the input to the logits.
    """
    pruned = prune_dead_ends(circuit)
    if pruned.n_edges == 0:
        raise MethodError(
            f"circuit: some edges must lead from the input to the logits, got {circuit.n_edges} "
            "edges that do not. The picture would be empty. Ask for more edges, lower the "
            "threshold, or use --select greedy."
        )
    return pruned


def trimmed(
    subject: Subject, circuit: Circuit, settings: Settings, stage: Stage = lambda title: silent
) -> Circuit:
    """Return the circuit without edges that are not needed, and without dead ends.

    Idle edges, by the test of validation/minimality.py, go together, those of least effect first,
    as many as leave the circuit as faithful: edges that stand in for each other are each idle, but
    not all at once. Repeated until none goes. All on the discovery pairs: sets that expose an edge
    are chosen on one half, its effect is tested on the other.

    Raises:
        MethodError: too few discovery pairs.
    """
    pairs, half = subject.splits.discovery, len(subject.splits.discovery) // 2
    if half < MIN_TO_JUDGE:
        raise MethodError(
            f"minimal circuit: there must be at least {2 * MIN_TO_JUDGE} discovery pairs, got "
            f"{len(pairs)}. Which edges are needed cannot be told from fewer. Raise --n, or leave "
            "out --minimal."
        )
    progress, before = stage("Dropping idle edges"), circuit.n_edges
    while True:
        case = Case(
            model=subject.model,
            circuit=circuit,
            metric=subject.metric,
            validation=pairs.select(range(half, len(pairs))),
            discovery=pairs.select(range(half)),
            ablations=subject.ablations,
            ablation=settings.ablation,
            seed=settings.seed,
            memory=settings.memory,
        )
        smaller = _less_idle(case)
        progress(before - smaller.n_edges, before)
        if smaller.n_edges == circuit.n_edges:
            progress(before, before)
            return circuit
        circuit = smaller


def _less_idle(case: Case) -> Circuit:
    """Return the circuit without as many idle edges as can go with no loss of faithfulness."""
    changes = edge_effects(case)
    by_effect: list[int] = np.argsort(np.abs(changes.mean(1)), kind="stable").tolist()
    shown = holm(p_above(changes, reference_level(case)), ALPHA)  # which to try: no verdict
    edges = case.circuit.edges
    idle = [edges[number] for number in by_effect if not shown[number]]
    sizes = sorted({round(len(idle) * step / N_STEPS) for step in range(1, N_STEPS + 1)} - {0})
    graph = case.circuit.graph
    fewer = [
        prune_dead_ends(case.circuit.with_edges(case.circuit.edge_mask & ~graph.mask_of(idle[:n])))
        for n in sizes
    ]
    off, *missed = np.abs(1 - case.faithfulness([case.circuit, *fewer])).tolist()
    allowed = max(1 - AIM, off)
    kept = [c for c, miss in zip(fewer, missed, strict=True) if miss <= allowed and c.n_edges]
    return min(kept, key=lambda circuit: circuit.n_edges, default=case.circuit)


def best_edges(scores: EdgeScores, n_edges: int, settings: Settings) -> Circuit:
    """Return the `n_edges` best edges, dead ends included, as the settings select."""
    return select_best(scores, n_edges, settings.selection, signed=settings.ranks_signed)


def smallest_faithful(
    subject: Subject,
    scores: EdgeScores,
    settings: Settings,
    stage: Stage = lambda title: silent,
) -> int:
    """Return the smallest size whose top edges reach AIM on the discovery pairs.

    Sizes are tried up to the largest share of edges that the thresholds allow, which is also the
    answer where none is faithful enough. The validation pairs are not looked at.
    """
    limit = settings.thresholds.most_edges(scores.graph)
    step = max(1, limit // 24)
    sizes: list[int] = [*range(step, limit, step), limit]
    points = measure_faithfulness_points(
        subject.model,
        subject.splits.discovery,
        [prune_dead_ends(best_edges(scores, n, settings)) for n in sizes],
        subject.metric,
        Work(
            subject.ablations[settings.ablation],
            memory=settings.memory,
            progress=stage("Choosing the size"),
        ),
    )
    for size, faithfulness in zip(sizes, points, strict=True):
        if faithfulness >= AIM:
            return size
    return limit
