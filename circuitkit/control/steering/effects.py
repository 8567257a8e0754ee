"""What a use of a direction does: to an outcome dose by dose, and to prompts it should not touch.

    outcome        one number for each prompt, from its logits: a task's metric, or the log-odds of
                   some tokens,  log(p / (1 - p))  with p the sum of their probabilities
    KL             sum over tokens of p log(p / q), p without and q with the direction in use, nats
    changed        share of prompts whose likeliest token is another

All are read behind the last token. Intervals are over prompts (clusters of them, where some share).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.control.steering.classes import HooksOf, TwoClasses, logits_of
from circuitkit.control.steering.uses import added, last_tokens
from circuitkit.control.steering.vector import SteeringVector
from circuitkit.errors import AnswerError, MethodError
from circuitkit.interpretation.section import Line, LineChart
from circuitkit.model import SubjectModel
from circuitkit.model.forward import Hooks
from circuitkit.statistics.bootstrap import Estimate, mean_estimate
from circuitkit.statistics.clusters import Clusters
from circuitkit.statistics.shares import share_of

Score = Callable[[Float[Tensor, "prompt vocab"]], Float[Tensor, " prompt"]]


@dataclass(frozen=True)
class Outcome:
    """What is watched: the prompts, and what is made of their logits."""

    name: str
    prompts: TwoClasses
    score: Score
    clusters: Clusters | None = None

    def values(self, model: SubjectModel, hooks: Hooks | HooksOf) -> Float[Tensor, " prompt"]:
        """Return the outcome of each prompt under some hooks."""
        return self.score(logits_of(model, self.prompts, hooks))


@dataclass(frozen=True)
class SideEffects:
    """What happens to prompts that a direction should leave alone."""

    kl: Estimate
    changed: Estimate


@dataclass(frozen=True)
class DoseResponse:
    """The outcome at each dose, for a direction and for others of its length."""

    name: str
    doses: tuple[float, ...]
    lines: Mapping[str, tuple[Estimate, ...]]

    def chart(self) -> LineChart:
        """Return the curves as a chart."""
        lines = tuple(Line(label, values) for label, values in self.lines.items())
        return LineChart(
            "Dose and response",
            "a direction added at one place, and others of its length",
            "dose (times the direction)",
            self.name,
            self.doses,
            lines,
        )


def log_odds(
    tokens: Sequence[int], logits: Float[Tensor, "prompt vocab"]
) -> Float[Tensor, " prompt"]:
    """Return the log-odds of some tokens together.

    Raises:
        AnswerError: there is none, or one without a logit.
    """
    wrong = [token for token in tokens if not 0 <= token < logits.shape[1]]
    if wrong or not tokens:
        raise AnswerError(
            f"log-odds: tokens must be from 0 to {logits.shape[1] - 1}, and one or more, got "
            f"{wrong or 'none'}. Their probability is read. Name tokens that the model has."
        )
    chosen = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
    chosen[list(tokens)] = True
    wide = logits.double()
    return wide[:, chosen].logsumexp(1) - wide[:, ~chosen].logsumexp(1)


def dose_response(
    model: SubjectModel,
    vectors: Mapping[str, SteeringVector],
    doses: Sequence[float],
    outcome: Outcome,
    *,
    only_last: bool = False,
) -> DoseResponse:
    """Return the outcome at each dose of each direction, added where it was read.

    It is added at every position, or at the last token alone.

    Raises:
        MethodError: no dose.
        CriterionError: fewer than three prompts.
    """
    if not doses:
        raise MethodError("dose and response: must have at least one dose, got none. Name some.")
    lines = {
        label: tuple(
            mean_estimate(
                outcome.values(model, addition(model, vector, dose, only_last=only_last)).numpy(),
                clusters=outcome.clusters,
            )
            for dose in doses
        )
        for label, vector in vectors.items()
    }
    return DoseResponse(outcome.name, tuple(float(dose) for dose in doses), lines)


def addition(
    model: SubjectModel, vector: SteeringVector, dose: float, *, only_last: bool = False
) -> HooksOf:
    """Return the hooks of a batch that add a direction at every position or the last token."""
    return lambda batch: added(model, vector, dose, last_tokens(batch) if only_last else None)


def side_effects(model: SubjectModel, prompts: TwoClasses, hooks: Hooks | HooksOf) -> SideEffects:
    """Return what hooks do to prompts that they should leave alone.

    Raises:
        CriterionError: fewer than three prompts.
    """
    before, after = logits_of(model, prompts), logits_of(model, prompts, hooks)
    return SideEffects(
        mean_estimate(kl_divergence(before, after).numpy()),
        share_of(is_changed(before, after).double().numpy()),
    )


def kl_divergence(
    before: Float[Tensor, "prompt vocab"], after: Float[Tensor, "prompt vocab"]
) -> Float[Tensor, " prompt"]:
    """Return KL(before || after) of each prompt, in nats."""
    p, q = before.double().log_softmax(1), after.double().log_softmax(1)
    return (p.exp() * (p - q)).sum(1)


def is_changed(
    before: Float[Tensor, "prompt vocab"], after: Float[Tensor, "prompt vocab"]
) -> Bool[Tensor, " prompt"]:
    """Return which prompts have another likeliest token."""
    return before.argmax(1) != after.argmax(1)
