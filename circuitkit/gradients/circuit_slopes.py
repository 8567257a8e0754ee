"""What each edge of a circuit does in that circuit, to first order, by one gradient.

    slope[s, r] = d m(C) / d w[s, r]  at w = 1 on the edges of C and 0 elsewhere
                = sum over places of  (a_s - ablated a_s) . d m / d (input of r)   in the run of C

To first order, m(C) - m(C without s->r). Edge attribution patching asks the same of the whole model
(Syed et al. 2023, arXiv:2310.10348, equation 2); here the run is the circuit's own, so that it is
seen what else is missing. An edge that saturates a softmax has no slope, however much it does.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.circuit import Circuit
from circuitkit.gradients.soft_circuit import SoftCircuits, pairs_that_fit
from circuitkit.gradients.terms import require_gradient
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs


def edge_slopes(
    model: SubjectModel,
    pairs: PromptPairs,
    circuits: Sequence[Circuit],
    metric: Metric,
    work: Work,
) -> Float[Tensor, "circuit edge"]:
    """Return the slope of each edge of the graph, mean over pairs, in the metric's unit.

    Positive where more of the edge is more of the metric. Edges are in the order of the graph;
    those outside a circuit have slopes too: what putting them in would do.

    Raises:
        MethodError: the metric has no gradient.
        PromptError: the metric needs labels that the pairs lack, or the ablation does not fit them.
        MemoryBudgetError: not even one pair fits.
    """
    require_gradient(metric)
    metric.check(pairs.labels)
    index = tuple(model.graph.edge_index.T)
    total = torch.zeros(len(circuits), model.graph.n_edges, dtype=torch.float64)
    for part in pairs.batches(pairs_that_fit(model, pairs, work.memory)):
        runs = PairRuns(model, part, work.ablation, metric)
        soft = SoftCircuits.of(runs)
        slopes = [_slopes(soft, circuit.edge_mask, runs)[index] for circuit in circuits]
        total += torch.stack(slopes).double().cpu()
    return total / len(pairs)


def _slopes(soft: SoftCircuits, mask: Tensor, runs: PairRuns) -> Float[Tensor, "sender receiver"]:
    """Return the slopes of one circuit, summed over the pairs of a batch."""
    with torch.enable_grad():
        weights = mask.to(soft.ablated).requires_grad_()
        logits = soft.logits(weights.unsqueeze(0))[0]
        values = runs.metric.values(logits, runs.labels.to(logits.device))
        [slopes] = torch.autograd.grad(values.double().sum(), weights)
    return slopes
