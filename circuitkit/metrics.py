"""Metrics: the logits at the labelled position to one value per pair.

Nothing here averages over pairs: that is done once, where scores and effects are accumulated.
`values` is the metric in its own unit; `gain` is the same with the sign that makes more better,
so that a score or effect is positive where an edge supports the behaviour, for every metric.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.errors import MethodError, PromptError
from circuitkit.prompts.pairs import Labels


class Metric(ABC):
    """Base of all metrics. A subclass sets the class variables and defines `values`."""

    name: ClassVar[str]
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    needs_wrong_answers: ClassVar[bool] = False
    needs_clean_logits: ClassVar[bool] = False
    is_differentiable: ClassVar[bool] = True

    @abstractmethod
    def values(self, logits: Float[Tensor, "pair vocab"], labels: Labels) -> Float[Tensor, " pair"]:
        """Return the metric of each pair, in its own unit and direction."""

    def gain(self, logits: Float[Tensor, "pair vocab"], labels: Labels) -> Float[Tensor, " pair"]:
        """Return the metric of each pair, negated where less is better."""
        values = self.values(logits, labels)
        return values if self.higher_is_better else -values

    def check(self, labels: Labels) -> None:
        """Refuse labels that the metric cannot be computed from.

        Raises:
            PromptError: wrong answers are needed and a pair has none.
        """
        if not self.needs_wrong_answers:
            return
        lacking = (labels.wrong_answers >= 0).sum(1) == 0
        if bool(lacking.any()):
            raise PromptError(
                f"metric {self.name!r}: every pair must have a wrong answer, got none for pair "
                f"{int(lacking.nonzero()[0])}. It is a difference between answers. Fill "
                "`wrong_answers`, or use a metric that needs none, as LogProbability."
            )


class LogitDifference(Metric):
    """Mean logit of the answers minus mean logit of the wrong answers (Wang et al. 2022)."""

    name = "logit-difference"
    unit = "logits"
    needs_wrong_answers = True

    def values(self, logits: Float[Tensor, "pair vocab"], labels: Labels) -> Float[Tensor, " pair"]:
        right, wrong = labels.answers, labels.wrong_answers
        return _mean_at(logits, right) - _mean_at(logits, wrong)


class ProbabilityDifference(Metric):
    """Probability of all answers minus that of all wrong answers (Hanna et al. 2023)."""

    name = "probability-difference"
    unit = "probability"
    needs_wrong_answers = True

    def values(self, logits: Float[Tensor, "pair vocab"], labels: Labels) -> Float[Tensor, " pair"]:
        probs = logits.softmax(-1)
        return _sum_at(probs, labels.answers) - _sum_at(probs, labels.wrong_answers)


class LogProbability(Metric):
    """Log of the summed probability of the answers, in nats."""

    name = "log-probability"
    unit = "nats"

    def values(self, logits: Float[Tensor, "pair vocab"], labels: Labels) -> Float[Tensor, " pair"]:
        picked, present = _at(logits.log_softmax(-1), labels.answers)
        return picked.masked_fill(~present, -torch.inf).logsumexp(-1)


class Accuracy(Metric):
    """1 where the most likely token of the whole vocabulary is an answer, else 0."""

    name = "accuracy"
    unit = "share"
    is_differentiable = False

    def values(self, logits: Float[Tensor, "pair vocab"], labels: Labels) -> Float[Tensor, " pair"]:
        top = logits.argmax(-1, keepdim=True)
        return (top == labels.answers).any(-1).to(logits.dtype)


class KLDivergence(Metric):
    """KL(clean run || this run), summed over the vocabulary, in nats; less is better."""

    name = "kl"
    unit = "nats"
    higher_is_better = False
    needs_clean_logits = True

    def values(self, logits: Float[Tensor, "pair vocab"], labels: Labels) -> Float[Tensor, " pair"]:
        assert labels.clean_logits is not None, "the runner attaches clean logits first"
        clean = labels.clean_logits.log_softmax(-1)
        return (clean.exp() * (clean - logits.log_softmax(-1))).sum(-1)


class Agreement(Metric):
    """1 where the most likely token of the whole vocabulary is that of the clean run, else 0."""

    name = "agreement"
    unit = "share"
    needs_clean_logits = True
    is_differentiable = False

    def values(self, logits: Float[Tensor, "pair vocab"], labels: Labels) -> Float[Tensor, " pair"]:
        assert labels.clean_logits is not None, "the runner attaches clean logits first"
        return (logits.argmax(-1) == labels.clean_logits.argmax(-1)).to(logits.dtype)


METRICS: tuple[type[Metric], ...] = (
    LogitDifference,
    ProbabilityDifference,
    LogProbability,
    Accuracy,
    KLDivergence,
    Agreement,
)


def metric_named(name: str) -> Metric:
    """Return the metric of this name.

    Raises:
        MethodError: there is none.
    """
    for metric in METRICS:
        if metric.name == name:
            return metric()
    known = ", ".join(metric.name for metric in METRICS)
    raise MethodError(
        f"metric {name!r}: must be one of {known}. It turns logits into a number. Choose one."
    )


def _at(
    rows: Float[Tensor, "pair vocab"], ids: Int[Tensor, "pair entry"]
) -> tuple[Float[Tensor, "pair entry"], Bool[Tensor, "pair entry"]]:
    """Return the entries of each row at `ids`, and which of them are real (not the filler -1)."""
    return rows.gather(1, ids.clamp(min=0)), ids >= 0


def _sum_at(
    rows: Float[Tensor, "pair vocab"], ids: Int[Tensor, "pair entry"]
) -> Float[Tensor, " pair"]:
    picked, present = _at(rows, ids)
    return (picked * present).sum(-1)


def _mean_at(
    rows: Float[Tensor, "pair vocab"], ids: Int[Tensor, "pair entry"]
) -> Float[Tensor, " pair"]:
    return _sum_at(rows, ids) / (ids >= 0).sum(-1)
