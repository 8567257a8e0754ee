"""Linear probes: can a property of prompts be read off activations, beyond which token is there?

    accuracy     share of held-out examples that a logistic regression on one split gets right
    control      the same for labels drawn at random for each token that stands there: the mean over
                 N_CONTROLS draws. A probe that memorises tokens does well here too
    by token     the same of a table: the commonest label of that token on the first split
    selectivity  accuracy - control
    encoded      accuracy's interval lies above chance (the share of the commoner label), and above
                 the control or the table: else memorised tokens would explain it

Hewitt and Liang 2019 (arXiv:1909.03368), section 2. Where one token stands in every prompt there is
nothing to memorise; control labels are then drawn for each prompt. The interval is the exact
binomial one: held-out examples must be independent.
"""

import importlib.util
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitkit.errors import DependencyError
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.shares import share_estimate

N_CONTROLS = 5


@dataclass(frozen=True)
class Examples:
    """Activations at one place, the label of each, and the token that stands there."""

    x: Float[ndarray, "example d_model"]
    labels: Bool[ndarray, " example"]
    tokens: Int[ndarray, " example"]
    is_paired: bool = False  # the second half are the partners of the first, with other labels

    @property
    def spread(self) -> Float[ndarray, "part d_model"]:
        """How examples lie around the means of their kind: the differences of partners, if paired.

        Sums of these with random weights vary as the difference of the two means does.
        """
        if self.is_paired:
            first, second = np.split(self.x, 2)
            sign = np.where(self.labels[: len(first)], 1.0, -1.0)[:, None]
            differences = sign * (first - second)
            return np.asarray(differences - differences.mean(0))
        means = np.stack([self.x[self.labels == side].mean(0) for side in (False, True)])
        return np.asarray(self.x - means[self.labels.astype(int)])

    def relabelled(self, labels: Bool[ndarray, " example"]) -> "Examples":
        """Return the same with other labels."""
        return Examples(self.x, labels, self.tokens)


@dataclass(frozen=True)
class Probed:
    """What a probe finds; `direction` points to the examples that are labelled true."""

    accuracy: Estimate
    control: Estimate
    by_token: float
    chance: float
    direction: Float[ndarray, " d_model"]

    @property
    def is_above_chance(self) -> bool:
        """Whether the label is read off, be it from memorised tokens."""
        return self.accuracy.low > self.chance

    @property
    def is_encoded(self) -> bool:
        """Whether the label is read off, by more than chance and than memorised tokens."""
        memorised = min(self.by_token, self.control.value)
        return self.is_above_chance and self.accuracy.low > memorised


def probe(training: Examples, held_out: Examples, *, seed: int = 0) -> Probed:
    """Return what a linear probe of one split finds on another, beside its controls."""
    n = len(held_out.labels)
    direction, n_right = _fitted(training, held_out)
    rng = np.random.default_rng(seed)
    controls = []
    for _ in range(N_CONTROLS):
        labels = _control_labels(training.tokens, held_out.tokens, rng)
        others = (e.relabelled(y) for e, y in zip((training, held_out), labels, strict=True))
        controls.append(_fitted(*others)[1])
    share = float(held_out.labels.mean())
    return Probed(
        accuracy=share_estimate(n_right, n),
        control=share_estimate(round(float(np.mean(controls))), n),
        by_token=_table_accuracy(training, held_out),
        chance=max(share, 1 - share),
        direction=direction,
    )


def require_probes() -> None:
    """Refuse to start where no probe can be fitted.

    Raises:
        DependencyError: scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise DependencyError(
            "directions", "scikit-learn", "probes", "Linear probes are fitted with it."
        )


def _fitted(training: Examples, held_out: Examples) -> tuple[Float[ndarray, " d_model"], int]:
    """Return a probe's direction in the space of `x`, and how many held-out labels it gets."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(training.x)
    model = LogisticRegression(max_iter=2000).fit(scaler.transform(training.x), training.labels)
    right = model.predict(scaler.transform(held_out.x)) == held_out.labels
    return np.asarray(model.coef_[0] / scaler.scale_), int(right.sum())


def _control_labels(
    training: Int[ndarray, " example"],
    held_out: Int[ndarray, " other"],
    rng: np.random.Generator,
) -> tuple[Bool[ndarray, " example"], Bool[ndarray, " other"]]:
    """Return a random label for each token, as many of one kind as of the other."""
    tokens, counts = np.unique(training, return_counts=True)
    if len(tokens) == 1:
        return _halved(len(training), rng), _halved(len(held_out), rng)
    # the commonest two tokens get different labels, then the next two
    ranked = tokens[np.argsort(-counts, kind="stable")].tolist()
    ranked += sorted(set(held_out.tolist()) - set(ranked))
    labels: dict[int, bool] = {}
    for i, token in enumerate(ranked):
        labels[token] = not labels[ranked[i - 1]] if i % 2 else bool(rng.integers(2))
    return tuple(np.array([labels[t] for t in side.tolist()]) for side in (training, held_out))  # type: ignore[return-value]


def _halved(n: int, rng: np.random.Generator) -> Bool[ndarray, " example"]:
    return np.asarray(rng.permutation(n) % 2 == 0)


def _table_accuracy(training: Examples, held_out: Examples) -> float:
    """Return the accuracy of the commonest label of each token; of all tokens where that ties."""
    overall = bool(training.labels.mean() > 0.5)
    right = 0
    for token, label in zip(held_out.tokens, held_out.labels, strict=True):
        known = training.labels[training.tokens == token]
        share = float(known.mean()) if len(known) else 0.5
        right += (overall if share == 0.5 else share > 0.5) == bool(label)
    return right / len(held_out.labels)
