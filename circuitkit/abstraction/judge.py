"""Judging a hypothesis: interchange-intervention accuracy (IIA) beside its controls.

    IIA = share of interchanges behind which the model answers as the hypothesis does

counted apart where the answer should change and where it should stay: a place that holds nothing
of the variable is perfect at the second, one that holds the whole prompt may be at the first. An
interval is exact (statistics/shares.py), with the clusters of the bases. A variable stands if

    1. the lower of the two shares is at least THRESHOLD,
    2. that of no control reaches the lower end of its interval.

Controls: `shuffled` compares the same runs with the values of other prompts, drawn at random;
`elsewhere` is the median over the other places of the same kind, at every role; `untrained` is the
best place that the same search finds in random weights, judged on other prompts. A control says how
much is had for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitkit.abstraction.alignment import Alignment
from circuitkit.abstraction.exchange import Exchanger, Subspace
from circuitkit.abstraction.interchanges import CHANGES, STAYS, Interchanges
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.shares import share_of

THRESHOLD = 0.9
STANDS, REFUTED = "stands", "refuted"


@dataclass(frozen=True)
class Accuracy:
    """The IIA of a variable at a place; `stays` is None where too few answers should stay."""

    iia: Estimate
    changes: Estimate
    stays: Estimate | None

    @property
    def lower(self) -> Estimate:
        """The lower of the two shares."""
        if self.stays is None or self.changes.value <= self.stays.value:
            return self.changes
        return self.stays

    @property
    def weaker(self) -> float:
        """The value of the lower of the two shares."""
        return self.lower.value

    def __str__(self) -> str:
        kept = "" if self.stays is None else f", kept {self.stays}"
        return f"{self.iia}: changed {self.changes}{kept}"


@dataclass(frozen=True)
class Control:
    """What a control reaches: of changed answers, and of the lower of both kinds."""

    name: str
    changes: float
    weaker: float
    what: str


@dataclass(frozen=True)
class VariableResult:
    """What was found of one variable at one place."""

    variable: str
    place: str
    accuracy: Accuracy
    controls: tuple[Control, ...]
    n_copies: int
    found_by: str = "given"

    @property
    def reached_by(self) -> tuple[Control, ...]:
        """The controls that come as far."""
        return tuple(each for each in self.controls if each.weaker >= self.accuracy.lower.low)

    @property
    def outcome(self) -> str:
        """Whether it stands, or is refuted."""
        holds = self.accuracy.weaker >= THRESHOLD and not self.reached_by
        return STANDS if holds else REFUTED

    @property
    def reason(self) -> str:
        """Why, in a clause."""
        own = self.accuracy
        if own.weaker < THRESHOLD:
            stays = own.stays
            kind = "kept" if stays and stays.value < own.changes.value else "changed"
            return f"answers {kind} as it says: {own.weaker:.2f}, below {THRESHOLD}"
        if self.reached_by:
            first = self.reached_by[0]
            return f"the control `{first.name}` comes as far, {first.weaker:.2f} ({first.what})"
        best = max(self.controls, key=lambda c: c.weaker, default=None)
        beside = "" if best is None else f"; the best control, `{best.name}`, {best.weaker:.2f}"
        return f"answers changed as it says: {own.changes}{beside}"

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "variable": self.variable,
            "place": self.place,
            "found_by": self.found_by,
            "iia": asdict(self.accuracy.iia),
            "changes": asdict(self.accuracy.changes),
            "stays": self.accuracy.stays and asdict(self.accuracy.stays),
            "n_copies": self.n_copies,
            "controls": {control.name: asdict(control) for control in self.controls},
            "outcome": self.outcome,
            "reason": self.reason,
        }


def accuracy_of(interchanges: Interchanges, given: Sequence[int]) -> Accuracy:
    """Return how often the answers behind some interchanges are what they should be."""
    expected = [item.expected for item in interchanges.items]
    return _accuracy(interchanges, expected, given)


def _accuracy(
    interchanges: Interchanges, expected: Sequence[int], given: Sequence[int]
) -> Accuracy:
    hits = np.array([a == b for a, b in zip(expected, given, strict=True)], dtype=np.float64)
    clusters = interchanges.clusters

    def share(rows: NDArray[np.bool_]) -> Estimate:
        return share_of(hits[rows], clusters[rows])

    stays = interchanges.of_kind(changes=STAYS)
    return Accuracy(
        share(np.ones(len(hits), dtype=bool)),
        share(interchanges.of_kind(changes=CHANGES)),
        share(stays) if stays.any() else None,
    )


def measure_iia(
    exchanger: Exchanger,
    interchanges: Interchanges,
    alignment: Alignment,
    subspace: Subspace | None = None,
) -> tuple[Accuracy, Control]:
    """Return the IIA of a variable at a place, and that with shuffled values."""
    given = exchanger.exchanged(interchanges, alignment, subspace)
    shuffled = _accuracy(interchanges, [item.by_chance for item in interchanges.items], given)
    control = Control(
        "shuffled", shuffled.changes.value, shuffled.weaker, "values of prompts drawn at random"
    )
    return accuracy_of(interchanges, given), control


@dataclass(frozen=True)
class HypothesisResult:
    """What was found of a hypothesis in a model."""

    hypothesis: str
    description: str
    model: str
    task: str
    n_prompts: int
    n_right: int
    variables: tuple[VariableResult, ...]

    @property
    def outcome(self) -> str:
        """Whether every variable stands."""
        return STANDS if all(each.outcome == STANDS for each in self.variables) else REFUTED

    @property
    def sentence(self) -> str:
        """The verdict: which algorithm, at which places, and what would have refuted it."""
        if self.outcome == STANDS:
            where = "; ".join(f"`{v.variable}` at {v.place} ({v.reason})" for v in self.variables)
            return (
                f"{self.hypothesis} stands in {self.model}: {where}. An accuracy under {THRESHOLD} "
                "of either kind, or a control as good, would have refuted it."
            )
        failed = [v for v in self.variables if v.outcome == REFUTED]
        why = "; ".join(f"`{v.variable}` at {v.place}: {v.reason}" for v in failed)
        return (
            f"{self.hypothesis} is refuted in {self.model}: {why}. It would have stood with "
            f"{THRESHOLD} of either kind and every control below."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "hypothesis": self.hypothesis,
            "description": self.description,
            "model": self.model,
            "task": self.task,
            "n_prompts": self.n_prompts,
            "n_right": self.n_right,
            "threshold": THRESHOLD,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "variables": [each.as_dict() for each in self.variables],
        }


def best_of(controls: Mapping[str, Accuracy]) -> tuple[str, Accuracy]:
    """Return the place with the highest accuracy, the first of those as good."""
    return max(controls.items(), key=lambda each: (each[1].weaker, each[1].iia.value))
