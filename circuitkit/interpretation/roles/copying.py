"""What a component writes straight into the logits, and whether it copies what it attends to.

    L_c      = logits(x) - logits(x - write of c),   x the residual stream at the labelled position
    copying  = sum over sources of A[end, source] L_c[token there]  -  mean over the prompt's tokens

L_c holds the final norm, with x's own scale in either term. Copying is above zero where a head
raises what it looks at more than what it does not, below where it suppresses it: name movers and
negative name movers (Wang et al. 2022, arXiv:2211.00593, section 3.1), copy suppression (McDougall
et al. 2023, arXiv:2310.04625). Unit: logits.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.interventions.budget import pairs_per_batch
from circuitkit.interventions.recorded import RecordedRun
from circuitkit.model import SubjectModel
from circuitkit.model.forward import at_label
from circuitkit.model.hook_points import FINAL_NORM_IN
from circuitkit.model.recording import counted_from, sender_outputs
from circuitkit.model.runs import whole_run
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Values


@dataclass(frozen=True)
class EndWrites:
    """What every component writes at the labelled position of clean prompts, and their sum."""

    model: SubjectModel
    final: Float[Tensor, "pair d_model"]
    writes: dict[str, Float[Tensor, "pair d_model"]]

    def direct_logits(self, component: str) -> Float[Tensor, "pair vocab"]:
        """Return what a component adds to the logits directly, with the final norm."""
        with torch.no_grad():
            without = self.model.unembed(self.final - self.writes[component])
            return (self.model.unembed(self.final) - without).double().cpu()


def end_writes(model: SubjectModel, pairs: PromptPairs, memory: int | None = None) -> EndWrites:
    """Return what is written at the labelled positions of the clean prompts.

    Raises:
        ActivationError: an activation or a logit is NaN or infinite.
        MemoryBudgetError: not even one pair fits.
    """
    size = pairs_per_batch(model, pairs, memory)
    final, writes = [], []
    for start in range(0, len(pairs), size):
        part = pairs.select(range(start, min(start + size, len(pairs))))
        with counted_from(start):
            run = RecordedRun(model, whole_run(model, part.clean_batch), [FINAL_NORM_IN])
        at_end = partial(at_label, labelled=run.run.context.label_pos)
        writes.append(sender_outputs(model, run.activations.map(at_end)))
        final.append(run.kept[FINAL_NORM_IN])
    by_sender = zip(model.graph.senders, torch.cat(writes, 1), strict=True)
    return EndWrites(model, torch.cat(final), dict(by_sender))


def copying(
    logits: Float[Tensor, "pair vocab"],
    attention: Float[Tensor, "pair source"],
    pairs: PromptPairs,
) -> Values:
    """Return each pair's copying score, given a head's direct logits and attention at the end."""
    raised = logits.gather(1, pairs.clean.cpu())
    real = pairs.mask.double()
    attended = (attention * raised * real).sum(1)
    total = (attention * real).sum(1)
    rest = (raised * real).sum(1) / real.sum(1)
    return (attended - total * rest).numpy()
