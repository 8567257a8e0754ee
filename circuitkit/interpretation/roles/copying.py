"""What a component writes straight into the logits, and whether it copies what it attends to.

    L_c      = logits(x) - logits(x - write of c),   x the residual stream at the labelled position
    copying  = sum over sources of A[end, source] L_c[token there]  -  mean over the prompt's tokens
    rank     = share of the other plausible answers that L_c raises less than the one that the head
               looks at most

L_c holds the final norm, with x's own scale in either term. Copying is above zero where a head
raises what it looks at more than what it does not, below where it suppresses it. It is not enough:
a head that rests on "to" and lowers every name "copies" by it, and so may a smooth wave over the
vocabulary. The rank is 1 where nothing plausible is raised more, 1/2 by chance; plausible are the
right and wrong answers of all pairs. Its nulls are writes of other prompts under this attention,
as good where the write is the same everywhere, and writes of other heads. Name movers and negative
name movers (Wang et al. 2022, arXiv:2211.00593, section 3.1), copy suppression (McDougall
et al. 2023, arXiv:2310.04625). Unit: logits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
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

N_ELSEWHERE = 8  # other pairs' writes that each pair's attention is held against


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
    """Return what is written where the answers of the clean prompts begin.

    Raises:
        ActivationError: an activation or a logit is NaN or infinite.
        MemoryBudgetError: not even one pair fits.
    """
    pairs = pairs.prompts_alone()
    size = pairs_per_batch(model, pairs, memory)
    final, writes = [], []
    for start in range(0, len(pairs), size):
        part = pairs.select(range(start, min(start + size, len(pairs))))
        with counted_from(start):
            run = RecordedRun(model, whole_run(model, part.clean_batch), [FINAL_NORM_IN])
        at_end = partial(at_label, labelled=run.run.context.labelled)
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


@dataclass(frozen=True)
class Raised:
    """How high what a head looks at stands in what it writes, for the pairs where it can be asked.

    `own` and `elsewhere` are ranks from 0 to 1: by the pair's own write, and by those of other
    pairs. `looked` is the mean attention to plausible answers, `n_answers` how many of them differ.
    """

    own: Values
    elsewhere: Values
    looked: float
    n_answers: int


def plausible_answers(pairs: PromptPairs) -> Int[Tensor, " answer"]:
    """Return the ids of all right and wrong answers of the pairs, each once."""
    ids = torch.cat([pairs.labels.answers.flatten(), pairs.labels.wrong_answers.flatten()])
    found: Tensor = ids[ids >= 0].unique()
    return found


def raised(
    logits: Float[Tensor, "pair vocab"],
    attention: Float[Tensor, "pair source"],
    pairs: PromptPairs,
    *,
    seed: int = 0,
) -> Raised | None:
    """Return how high the plausible answer that a head looks at most stands in direct logits.

    None where fewer than half of the pairs hold a plausible answer, or there is but one.
    """
    ids = plausible_answers(pairs)
    mass = torch.zeros(len(pairs), int(max(pairs.clean.max(), ids.max())) + 1, dtype=torch.float64)
    mass.scatter_add_(1, pairs.clean, attention * pairs.mask)
    of_answers = mass[:, ids]
    held = of_answers.sum(1) > 0
    if len(ids) < 2 or 2 * int(held.sum()) < len(pairs):
        return None
    at, own = of_answers[held].argmax(1), logits[held][:, ids]
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(own), generator=generator) for _ in range(N_ELSEWHERE)]
    return Raised(
        own=_ranks(own, at).numpy(),
        elsewhere=torch.stack([_ranks(own[order], at) for order in orders]).mean(0).numpy(),
        looked=float(of_answers.sum(1).mean()),
        n_answers=len(ids),
    )


def median_rank(
    writes: Iterable[Float[Tensor, "pair vocab"]],
    attention: Float[Tensor, "pair source"],
    pairs: PromptPairs,
) -> float:
    """Return the median over other heads' writes of the mean rank under one head's attention."""
    found = [each for logits in writes if (each := raised(logits, attention, pairs)) is not None]
    return float(np.median([each.own.mean() for each in found])) if found else 0.5


def _ranks(
    logits: Float[Tensor, "pair answer"], at: Int[Tensor, " pair"]
) -> Float[Tensor, " pair"]:
    """Return the share of the other answers raised less than one of each row, ties half."""
    own = logits.gather(1, at[:, None])
    ties = (logits == own).double().sum(1) - 1  # itself
    ranks: Tensor = ((logits < own).double().sum(1) + ties / 2) / (logits.shape[1] - 1)
    return ranks
