"""The discovery methods by name, all called alike: from a model and its pairs to edge scores."""

from collections.abc import Callable

from circuitkit.discovery import eap, eap_ig
from circuitkit.errors import MethodError
from circuitkit.graph import EdgeScores
from circuitkit.interventions.attribution import Terms, Work, score_columns_by_terms
from circuitkit.interventions.columns import Columns
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts import PromptPairs

DEFAULT = "eap"

# Each gives the runs to differentiate, from a number of steps (which some do not need).
METHODS: dict[str, Callable[[int], Terms]] = {
    DEFAULT: lambda steps: eap.terms,
    "eap-ig": lambda steps: eap_ig.Path("inputs", steps).terms(),
    "eap-ig-activations": lambda steps: eap_ig.Path("activations", steps).terms(),
    "clean-corrupted": lambda steps: eap_ig.Path("clean-corrupted").terms(),
}


def method_named(name: str, steps: int = eap_ig.DEFAULT_STEPS) -> Terms:
    """Return what the method of this name differentiates.

    Raises:
        MethodError: there is none, or it cannot use the number of steps.
    """
    if name not in METHODS:
        raise MethodError(
            f"method {name!r}: must be one of {', '.join(METHODS)}. It says how edges are scored. "
            "Choose one."
        )
    return METHODS[name](steps)


def score_edges_by_column(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    columns: Columns,
    *,
    terms: Terms | None = None,
    work: Work | None = None,
) -> dict[str, EdgeScores]:
    """Return the scores of all edges for each column of positions or roles: what they carry there.

    `terms` are those of `method_named` (default: EAP). Columns that hold every real token once
    between them add up to the score of the whole edge.

    Raises:
        MethodError, PromptError, MemoryBudgetError: as `score_edges`.
    """
    scores = score_columns_by_terms(
        model, pairs, metric, terms or method_named(DEFAULT), columns, work or Work()
    )
    return dict(zip(columns.names, scores, strict=True))
