"""Relevance patching (RelP): EAP whose backward pass follows layer-wise relevance propagation.

    score[s, r] = mean over pairs of  sum over positions of
                  (what s writes on the clean run - when ablated) . coefficient of (input of r)

The coefficients are what EAP's gradients of the gain become on the clean run when norms keep their
scale, activations act as a constant factor and gates pass on half to each side
(model/relevance.py). A positive score means the edge supports the behaviour. With zero ablation and
a model without biases, scores are relevances, which are conserved from layer to layer.

`attention` says what happens at attention patterns:

    gradient  ordinary gradients through the softmax, as in the IOI example of the authors' code
    frozen    patterns are constants (AH-rule, which the authors' code offers too): relevance is
              conserved, but every edge into a query or key scores zero

It misleads where an activation is in another regime on the ablated side, since f(x) / x is taken on
the clean run, and where a change acts through a norm's scale. Cost: two forward passes and one
backward, and a few passes of random inputs through each MLP alone, to know its kind. Jafari
et al. 2025 (arXiv:2508.21258); their code, github.com/FarnoushRJ/RelP, scores nodes.
"""

from dataclasses import dataclass

from circuitkit.discovery import eap
from circuitkit.discovery.method import GradientMethod, require_reading_together
from circuitkit.errors import MethodError
from circuitkit.glossary import METHODS
from circuitkit.gradients.terms import Terms
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.relevance import linearised

ATTENTION = ("gradient", "frozen")


@dataclass(frozen=True)
class RelP(GradientMethod):
    """Relevance patching."""

    name = "relp"
    summary = METHODS["relp"]
    is_flat_at_kl = True
    attention: str = "gradient"

    def __post_init__(self) -> None:
        if self.attention not in ATTENTION:
            raise MethodError(
                f"relp: attention must be one of {', '.join(ATTENTION)}, got {self.attention!r}. "
                "It says whether queries and keys get gradients. Choose one."
            )

    def terms(self) -> Terms:
        return eap.terms

    def prepared(self, model: SubjectModel, metric: Metric, work: Work) -> SubjectModel:
        """Return the model whose gradients are the coefficients, if all is usable."""
        require_reading_together(model, self.name)
        usable = super().prepared(model, metric, work)
        return linearised(usable, holds_patterns=self.attention == "frozen")
