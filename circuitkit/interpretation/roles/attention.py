"""Where a head looks: attention to the places that a role names, against chance.

    score(role) = mean over pairs, of means over destinations, of attention to the role's sources
    null        = the same attention to as many sources drawn at random from those in reach
    z           = (score - E[null]) / sd[null],  p = P(Z > z)

Both moments of the null are exact: of m sources in reach, t drawn without replacement from a row of
attention a have mean t / m and variance t (1 - t / m) var(a), with var over m - 1. Pairs are
independent, so their mean is close to normal. Unit: attention, from 0 to 1.

previous-token    the token before                            Elhage et al. 2021
duplicate-token   earlier places of the same token            Wang et al. 2022 (arXiv:2211.00593)
induction         what followed earlier places of this token  Olsson et al. 2022 (arXiv:2209.11895)
answer, wrong-answer, at-<role>                                from where the answer is read only
positional        the place it looks at most, when the prompt's tokens are shuffled among places
first-token, self

What depends on tokens (duplicate-token, induction, answer, wrong-answer) may stand at one place in
all prompts, where a positional head looks at it too. `unmoved` is the attention to the same places
when the tokens are shuffled: a head that looks at tokens looks away, a positional one does not.

Destinations are those at which the head acts: the token role where noising it matters most. Those
without a source are left out; a role that fewer than half of the pairs have is not tried. In reach
is what stands at or before the destination: of a model that looks ahead as well, only its looking
back is asked about, against chance among those places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import norm
from torch import Tensor

from circuitkit.prompts.columns import own_places
from circuitkit.prompts.pairs import END, PromptPairs
from circuitkit.statistics.bootstrap import Values

PREVIOUS, DUPLICATE, INDUCTION = "previous-token", "duplicate-token", "induction"
ANSWER, WRONG_ANSWER, AT = "answer", "wrong-answer", "at-"
POSITIONAL, FIRST, SELF = "positional", "first-token", "self"
OF_TOKENS = (DUPLICATE, INDUCTION, ANSWER, WRONG_ANSWER)
COMMON = 0.5  # share of the pairs that must have a role's sources

Pattern = Float[Tensor, "pair head destination source"]


@dataclass(frozen=True)
class RoleAttention:
    """How much of a head's attention goes where a role says: of each pair, and what chance gives.

    `pairs` are those that have such a place. `mean` and `deviation` are the null's, of the mean;
    `unmoved` is the same with the tokens shuffled, for roles that depend on tokens.
    """

    role: str
    per_pair: Values
    mean: float
    deviation: float
    unmoved: Values | None = None

    @property
    def score(self) -> float:
        """The mean over pairs."""
        return float(self.per_pair.mean())

    @property
    def p(self) -> float:
        """How often chance does as well; 1 where chance cannot differ."""
        if self.deviation == 0:
            return 1.0
        return float(norm.sf((self.score - self.mean) / self.deviation))


def attention_to_roles(
    patterns: Float[Tensor, "pair destination source"],
    shuffled: Float[Tensor, "pair destination source"],
    pairs: PromptPairs,
    destinations: Bool[Tensor, "pair pos"],
    sources: Mapping[str, Bool[Tensor, "pair destination source"]],
) -> list[RoleAttention]:
    """Return one head's attention to every role that the pairs have, from some destinations.

    `shuffled` is its attention on `shuffled_prompts(pairs)`, `sources` are `role_sources(pairs)`.
    """
    reach, found = _in_reach(pairs), []
    for role, mask in sources.items():
        at = mask & destinations.unsqueeze(2)
        attention = _attention(role, patterns, at, reach)
        if attention is not None and role in OF_TOKENS:
            unmoved = _attention(role, shuffled, at, reach)
            assert unmoved is not None, "it depends on the places alone"
            attention = replace(attention, unmoved=unmoved.per_pair)
        found.append(attention)
    looked = _favourite(patterns, pairs) & destinations.unsqueeze(2)
    found.append(_attention(POSITIONAL, shuffled, looked, reach))
    return [attention for attention in found if attention is not None]


def role_sources(pairs: PromptPairs) -> Mapping[str, Bool[Tensor, "pair destination source"]]:
    """Return the sources that each role names, for every destination."""
    tokens, real = pairs.clean, pairs.mask
    n_pos = tokens.shape[1]
    place = torch.arange(n_pos)
    reach = _in_reach(pairs)
    earlier = reach & (place[None, :, None] > place[None, None, :])
    same = tokens[:, :, None] == tokens[:, None, :]
    followed = torch.zeros_like(same)
    followed[:, :, 1:] = (same & earlier)[:, :, :-1]
    first = real & (pairs.clean_batch.position_ids == 0)
    roles = {
        PREVIOUS: earlier & (place[None, :, None] - place[None, None, :] == 1),
        DUPLICATE: earlier & same,
        INDUCTION: earlier & followed,
        **_from_the_end(pairs, earlier),
        FIRST: earlier & first[:, None, :],
        SELF: reach & (place[None, :, None] == place[None, None, :]) & ~first[:, :, None],
    }
    return roles


def shuffled_prompts(pairs: PromptPairs, seed: int) -> PromptPairs:
    """Return the pairs with all tokens of clean prompts but the first shuffled among their places.

    A head that looks at places, not at tokens, looks where it did before.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens = pairs.clean.clone()
    for row, real in enumerate(pairs.mask):
        places = real.nonzero()[1:, 0]
        tokens[row, places] = tokens[row, places[torch.randperm(len(places), generator=generator)]]
    return replace(pairs, clean=tokens)


def _from_the_end(
    pairs: PromptPairs, earlier: Bool[Tensor, "pair destination source"]
) -> dict[str, Bool[Tensor, "pair destination source"]]:
    n_pos = pairs.clean.shape[1]
    at_end = torch.arange(n_pos)[None, :, None] == pairs.label_pos[:, None, None]
    from_end = earlier & at_end
    spans: dict[str, Tensor] = {}
    for row in range(len(pairs)):
        for name, places in own_places(pairs, row).items():
            if name != END:
                mask = spans.setdefault(AT + name, torch.zeros_like(pairs.mask))
                mask[row, places] = True
    answers = {ANSWER: pairs.labels.answers, WRONG_ANSWER: pairs.labels.wrong_answers}
    for name, ids in answers.items():
        spans[name] = (pairs.clean[:, :, None] == ids[:, None, :]).any(-1) & pairs.mask
    return {name: from_end & mask[:, None, :] for name, mask in spans.items()}


def _in_reach(pairs: PromptPairs) -> Bool[Tensor, "pair destination source"]:
    real = pairs.mask
    causal = torch.ones(real.shape[1], real.shape[1], dtype=torch.bool).tril()
    return causal[None] & real[:, None, :] & real[:, :, None]


def _favourite(
    patterns: Float[Tensor, "pair destination source"], pairs: PromptPairs
) -> Bool[Tensor, "pair destination source"]:
    """Return the place that is looked at most on average, of each destination, but the first."""
    lengths = pairs.lengths
    chosen = torch.zeros_like(patterns, dtype=torch.bool)
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero()[:, 0]
        mean = patterns[rows].mean(0)
        start = int(pairs.mask[rows[0]].nonzero()[0])
        mean[:, : start + 1] = -1.0
        best = mean.argmax(1)
        chosen[rows[:, None], torch.arange(len(best)), best] = True
    return chosen & _in_reach(pairs)


def _attention(
    role: str,
    patterns: Float[Tensor, "pair destination source"],
    sources: Bool[Tensor, "pair destination source"],
    reach: Bool[Tensor, "pair destination source"],
) -> RoleAttention | None:
    """Return the attention to some sources, or None where too few pairs have any."""
    n_drawn = sources.sum(2).double()
    here = n_drawn > 0
    n_reach = reach.sum(2).double()
    here &= n_reach > n_drawn  # where all is a source, nothing is chosen
    n_here = here.sum(1)
    held = n_here > 0
    if float(held.double().mean()) < COMMON:
        return None
    attention = patterns.double() * reach
    total = attention.sum(2)
    mean = n_drawn * total / n_reach.clamp(min=1)
    spread = (attention**2).sum(2) - total**2 / n_reach.clamp(min=1)
    variance = n_drawn * (1 - n_drawn / n_reach.clamp(min=1)) * spread / (n_reach - 1).clamp(min=1)
    found = (attention * sources).sum(2)
    n = n_here.clamp(min=1)
    per_pair = ((found * here).sum(1) / n)[held].numpy()
    mean_of_pairs = float(((mean * here).sum(1) / n)[held].mean())
    variances = ((variance * here).sum(1) / n**2)[held]
    return RoleAttention(
        role, per_pair, mean_of_pairs, float(variances.sum() ** 0.5 / len(variances))
    )


def strongest_first(attentions: Sequence[RoleAttention]) -> list[RoleAttention]:
    """Return what is above chance most, first; where two are as good, the more telling one."""
    order = [PREVIOUS, DUPLICATE, INDUCTION, ANSWER, WRONG_ANSWER]
    last = [POSITIONAL, FIRST, SELF]

    def rank(attention: RoleAttention) -> tuple[float, int]:
        role = attention.role
        telling = order.index(role) if role in order else len(order)
        telling += 1 + last.index(role) if role in last else 0
        return (-float(np.round(attention.score - attention.mean, 1)), telling)

    return sorted(attentions, key=rank)
