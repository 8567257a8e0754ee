"""The contract of every discovery method: from a model, its pairs and a metric to edge scores.

    score[s, r] > 0    the edge s -> r supports the behaviour (methods whose scores are magnitudes
                       say so by `is_signed = False`, and give no score below zero)

A method is a frozen dataclass of its settings. What it needs of a model, metric or ablation is
checked before any long work; scoring changes neither the model nor the pairs; scores do not depend
on batches, on the order of the pairs, nor on anything random but `Work.seed`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import LOGITS, ComponentGraph, EdgeScores, NodeScores, component_of
from circuitkit.discovery.time_estimate import TimeEstimate
from circuitkit.errors import MethodError
from circuitkit.gradients.terms import (
    Terms,
    require_gradient,
    score_columns_by_terms,
    score_edges_by_terms,
)
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.executors.items import Compute


class Method(ABC):
    """Base of all discovery methods. A subclass is a frozen dataclass of settings."""

    name: ClassVar[str]
    summary: ClassVar[str]
    is_signed: ClassVar[bool] = True
    has_columns: ClassVar[bool] = False  # whether edges can be scored by position or role
    columns_add_up: ClassVar[bool] = True  # whether such scores add up to those of whole edges
    uses_ablation: ClassVar[bool] = True  # whether scores depend on `Work.ablation`
    is_resumable: ClassVar[bool] = False  # whether `Work.checkpoint` is used
    is_divisible: ClassVar[bool] = False  # whether `Work.executor` is used

    @property
    def ranks_signed(self) -> bool:
        """Whether edges rank by signed score by default, and not by its magnitude."""
        return False

    @abstractmethod
    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        """Refuse what this method cannot work on, before anything is computed.

        Raises:
            MethodError: naming what does not fit, and what does.
        """

    @abstractmethod
    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        """Return the score of every edge of `model.graph`, in the metric's unit unless said.

        Raises:
            MethodError: as `require_usable`.
            PromptError: the metric needs labels that the pairs lack.
            MemoryBudgetError: not even one pair fits.
        """

    def score_columns(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        columns: Columns,
        work: Work,
    ) -> tuple[EdgeScores, ...]:
        """Return the scores for each column of positions: what an edge carries there.

        Raises:
            MethodError: the method cannot tell positions apart.
        """
        raise MethodError(
            f"method {self.name!r}: must be able to score by position, got one that scores whole "
            "edges only. Use a method such as eap, eap-ig, relp or exact for circuits by position "
            "or role."
        )

    def computing(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> Compute:
        """Return what computes the items that this method's work divides into.

        Raises:
            MethodError: it does not divide.
        """
        raise MethodError(
            f"method {self.name!r}: must be one whose work divides, got one that is done in one "
            "piece. Workers would have nothing to do. Use exact, exact-nodes or exact-joint, or "
            "leave --workers out."
        )

    def estimate(self, model: SubjectModel, pairs: PromptPairs) -> TimeEstimate | None:
        """Return how long scoring takes at most, measured on a few pairs; None: not long."""
        return None

    def own_circuit(self, scores: EdgeScores) -> Circuit | None:
        """Return the circuit that the method itself settles on; None where it only ranks."""
        return None


class GradientMethod(Method):
    """Base of the methods that score all edges from gradients of a few runs, given by `terms`."""

    has_columns = True
    is_flat_at_kl: ClassVar[bool] = False  # gradients are taken at the clean run alone

    @abstractmethod
    def terms(self) -> Terms:
        """Return the runs to differentiate."""

    def prepared(self, model: SubjectModel, metric: Metric, work: Work) -> SubjectModel:
        """Return the model to differentiate, if all is usable.

        Raises:
            MethodError: naming what does not fit, and what does.
        """
        require_gradient(metric)
        if self.is_flat_at_kl:
            require_slope(metric, self.name)
        return model

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        self.prepared(model, metric, work)

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        usable = self.prepared(model, metric, work)
        return score_edges_by_terms(usable, pairs, metric, self.terms(), work)

    def score_columns(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        columns: Columns,
        work: Work,
    ) -> tuple[EdgeScores, ...]:
        usable = self.prepared(model, metric, work)
        return score_columns_by_terms(usable, pairs, metric, self.terms(), columns, work)


def require_whole_mlps(model: SubjectModel, method: str) -> None:
    """Refuse a model whose MLPs are taken apart, by a method that knows no units.

    Raises:
        MethodError: one is.
    """
    if model.graph.units:
        raise MethodError(
            f"method {method!r}: MLPs must be whole, got {model.graph.units[0]}. It scores no "
            "single units. Use eap, eap-ig, relp, exact, exact-joint, acdc or edge-pruning, or "
            "leave --units out."
        )


def require_reading_together(model: SubjectModel, method: str) -> None:
    """Refuse units that read alone, by a method whose rules do not reach what each reads.

    Raises:
        MethodError: an MLP is taken apart into such.
    """
    alone = [units for units in model.graph.units if units.read_alone]
    if alone:
        raise MethodError(
            f"method {method!r}: units must read together, as features of SAEs, got {alone[0]}. "
            "What each reads follows by other gradients. Use eap, eap-ig or exact."
        )


def require_slope(metric: Metric, method: str) -> None:
    """Refuse a metric whose gradient on the clean run is zero whatever the model does there.

    Raises:
        MethodError: it is the distance to the clean run.
    """
    if metric.needs_clean_logits:
        raise MethodError(
            f"method {method!r}: the metric must have a slope on the clean run, got "
            f"{metric.name!r}, which is smallest there. Every score would be zero. Use eap-ig, or "
            "another metric."
        )


def edges_between(graph: ComponentGraph, nodes: NodeScores) -> EdgeScores:
    """Return edge scores whose top edges are those between the top nodes.

    An edge scores as the smaller of its two ends in magnitude, so that it is in as soon as both
    are. A receiver that has a score of its own (`a1.h0<q>`) stands beside its component's, and the
    logits always are in.
    """
    known = {name: abs(score) for name, score in nodes.by_name().items()}

    def of_receiver(name: str) -> float:
        if name == LOGITS:
            return float("inf")
        component = known.get(component_of(name), 0.0)
        return min(component, known.get(name, component))

    senders = torch.tensor([known.get(name, 0.0) for name in graph.senders], dtype=torch.float64)
    receivers = torch.tensor([of_receiver(name) for name in graph.receivers], dtype=torch.float64)
    values = torch.minimum(senders[:, None], receivers[None])
    return EdgeScores(graph, torch.where(graph.edge_mask, values, 0.0))
