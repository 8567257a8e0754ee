"""Edge attribution patching (EAP): an estimate for every edge from three passes over the model.

    score[s, r] = mean over pairs of  sum over positions of
                  (what s writes on the clean run - when ablated) . d gain / d (input of r)

gain is the metric with the sign that makes more better; the gradient is taken on the clean run.
It estimates to first order what the gain loses when r alone reads s's ablated output, so an edge
that supports the behaviour scores above zero. Exact where the gain is linear in r's input;
it misleads where a softmax or a norm saturates. Cost: two forward passes and one backward.
Syed et al. 2023 (arXiv:2310.10348), equation 2; their sign is the opposite.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from circuitkit.circuits.graph import EdgeScores
from circuitkit.discovery.method import GradientMethod
from circuitkit.glossary import METHODS
from circuitkit.gradients.terms import Term, Terms, score_edges_by_terms
from circuitkit.interventions.ablation import Ablation
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.work import RESAMPLE, Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.progress import Progress, silent


def terms(runs: PairRuns) -> Iterator[Term]:
    """Yield the clean run."""
    yield Term(1.0, runs.clean, side="clean")


def score_edges(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    *,
    ablation: Ablation = RESAMPLE,
    batch_size: int | None = None,
    memory: int | None = None,
    progress: Progress = silent,
) -> EdgeScores:
    """Return the EAP score of every edge of `model.graph`, in the metric's unit.

    `batch_size` is in pairs (None: what fits into `memory` bytes); scores do not depend on it.

    Raises:
        MethodError: the metric has no gradient.
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one pair fits.
    """
    work = Work(ablation, batch_size, memory, progress)
    return score_edges_by_terms(model, pairs, metric, terms, work)


@dataclass(frozen=True)
class EAP(GradientMethod):
    """Edge attribution patching."""

    name = "eap"
    summary = METHODS["eap"]
    is_flat_at_kl = True

    def terms(self) -> Terms:
        return terms
