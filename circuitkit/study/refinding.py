"""Finding a circuit again as it was found: from its file alone, or on other pairs."""

from dataclasses import replace

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.graph import EdgeScores
from circuitkit.circuits.recipe import Recipe
from circuitkit.circuits.selection import prune_dead_ends
from circuitkit.discovery.at_columns import score_at_columns
from circuitkit.discovery.method import Method
from circuitkit.errors import CircuitFileError, MethodError
from circuitkit.interventions.work import Work
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.study.recipe import request_of, require_no_code, settings_of
from circuitkit.study.search import choose, connected, discover
from circuitkit.study.settings import Settings, Stage, method_of, work_of
from circuitkit.study.subject import Subject, subject_of
from circuitkit.study.trimming import trimmed
from circuitkit.validation.case import Find
from circuitkit.work.progress import silent

FIND_LIMIT = 3.0  # seconds that finding a circuit again may take, of an estimate
TRIM_SECONDS = 60.0  # about what dropping idle edges takes in a small model
THRESHOLD = "selection.threshold"


def find_again(
    circuit: Circuit,
    *,
    task: str = "",
    allow_task_code: bool = False,
    loaded: SubjectModel | None = None,
    settings: Settings | None = None,
    stage: Stage = lambda title: silent,
) -> Circuit:
    """Return the circuit that its own recipe finds: the same one, on the same weights.

    `loaded` is the model where the caller has it already; else it is loaded by the name that the
    circuit gives. A task that is a file of Python is run only if `task` names it, or if that is
    allowed and it still is the file that was recorded. Of `settings` only what does not change the
    result counts, as the memory.

    Raises:
        CircuitFileError: the recipe leaves out how it was found, or other pairs are drawn now.
        TaskError, PromptError, ModelError, MethodError: as drawing, loading and finding raise them.
    """
    recipe = _known_recipe(circuit)
    request = request_of(recipe, circuit.provenance.model)
    if task:
        request = replace(request, task=task, task_digest="")
    else:
        require_no_code(recipe.pairs, "circuit", allowed=allow_task_code)
    subject = subject_of(request, loaded)
    got = subject.splits.discovery.digest
    if recipe.pairs.digest not in ("", got):
        raise CircuitFileError(
            f"circuit: must be found again on the pairs of its recipe, {recipe.pairs.digest}, got "
            f"{got}. The task, the prompt file or the tokenizer has changed since. Restore it, or "
            "find the circuit anew with `circuitkit discover`."
        )
    own = settings_of(recipe, settings or Settings())
    scores = discover(subject, own, stage("Scoring edges"))
    found = connected(choose(scores, own, lambda: recipe.selection.n_selected))
    return trimmed(subject, found, own, stage).circuit if own.minimal else found


def _scored(
    method: Method, subject: Subject, pairs: PromptPairs, work: Work, circuit: Circuit
) -> EdgeScores:
    """Return the scores of the edges, at the circuit's own columns if it has any."""
    graph = circuit.graph
    if isinstance(graph, ColumnGraph):
        return score_at_columns(method, subject.model, pairs, subject.metric, work, graph)
    return method.score_edges(subject.model, pairs, subject.metric, work)


def _known_recipe(circuit: Circuit) -> Recipe:
    """Return how a circuit was found.

    Raises:
        CircuitFileError: its recipe leaves something out.
    """
    recipe = circuit.provenance.recipe
    if not recipe.is_known:
        raise CircuitFileError(
            "circuit: its recipe must say how it was found, got none of "
            f"{', '.join(recipe.unknown) or 'it'}. Another circuit could be found than this one. "
            "Write it again with `circuitkit discover`."
        )
    return recipe


def finder(
    subject: Subject, circuit: Circuit, settings: Settings, *, limit: float = FIND_LIMIT
) -> tuple[Find | None, str]:
    """Return the function that finds a circuit again on other pairs, or None and why not.

    It keeps the size: as many edges are selected, before dead ends are removed. `limit` is in
    seconds; dropping idle edges counts as TRIM_SECONDS.
    """
    recipe = circuit.provenance.recipe
    try:
        own = settings_of(recipe, settings)
        method = method_of(own)
        method.require_usable(subject.model, subject.metric, work_of(subject, own))
    except MethodError:
        return None, f"its method {recipe.method!r} is unknown or cannot work here"
    if THRESHOLD in recipe.unknown:
        return None, "its file does not say the threshold of its selection"
    estimate = method.estimate(subject.model, subject.splits.discovery)
    if estimate is not None and estimate.seconds > limit:
        return None, f"finding it once more takes too long ({estimate})"
    if own.minimal and limit < TRIM_SECONDS:
        return None, "it was made minimal, and doing that again many times takes too long"
    n_selected = recipe.selection.n_selected or circuit.n_edges
    if own.threshold > 0:  # as many edges, whatever they score on other pairs
        own = replace(own, threshold=0.0, n_edges=n_selected)

    def find(pairs: PromptPairs, seed: int) -> Circuit:
        work = work_of(subject, replace(own, seed=seed, checkpoint=None))
        scores = _scored(method, subject, pairs, work, circuit)
        found = prune_dead_ends(choose(scores, own, lambda: n_selected))
        if not own.minimal:
            return found
        again = replace(subject, splits=replace(subject.splits, discovery=pairs))
        return trimmed(again, found, own).circuit

    return find, ""
