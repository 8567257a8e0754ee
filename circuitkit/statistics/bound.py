"""Where a value must lie, and what an interval says about it."""

from dataclasses import dataclass
from math import isfinite

from circuitkit.errors import CriterionError


@dataclass(frozen=True)
class Bound:
    """Where a criterion's value must lie; `alpha` is the level of those that are tests.

    Raises:
        CriterionError: one of them is not a finite number: no value could ever miss it.
    """

    min: float | None = None
    max: float | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for name, number in (("min", self.min), ("max", self.max), ("alpha", self.alpha)):
            if number is not None and not isfinite(number):
                raise CriterionError(
                    f"bound: {name} must be a finite number, got {number}. A value is held against "
                    "it, and none would be outside. Give a number, as 0.8, or leave it out."
                )

    @property
    def is_open(self) -> bool:
        """Whether nothing is asked, so that the value is only reported."""
        return self.min is None and self.max is None

    @property
    def rule(self) -> str:
        """The bound as words that follow "must be"."""
        parts = [] if self.min is None else [f"at least {self.min:.3g}"]
        parts += [] if self.max is None else [f"at most {self.max:.3g}"]
        return " and ".join(parts) or "–"

    def is_stricter_than(self, other: "Bound") -> bool:
        """Return whether some value, or p-value, meets the other bound and misses this one."""
        below = self.min is not None and (other.min is None or other.min < self.min)
        above = self.max is not None and (other.max is None or other.max > self.max)
        return below or above or other.alpha > self.alpha

    def holds(self, value: float) -> bool:
        """Return whether a value lies inside."""
        above = self.min is None or value >= self.min
        return above and (self.max is None or value <= self.max)

    def excludes(self, low: float, high: float) -> bool:
        """Return whether a whole interval lies outside, on one side."""
        below = self.min is not None and high < self.min
        return below or (self.max is not None and low > self.max)
