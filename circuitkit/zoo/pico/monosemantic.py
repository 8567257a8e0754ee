"""How many features of a dictionary stand for one thing of pico's language.

    F1 = 2 TP / (active + true)          of a feature's being active as a guess at a category

Each feature's best category, or best word, is chosen on one half of the sequences and its F1 is
measured on the other. A feature is monosemantic where that F1 is at least 0.8.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.shares import share_estimate
from circuitkit.zoo.pico.categories import Labelled

ENOUGH_F1 = 0.8
ENOUGH_TOKENS = 10  # of each half that a feature is active on, to be counted at all


@dataclass(frozen=True)
class BestMatch:
    """What a feature stands for best, and how well, on sequences that did not choose it."""

    feature: int
    what: str
    f1: float
    is_word: bool
    frequency: float


@dataclass(frozen=True)
class Monosemantic:
    """Shares of the features that are active often enough, with intervals over features.

    `by_category` counts features that stand for a category of the grammar, `by_word` those that
    stand for a single word or what precedes one better than for any category.
    """

    n_counted: int
    share: Estimate
    by_category: Estimate
    by_word: Estimate
    mean_f1: float
    n_categories: int  # different ones that some monosemantic feature stands for
    matches: tuple[BestMatch, ...]


def measure_monosemantic(
    labelled: Labelled, active: Bool[Tensor, "token feature"], word_of: Callable[[int], str]
) -> Monosemantic:
    """Return how many features stand for one thing.

    `active` has the tokens of all sequences one after the other, the first of each left out.
    """
    half = len(labelled.ids) // 2 * labelled.truths.shape[1]
    chosen = _scores(labelled, active, slice(0, half))
    judged = _scores(labelled, active, slice(half, None))
    n_active = torch.stack([active[:half].sum(0), active[half:].sum(0)]).amin(0)
    counted = (n_active >= ENOUGH_TOKENS).nonzero()[:, 0].tolist()
    best = chosen.argmax(1)
    n_named = len(labelled.categories)
    matches = tuple(
        BestMatch(
            feature,
            _name(labelled, int(best[feature]), word_of),
            float(judged[feature, best[feature]]),
            int(best[feature]) >= n_named,
            float(active[:, feature].float().mean()),
        )
        for feature in counted
    )
    return summary_of(matches)


def summary_of(matches: tuple[BestMatch, ...]) -> Monosemantic:
    """Return the shares of features that stand for one thing."""
    n = len(matches)
    good = [match for match in matches if match.f1 >= ENOUGH_F1]
    of_words = sum(match.is_word for match in good)
    return Monosemantic(
        n,
        share_estimate(len(good), n),
        share_estimate(len(good) - of_words, n),
        share_estimate(of_words, n),
        sum(match.f1 for match in matches) / n,
        len({match.what for match in good if not match.is_word}),
        matches,
    )


def _name(labelled: Labelled, index: int, word_of: Callable[[int], str]) -> str:
    n_named = len(labelled.categories)
    if index < n_named:
        return labelled.categories[index]
    n_words = int(labelled.ids.max()) + 1
    before, word = divmod(index - n_named, n_words)
    return f"before {word_of(word)!r}" if before else f"{word_of(word)!r}"


def _scores(
    labelled: Labelled, active: Bool[Tensor, "token feature"], part: slice
) -> Float[Tensor, "feature thing"]:
    """Return F1 of every feature and thing: categories, words, and words that come next."""
    fires = active[part].float()
    truths = labelled.truths.flatten(0, 1)[part].float()
    n_words = int(labelled.ids.max()) + 1
    here = labelled.ids[:, 1:].flatten()[part]
    behind = torch.cat([labelled.ids[:, 2:], labelled.ids[:, :1]], 1).flatten()[part]
    hits = [fires.T @ truths, *(_by_word(fires, words, n_words) for words in (here, behind))]
    n_true = [truths.sum(0), *(torch.bincount(w, minlength=n_words) for w in (here, behind))]
    total = fires.sum(0).unsqueeze(1) + torch.cat(n_true).unsqueeze(0)
    return 2 * torch.cat(hits, 1) / total.clamp(min=1)


def _by_word(
    fires: Float[Tensor, "token feature"], words: Int[Tensor, " token"], n_words: int
) -> Float[Tensor, "feature word"]:
    """Return how often each feature is active on each word."""
    return fires.new_zeros(n_words, fires.shape[1]).index_add(0, words, fires).T
