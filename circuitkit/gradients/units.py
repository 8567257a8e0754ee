"""How much each unit of an MLP does, to first order: neurons, or features of a dictionary.

    score[u] = mean over pairs of  sum over positions of
               (clean - ablated act_u)  direction_u . d gain / d (what the MLP writes)

The gradient is taken on the clean run (attribution patching, as for nodes; Marks et al. 2025,
arXiv:2403.19647, section 3.1, with one step). All units of an MLP together, with what its
dictionary leaves out, have the score of the MLP.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.graph import NodeScores
from circuitkit.gradients.nodes import NOTHING, differentiate_nodes
from circuitkit.gradients.terms import mean_over_pairs, require_gradient
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel, hook_points
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs


def score_units(model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work) -> NodeScores:
    """Return the score of every unit, error and rest of a model that is taken apart.

    Positive where it supports the behaviour; in the metric's unit.

    Raises:
        MethodError: the metric has no gradient.
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one pair fits.
        ActivationError: an activation is NaN or infinite.
    """
    require_gradient(metric)
    columns = Columns(("all",), pairs.mask.unsqueeze(0))
    [values] = mean_over_pairs(model, pairs, metric, columns, work, _batch_scores)
    names = tuple(name for units in model.graph.units for name in units.names)
    return NodeScores(names, values)


def _batch_scores(runs: PairRuns, masks: Tensor) -> Float[Tensor, "column part"]:
    model = runs.model
    _, [gradients] = differentiate_nodes(runs, [NOTHING])
    change = runs.clean_activations.minus(runs.ablated)
    errors, found = iter(change.errors), []
    for spec, acts in zip(model.graph.units, change.units, strict=True):
        units = model.layers[spec.layer].units
        assert units is not None
        grad = gradients.at[hook_points.mlp_out(spec.layer)] * masks[0].unsqueeze(-1)
        of_units = torch.einsum("bpu,bpu->u", acts, grad @ units.directions.T)
        of_error = [(next(errors) * grad).sum().view(1)] if spec.has_error else []
        of_all = (change.mlp[spec.layer] * grad).sum().view(1)
        rest = of_all - of_units.sum() - sum(of_error)
        found += [of_units, *of_error, rest]
    return torch.cat(found).double().cpu().unsqueeze(0)
