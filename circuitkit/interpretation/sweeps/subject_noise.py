"""Noise on the embeddings of a subject, for causal tracing.

Its standard deviation is a factor times that of the token embeddings of the subject in the clean
prompts: over all their entries, each occurrence counted, before any scaling that a model applies to
embeddings. Meng et al. 2022 (arXiv:2202.05262, section 2.1) use the factor 3.
"""

import math

import torch
from torch import Tensor

from circuitkit.errors import MethodError, PromptError
from circuitkit.interventions.ablation import NOISE_FACTOR, NoiseAblation
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs

N_NOISE = 4


def subject_noise(
    model: SubjectModel,
    pairs: PromptPairs,
    subject: str = "",
    *,
    n: int = N_NOISE,
    factor: float = NOISE_FACTOR,
    seed: int = 0,
) -> tuple[NoiseAblation, ...]:
    """Return `n` seeded noised runs, blurred at the tokens of the role `subject`.

    Raises:
        PromptError: a pair lacks the role, or nothing can be taken for the subject.
        MethodError: the noise or the number of samples is not positive.
    """
    if n < 1:
        raise MethodError(
            f"causal tracing: number of noise samples must be at least 1, got {n}. Effects are "
            "means over them. Raise it."
        )
    if not (math.isfinite(factor) and factor > 0):
        raise MethodError(
            f"causal tracing: the noise must be a positive number of standard deviations, got "
            f"{factor}. Nothing would be lost that could be restored. Use {NOISE_FACTOR:g}."
        )
    subject = subject or default_subject(pairs)
    tokens = _tokens_at(pairs, subject).to(model.device)
    spread = float(model.token_embeddings[tokens].double().std())
    if not spread > 0:
        raise MethodError(
            f"causal tracing: the embeddings of the tokens of {subject!r} must vary, got a "
            f"standard deviation of {spread}. It is the unit of the noise. Check the weights."
        )
    # NoiseAblation counts in standard deviations of the whole vocabulary
    share = spread / float(model.token_embeddings.double().std())
    return tuple(
        NoiseAblation((subject,), factor=factor * share, seed=seed * 1000 + i) for i in range(n)
    )


def default_subject(pairs: PromptPairs) -> str:
    """Return the first role, by place, whose tokens differ in every pair of prompts.

    A role that messages have by themselves (`user`) is taken only where no other differs.

    Raises:
        PromptError: there is none.
    """
    differs = pairs.differs
    known = set.intersection(*(set(roles) for roles in pairs.roles))
    names = [
        name
        for name in known
        if all(bool(differs[i, slice(*roles[name])].any()) for i, roles in enumerate(pairs.roles))
    ]
    if not names:
        raise PromptError(
            f"causal tracing: some role must differ between the prompts of every pair, got none "
            f"among {sorted(known)}. It would be taken for the subject. Name the subject's role."
        )
    named = {name for pair in pairs.pairs for name in pair.roles}

    def place(name: str) -> tuple[bool, int, str]:
        return name not in named, sum(roles[name][0] for roles in pairs.roles), name

    return min(names, key=place)


def _tokens_at(pairs: PromptPairs, role: str) -> Tensor:
    """Return the tokens of a role in all clean prompts, one after the other."""
    known = sorted({name for roles in pairs.roles for name in roles})
    for pair, roles in zip(pairs.pairs, pairs.roles, strict=True):
        if role not in roles:
            raise PromptError(
                f"causal tracing: every pair must have the role {role!r}, got {sorted(roles)} for "
                f"{pair.clean!r}. There is nothing to blur. Choose a role that every prompt has "
                f"(roles of these prompts: {', '.join(known)})."
            )
    spans = [slice(*roles[role]) for roles in pairs.roles]
    return torch.cat([row[span] for row, span in zip(pairs.clean, spans, strict=True)])
