"""How far the circuit's predictions are from the model's, over the whole vocabulary.

    kl         mean over pairs of  KL(M to C) = sum over vocab of  p_M log(p_M / p_C),  in nats
    agreement  share of pairs on which the most likely token of C is that of M

The metric looks at the answers alone: a circuit can keep it and say something else.
"""

from circuitkit.circuits.circuit import Circuit
from circuitkit.glossary import CRITERIA
from circuitkit.metrics import Agreement, KLDivergence
from circuitkit.statistics.bootstrap import mean_estimate
from circuitkit.statistics.shares import share_of
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.questions import ENOUGH
from circuitkit.validation.verdict import Finding


class KL(Criterion):
    """Divergence of the circuit's next-token distribution from the model's."""

    name = "kl"
    question = ENOUGH
    measures = CRITERIA["kl"]
    summary = "KL(M to C) summed over the vocabulary, mean over pairs, in nats"

    def measure(self, case: Case) -> Finding:
        circuits = [case.circuit, Circuit.empty(case.model.graph)]
        circuit, empty = case.values(circuits, metric=KLDivergence())
        clusters = case.validation.clusters
        theirs = mean_estimate(empty, clusters=clusters)
        own = mean_estimate(circuit, clusters=clusters)
        return Finding(own, f"of the empty circuit: {theirs}")


class TopAnswerAgreement(Criterion):
    """How often the circuit's most likely token is the model's."""

    name = "agreement"
    question = ENOUGH
    measures = CRITERIA["agreement"]
    summary = "share of pairs on which circuit and model have the same most likely token"

    def measure(self, case: Case) -> Finding:
        circuits = [case.circuit, Circuit.empty(case.model.graph)]
        circuit, empty = case.values(circuits, metric=Agreement())
        return Finding(
            share_of(circuit, case.validation.clusters), f"of the empty circuit: {empty.mean():.3g}"
        )
