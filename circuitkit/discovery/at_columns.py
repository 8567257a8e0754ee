"""Scores of edges at columns, by every method that can tell positions apart."""

import torch

from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.graph import EdgeScores
from circuitkit.discovery.method import Method
from circuitkit.errors import MethodError
from circuitkit.interventions.edge_columns import columns_on
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs


def require_columns(method: Method, columns: str) -> None:
    """Refuse a method that cannot tell positions apart, where edges are to live at columns.

    Raises:
        MethodError: it cannot.
    """
    if columns and not method.has_columns:
        raise MethodError(
            f"--edges-at {columns}: must go with a method that can tell positions apart, got "
            f"{method.name!r}, which scores whole edges. Use eap, eap-ig, relp or exact."
        )


def score_at_columns(
    method: Method,
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    work: Work,
    graph: ColumnGraph,
) -> EdgeScores:
    """Return the score of every edge at every column of `graph`, in the metric's unit.

    Raises:
        MethodError: the method cannot tell positions apart, or cannot work on this.
        PromptError: the pairs have other columns, or lack labels that the metric needs.
        MemoryBudgetError: not even one pair fits.
    """
    parts = method.score_columns(model, pairs, metric, columns_on(graph, pairs), work)
    values = torch.stack([part.values for part in parts])
    return EdgeScores(graph, torch.where(graph.edge_mask, values, 0.0))
