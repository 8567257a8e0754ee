"""How well a score tells two classes apart, with intervals over topics.

    AUROC      share of pairs (true, false) in which the true prompt scores higher, ties half
    recall     share of true prompts above a threshold
    alarms     share of false prompts above it
    at 1 %     recall above the least threshold that at most 1 % of the false prompts exceed

Prompts of one topic are alike, and other topics are what a scorer will meet. So an interval is from
N_RESAMPLES resamples in two steps: topics with replacement, then prompts within each. A resample
without both classes is drawn again. No interval is narrower than 3 / n, n the smaller class: so
many prompts may be unlike any seen (the rule of three, as in statistics/bootstrap.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import rankdata

from circuitkit.errors import PromptError
from circuitkit.statistics.bootstrap import TAIL, UNSEEN, Estimate

ALLOWED = 0.01  # false alarms
N_RESAMPLES = 999
MIN_TOPICS = 3  # of fewer nothing is known of others: the interval is all that can be
N_TRIES = 50  # of a resample with both classes

Values = Float[ndarray, " prompt"]
Labels = Bool[ndarray, " prompt"]
Measure = Callable[[Values, Labels], float]


@dataclass(frozen=True)
class Measured:
    """What a scorer does on held-out topics; `by_topic` is the AUROC of those with both classes."""

    auroc: Estimate
    recall_at_1_percent: Estimate
    recall: Estimate
    alarms: Estimate
    by_topic: dict[str, float]


def auroc(scores: Values, labels: Labels) -> float:
    """Return the share of pairs that are in order."""
    n_true = int(labels.sum())
    n_pairs = n_true * (len(labels) - n_true)
    ranks = rankdata(scores)[labels].sum() - n_true * (n_true + 1) / 2
    return float(ranks / n_pairs)


def threshold_of(false_scores: Values) -> float:
    """Return the least of the scores that at most ALLOWED of them exceed."""
    ordered = np.sort(false_scores)
    return float(ordered[len(ordered) - 1 - int(ALLOWED * len(ordered))])


def recall_at_allowed(scores: Values, labels: Labels) -> float:
    """Return the recall where the threshold is that of these false prompts themselves."""
    return float((scores[labels] > threshold_of(scores[~labels])).mean())


def measured(
    scores: Values, labels: Labels, topics: Sequence[str], threshold: float, seed: int = 0
) -> Measured:
    """Return the measures of some prompts at a threshold that they did not set.

    Raises:
        PromptError: one class only.
    """
    if labels.all() or not labels.any():
        raise PromptError(
            f"monitoring, held-out topics: prompts must be of both classes, got only "
            f"{bool(labels[0])}. Nothing can be told apart. Hold out topics with both."
        )
    rows = _resamples(labels, topics, seed)

    def estimated(measure: Measure) -> Estimate:
        found = _estimate(measure, scores, labels, rows)
        few = len(set(topics)) < MIN_TOPICS
        return Estimate(found.value, 0.0, 1.0, found.n) if few else found

    return Measured(
        auroc=estimated(auroc),
        recall_at_1_percent=estimated(recall_at_allowed),
        recall=estimated(lambda x, y: float((x[y] > threshold).mean())),
        alarms=estimated(lambda x, y: float((x[~y] > threshold).mean())),
        by_topic=_by_topic(scores, labels, topics),
    )


def _by_topic(scores: Values, labels: Labels, topics: Sequence[str]) -> dict[str, float]:
    names = np.array(topics)
    return {
        topic: auroc(scores[names == topic], labels[names == topic])
        for topic in sorted(set(topics))
        if 0 < labels[names == topic].sum() < (names == topic).sum()
    }


def _resamples(labels: Labels, topics: Sequence[str], seed: int) -> list[ndarray]:
    """Return the prompts of each resample."""
    rng, names = np.random.default_rng(seed), np.array(topics)
    members = [np.flatnonzero(names == topic) for topic in sorted(set(topics))]
    found = []
    for _ in range(N_RESAMPLES):
        for _ in range(N_TRIES):
            drawn = [members[i] for i in rng.integers(len(members), size=len(members))]
            rows = np.concatenate([rng.choice(topic, len(topic)) for topic in drawn])
            if 0 < labels[rows].sum() < len(rows):
                found.append(rows)
                break
    return found


def _estimate(
    measure: Measure, scores: Values, labels: Labels, resamples: Sequence[ndarray]
) -> Estimate:
    value = measure(scores, labels)
    found = [measure(scores[rows], labels[rows]) for rows in resamples]
    low, high = np.quantile(found, [TAIL, 1 - TAIL])
    smaller = min(int(labels.sum()), int((~labels).sum()))
    least = UNSEEN / smaller
    low, high = min(float(low), value - least), max(float(high), value + least)
    return Estimate(value, max(low, 0.0), min(high, 1.0), len(labels))
