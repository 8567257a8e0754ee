"""Scores of edges at columns, by every method that can tell positions apart."""

import torch

from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.graph import EdgeScores
from circuitkit.discovery.method import Method
from circuitkit.interventions.edge_columns import columns_on
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs


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
