"""Metrics: the logits at the labelled position to one value per pair.

Nothing here averages over pairs: that is done once, where scores and effects are accumulated.
`values` is the metric in its own unit; `gain` is the same with the sign that makes more better,
so that a score or effect is positive where an edge supports the behaviour, for every metric.

An answer of several tokens has the log-probability

    log p(answer)  =  sum over t of log p(token t | prompt, tokens before t)

by teacher forcing (prompts/answers.py), or with `per_token` its mean over t. It stands for the
logit of an answer of one token: of two at one place, the difference is the same. A pair with
several places has the mean of their values.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.errors import MethodError, PromptError
from circuitkit.prompts.answers import Spelled
from circuitkit.prompts.batch import Labels

Logits = Float[Tensor, "pair *label vocab"]


class Metric(ABC):
    """Base of all metrics. A subclass sets the class variables and defines `values`."""

    name: ClassVar[str]
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    needs_wrong_answers: ClassVar[bool] = False
    needs_clean_logits: ClassVar[bool] = False
    is_differentiable: ClassVar[bool] = True
    per_token: ClassVar[bool] = False

    @abstractmethod
    def values(self, logits: Logits, labels: Labels) -> Float[Tensor, " pair"]:
        """Return the metric of each pair, in its own unit and direction.

        Logits are [pair, vocab] at the labelled position; [pair, label, vocab] if `labels.spelled`
        says that answers have several tokens or places.
        """

    def gain(self, logits: Logits, labels: Labels) -> Float[Tensor, " pair"]:
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
        if labels.spelled is not None:
            lacking = _lacks_wrong(labels.spelled)
        if bool(lacking.any()):
            raise PromptError(
                f"metric {self.name!r}: every pair must have a wrong answer, got none for pair "
                f"{int(lacking.nonzero()[0])}. It is a difference between answers. Fill "
                "`wrong_answers`, or use a metric that needs none, as LogProbability."
            )


class LogitDifference(Metric):
    """Mean logit of the answers minus mean logit of the wrong answers (Wang et al. 2022).

    Of answers of several tokens, the log-probability stands for the logit.
    """

    name = "logit-difference"
    unit = "logits"
    needs_wrong_answers = True

    def values(self, logits: Logits, labels: Labels) -> Float[Tensor, " pair"]:
        if labels.spelled is None:
            return _mean_at(logits, labels.answers) - _mean_at(logits, labels.wrong_answers)
        return over_places(logits, labels.spelled, self._difference, per_token=self.per_token)

    def _difference(self, right: Tensor, wrong: Tensor) -> Tensor:
        return _mean_of(right) - _mean_of(wrong)


class ProbabilityDifference(Metric):
    """Probability of all answers minus that of all wrong answers (Hanna et al. 2023)."""

    name = "probability-difference"
    unit = "probability"
    needs_wrong_answers = True

    def values(self, logits: Logits, labels: Labels) -> Float[Tensor, " pair"]:
        if labels.spelled is None:
            probs = logits.softmax(-1)
            return _sum_at(probs, labels.answers) - _sum_at(probs, labels.wrong_answers)
        return over_places(
            logits, labels.spelled, lambda right, wrong: right.exp().sum(1) - wrong.exp().sum(1)
        )


class LogProbability(Metric):
    """Log of the summed probability of the answers, in nats."""

    name = "log-probability"
    unit = "nats"

    def values(self, logits: Logits, labels: Labels) -> Float[Tensor, " pair"]:
        if labels.spelled is None:
            picked, present = _at(logits.log_softmax(-1), labels.answers)
            return picked.masked_fill(~present, -torch.inf).logsumexp(-1)
        return over_places(
            logits,
            labels.spelled,
            lambda right, wrong: right.logsumexp(-1),
            per_token=self.per_token,
        )


class LogitDifferencePerToken(LogitDifference):
    """The same, with the mean log-probability of an answer's tokens instead of their sum."""

    name = "logit-difference-per-token"
    per_token = True


class LogProbabilityPerToken(LogProbability):
    """The same, with the mean log-probability of an answer's tokens instead of their sum."""

    name = "log-probability-per-token"
    per_token = True


class Accuracy(Metric):
    """1 where the most likely token of the whole vocabulary is an answer, else 0.

    Of an answer of several tokens each must be the most likely one: greedy decoding gives it. With
    several places, the share of them.
    """

    name = "accuracy"
    unit = "share"
    is_differentiable = False

    def values(self, logits: Logits, labels: Labels) -> Float[Tensor, " pair"]:
        if labels.spelled is None:
            top = logits.argmax(-1, keepdim=True)
            return (top == labels.answers).any(-1).to(logits.dtype)
        ids, at = labels.spelled.ids, labels.spelled.labels
        rows = torch.arange(len(ids), device=ids.device)[:, None, None]
        given = ((logits.argmax(-1)[rows, at] == ids) | (ids < 0)).all(-1)
        given = given & _present(labels.spelled) & ~labels.spelled.is_wrong
        hits = [given & (labels.spelled.place == n) for n in range(labels.spelled.n_places)]
        return _mean_of_places([hit.any(-1).to(logits.dtype) for hit in hits], labels.spelled)


class KLDivergence(Metric):
    """KL(clean run || this run), summed over the vocabulary, in nats; less is better.

    Of answers of several tokens, the sum over all that is read of right answers.
    """

    name = "kl"
    unit = "nats"
    higher_is_better = False
    needs_clean_logits = True

    def values(self, logits: Logits, labels: Labels) -> Float[Tensor, " pair"]:
        assert labels.clean_logits is not None, "the runner attaches clean logits first"
        clean = labels.clean_logits.log_softmax(-1)
        found = (clean.exp() * (clean - logits.log_softmax(-1))).sum(-1)
        if labels.spelled is None:
            return found
        read = _read(labels.spelled, logits.shape[1])
        return (found * read).sum(-1) / _n_places(labels.spelled)


class Agreement(Metric):
    """1 where the most likely token of the whole vocabulary is that of the clean run, else 0.

    Of answers of several tokens, 1 where this holds all over right answers.
    """

    name = "agreement"
    unit = "share"
    needs_clean_logits = True
    is_differentiable = False

    def values(self, logits: Logits, labels: Labels) -> Float[Tensor, " pair"]:
        assert labels.clean_logits is not None, "the runner attaches clean logits first"
        same = logits.argmax(-1) == labels.clean_logits.argmax(-1)
        if labels.spelled is not None:
            same = (same | ~_read(labels.spelled, logits.shape[1])).all(-1)
        return same.to(logits.dtype)


METRICS: tuple[type[Metric], ...] = (
    LogitDifference,
    ProbabilityDifference,
    LogProbability,
    LogitDifferencePerToken,
    LogProbabilityPerToken,
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


def over_places(
    logits: Float[Tensor, "pair label vocab"],
    spelled: Spelled,
    value_of: Callable[[Tensor, Tensor], Tensor],
    *,
    per_token: bool = False,
) -> Float[Tensor, " pair"]:
    """Return the mean over a pair's places of what `value_of` makes of its answers' log p.

    It is given [pair, entry] twice, of right and of wrong answers; -inf where there is none.
    """
    log_p, present = log_probabilities(logits, spelled, per_token=per_token), _present(spelled)
    found = []
    for place in range(spelled.n_places):
        here = present & (spelled.place == place)
        right, wrong = (
            log_p.masked_fill(~(here & (spelled.is_wrong == is_wrong)), -torch.inf)
            for is_wrong in (False, True)
        )
        found.append(value_of(right, wrong))
    return _mean_of_places(found, spelled)


def log_probabilities(
    logits: Float[Tensor, "pair label vocab"], spelled: Spelled, *, per_token: bool = False
) -> Float[Tensor, "pair entry"]:
    """Return the log-probability of each answer, or its mean over the answer's tokens, in nats."""
    rows = torch.arange(len(spelled.ids), device=spelled.ids.device)[:, None, None]
    real = spelled.ids >= 0
    # only the tokens that are read are normalised: [pair, entry, token]
    picked = logits[rows, spelled.labels, spelled.ids.clamp(min=0)]
    total = (picked - logits.logsumexp(-1)[rows, spelled.labels]).masked_fill(~real, 0.0).sum(-1)
    return total / real.sum(-1).clamp(min=1) if per_token else total


def _present(spelled: Spelled) -> Bool[Tensor, "pair entry"]:
    return spelled.ids[..., 0] >= 0


def _lacks_wrong(spelled: Spelled) -> Bool[Tensor, " pair"]:
    """Return which pairs have a place with a right answer and no wrong one."""
    lacking = []
    for place in range(spelled.n_places):
        here = _present(spelled) & (spelled.place == place)
        lacking.append(here.any(1) & ~(here & spelled.is_wrong).any(1))
    return torch.stack(lacking).any(0)


def _n_places(spelled: Spelled) -> Int[Tensor, " pair"]:
    return spelled.place.masked_fill(~_present(spelled), 0).amax(1) + 1


def _mean_of_places(values: Sequence[Tensor], spelled: Spelled) -> Float[Tensor, " pair"]:
    """Return the mean over the places that each pair has; values at others do not count."""
    n_places = _n_places(spelled)
    kept = [value.where(place < n_places, 0.0) for place, value in enumerate(values)]
    return torch.stack(kept).sum(0) / n_places


def _read(spelled: Spelled, n_labels: int) -> Bool[Tensor, "pair label"]:
    """Return which labels some right answer is read at."""
    used = (spelled.ids >= 0) & ~spelled.is_wrong.unsqueeze(-1)
    read = torch.zeros(len(used), n_labels, dtype=torch.long, device=used.device)
    return read.scatter_add_(1, spelled.labels.flatten(1), used.flatten(1).long()) > 0


def _mean_of(log_p: Float[Tensor, "pair entry"]) -> Float[Tensor, " pair"]:
    """Return the mean over the answers that are there; those that are not are -inf."""
    present = log_p > -torch.inf
    return log_p.where(present, 0.0).sum(1) / present.sum(1)
