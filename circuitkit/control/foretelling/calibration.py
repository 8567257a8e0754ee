"""How well what a circuit foretold agrees with what happened, over many interventions.

    rank correlation   Spearman's, over interventions; 0 where all are foretold alike
    p                  share of N_SHUFFLES shuffles of the predictions, each among the interventions
                       of its own kind, that correlate as well: (1 + hits) / (1 + N_SHUFFLES)
    slope, intercept   least squares of the outcome on the prediction: 1 and 0 if calibrated
    error              mean |foretold - outcome|, beside mean |outcome|, the error of who foretells
                       that nothing ever happens

Intervals are over interventions, by bootstrap. They are of these interventions, which were chosen,
not drawn: of others the numbers may be others. Random circuits of the same size foretell too; what
they reach is what a circuit must beat.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from circuitkit.control.foretelling.foretell import Foretold
from circuitkit.control.foretelling.interventions import Intervention
from circuitkit.errors import MethodError
from circuitkit.statistics.bootstrap import Estimate, Values, estimate
from circuitkit.statistics.correlation import linear_correlation, rank_correlation

N_SHUFFLES = 1999
MIN_INTERVENTIONS = 5
N_SURPRISES = 5


@dataclass(frozen=True)
class Surprise:
    """An intervention whose outcome lies far from what was foretold."""

    name: str
    foretold: Estimate
    outcome: Estimate

    @property
    def difference(self) -> float:
        """The outcome less what was foretold, as a share of the gap."""
        return self.outcome.value - self.foretold.value

    @property
    def is_clear(self) -> bool:
        """Whether the two intervals have nothing in common."""
        return self.outcome.low > self.foretold.high or self.outcome.high < self.foretold.low


@dataclass(frozen=True)
class Calibration:
    """How what was foretold agrees with the outcomes; `by_kind` has rank correlations alone.

    `n_signs` of the outcomes differ from zero beyond their intervals, and of `n_right` of those the
    sign was foretold. `random` are rank correlations of random circuits.
    """

    n: int
    correlation: Estimate
    linear: Estimate
    p: float
    slope: float
    intercept: float
    error: float
    error_of_none: float
    n_signs: int
    n_right: int
    by_kind: dict[str, float]
    random: tuple[float, ...]
    surprises: tuple[Surprise, ...]

    @property
    def beats_chance(self) -> bool:
        """Whether it correlates better than shuffles, and than every random circuit."""
        return self.p <= 0.05 and all(self.correlation.value > each for each in self.random)


def calibrate(foretold: Foretold, outcomes: Sequence[Estimate], *, seed: int = 0) -> Calibration:
    """Return how well the predictions of a circuit agree with the outcomes.

    Raises:
        MethodError: there are too few interventions.
    """
    kinds = [each.kind for each in foretold.interventions]
    said, found = (np.array([e.value for e in some]) for some in (foretold.shares, outcomes))
    require_enough(foretold.interventions)
    slope, intercept = _line(said, found)
    clear = [outcome.low > 0 or outcome.high < 0 for outcome in outcomes]
    right = np.sign(said) == np.sign(found)
    return Calibration(
        n=len(said),
        correlation=estimate((said, found), rank_correlation),
        linear=estimate((said, found), linear_correlation),
        p=_p(said, found, kinds, seed),
        slope=slope,
        intercept=intercept,
        error=float(np.abs(said - found).mean()),
        error_of_none=float(np.abs(found).mean()),
        n_signs=sum(clear),
        n_right=int(right[clear].sum()),
        by_kind={kind: _of_kind(said, found, kinds, kind) for kind in dict.fromkeys(kinds)},
        random=tuple(float(rank_correlation(own, found)) for own in foretold.by_random),
        surprises=_surprises(foretold, outcomes),
    )


def require_enough(done: tuple[Intervention, ...]) -> tuple[Intervention, ...]:
    """Return the interventions, if they are enough for a correlation.

    Raises:
        MethodError: they are too few.
    """
    if len(done) < MIN_INTERVENTIONS:
        raise MethodError(
            f"foretelling: needs at least {MIN_INTERVENTIONS} interventions, got {len(done)}. A "
            "correlation of fewer says nothing. Add some."
        )
    return done


def _p(said: Values, found: Values, kinds: Sequence[str], seed: int) -> float:
    rng = np.random.default_rng(seed)
    shuffled = np.tile(said, (N_SHUFFLES, 1))
    for kind in dict.fromkeys(kinds):
        own = np.array([each == kind for each in kinds])
        shuffled[:, own] = rng.permuted(shuffled[:, own], axis=1)
    reached = rank_correlation(shuffled, np.broadcast_to(found, shuffled.shape))
    hits = (reached >= rank_correlation(said, found) - 1e-12).sum()
    return float((1 + hits) / (1 + N_SHUFFLES))


def _line(said: Values, found: Values) -> tuple[float, float]:
    spread = ((said - said.mean()) ** 2).sum()
    if spread == 0:
        return 0.0, float(found.mean())
    slope = float(((said - said.mean()) * (found - found.mean())).sum() / spread)
    return slope, float(found.mean() - slope * said.mean())


def _of_kind(said: Values, found: Values, kinds: Sequence[str], kind: str) -> float:
    own = np.array([each == kind for each in kinds])
    return float(rank_correlation(said[own], found[own]))


def _surprises(foretold: Foretold, outcomes: Sequence[Estimate]) -> tuple[Surprise, ...]:
    every = [
        Surprise(each.name, said, found)
        for each, said, found in zip(foretold.interventions, foretold.shares, outcomes, strict=True)
    ]
    return tuple(sorted(every, key=lambda each: -abs(each.difference))[:N_SURPRISES])
