"""From a subject to a circuit: scoring, the choice of a size, and the removal of dead ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.circuits.selection import prune_dead_ends, select_above, select_best
from circuitkit.discovery.at_columns import score_at_columns
from circuitkit.errors import MethodError
from circuitkit.interventions.edge_columns import column_graph
from circuitkit.interventions.work import Work
from circuitkit.study.recipe import with_provenance
from circuitkit.study.settings import Settings, Stage, method_of, work_of
from circuitkit.study.subject import Subject
from circuitkit.study.trimming import Trimmed, trimmed
from circuitkit.study.workers import executor_of
from circuitkit.validation.bench import Bench
from circuitkit.validation.faithfulness import measure_faithfulness_points
from circuitkit.work.progress import Progress, silent

AIM = 0.95  # faithfulness on discovery pairs at which a circuit is large enough


def discover(subject: Subject, settings: Settings, progress: Progress = silent) -> EdgeScores:
    """Return the method's scores of all edges, at columns if so asked, on the discovery pairs.

    Raises:
        MethodError: the method cannot work on this model, metric or ablation.
        PromptError: the pairs cannot be cut into the columns.
        WorkerError: workers that cannot be had, or are not the same as this process.
    """
    pairs, model, method = subject.splits.discovery, subject.model, method_of(settings)
    with executor_of(subject, settings) as executor:
        work = work_of(subject, settings, progress, executor)
        if settings.columns:
            graph = column_graph(model.graph, pairs, settings.columns)
            return score_at_columns(method, model, pairs, subject.metric, work, graph)
        return method.score_edges(model, pairs, subject.metric, work)


@dataclass(frozen=True)
class Found:
    """A circuit with its recipe, the scores of all edges, and the settings that find it.

    `reasons` are sentences: why those settings, and why no more edges went.
    """

    circuit: Circuit
    scores: EdgeScores
    settings: Settings
    reasons: tuple[str, ...] = ()


def find(subject: Subject, settings: Settings, stage: Stage = lambda title: silent) -> Found:
    """Return what the settings find.

    Raises:
        MethodError: the method cannot work here, or the selection leaves nothing connected.
    """
    return select(subject, discover(subject, settings, stage("Scoring edges")), settings, stage)


def select(
    subject: Subject,
    scores: EdgeScores,
    settings: Settings,
    stage: Stage = lambda title: silent,
    bench: Bench | None = None,
) -> Found:
    """Return what the settings make of scores: selected, without dead ends, trimmed if asked for.

    `bench` keeps the runs of trimming, for who looks at the circuit afterwards.

    Raises:
        MethodError: the selection leaves nothing connected, or too few pairs to trim on.
    """
    selected = choose_circuit(subject, scores, settings, stage)
    circuit = connected(selected)
    reasons: tuple[str, ...] = ()
    if settings.minimal:
        less = trimmed(subject, circuit, settings, stage, bench)
        circuit, reasons = less.circuit, (_trimming_sentence(circuit, less),)
    circuit = with_provenance(circuit, subject, settings, n_selected=selected.n_edges)
    return Found(circuit, scores, settings, reasons)


def find_circuit(
    subject: Subject, settings: Settings, stage: Stage = lambda title: silent
) -> tuple[Circuit, EdgeScores]:
    """Return the circuit that the settings find, with its recipe, and the scores of all edges.

    Raises:
        MethodError: as `find`.
    """
    found = find(subject, settings, stage)
    return found.circuit, found.scores


def _trimming_sentence(before: Circuit, trimmed: Trimmed) -> str:
    """Return how many edges went, and why no more did."""
    n, left = before.n_edges, trimmed.circuit.n_edges
    if n == left:
        return f"No edge of {n} could go: {trimmed.reason}."
    return f"{n - left} of {n} edges went, {left} are left: {trimmed.reason}."


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


def best_edges(scores: EdgeScores, n_edges: int, settings: Settings) -> Circuit:
    """Return the `n_edges` best edges, dead ends included, as the settings select."""
    return select_best(scores, n_edges, settings.selection, signed=settings.ranks_signed)


def faithfulness_by_size(
    subject: Subject,
    scores: EdgeScores,
    sizes: Sequence[int],
    settings: Settings,
    stage: Stage = lambda title: silent,
) -> list[float]:
    """Return f of the best edges of each size on the discovery pairs, without dead ends."""
    return measure_faithfulness_points(
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
    points = faithfulness_by_size(subject, scores, sizes, settings, stage)
    for size, faithfulness in zip(sizes, points, strict=True):
        if faithfulness >= AIM:
            return size
    return limit
