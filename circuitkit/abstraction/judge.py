"""Judging a hypothesis: interchange-intervention accuracy (IIA) beside its controls.

    IIA = share of interchanges behind which the model answers as the hypothesis does

counted apart where the answer should change and where it should stay: a place that holds nothing
of the variable is perfect at the second, one that holds the whole prompt may be at the first. An
interval is exact (statistics/shares.py), with the clusters of the bases. Of a variable:

    refuted   the lower of the two shares is below THRESHOLD, or it is in other wordings
    open      it is not, but a control comes as far as the lower end of its interval
    stands    neither

Controls say how much is had for nothing. `shuffled`: the same runs, compared with the values of
other prompts, drawn at random. `copied`: a model that gives the source's own answer; it reaches
everything where the variable alone decides the answer, and then nothing is shown of how.
`elsewhere`: the median over the other places of the search. `untrained`: the best place that the
same search finds in random weights, judged on other prompts. Of a subspace: `random`, a random one
as large, and `untrained`, the same training in random weights, in their place.
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
from circuitkit.work.notebook import Shown
from circuitkit.work.text import brief

THRESHOLD = 0.9
STANDS, REFUTED, OPEN = "stands", "refuted", "open"


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
    wordings: Accuracy | None = None  # in wordings that no search saw, where the task has some

    @property
    def reached_by(self) -> tuple[Control, ...]:
        """The controls that come as far."""
        return tuple(each for each in self.controls if each.weaker >= self.accuracy.lower.low)

    @property
    def fails_elsewhere(self) -> bool:
        """Whether its accuracy in other wordings is below the threshold."""
        return self.wordings is not None and self.wordings.weaker < THRESHOLD

    @property
    def outcome(self) -> str:
        """Whether it stands, is refuted, or neither was shown."""
        if self.accuracy.weaker < THRESHOLD or self.fails_elsewhere:
            return REFUTED
        return OPEN if self.reached_by else STANDS

    @property
    def reason(self) -> str:
        """Why, in a clause."""
        own = self.accuracy
        found = f"{own.changes} of the answers changed as it says"
        if own.stays is not None:
            found += f", {own.stays} were kept"
        if own.weaker < THRESHOLD:
            return f"{found}; {own.weaker:.2f} is below {THRESHOLD}"
        if self.fails_elsewhere:
            assert self.wordings is not None, "it was looked at"
            return f"{found}, but in other wordings {self.wordings.lower}, below {THRESHOLD}"
        if self.reached_by:
            first = max(self.reached_by, key=lambda control: control.weaker)
            return (
                f"{found}, but the control `{first.name}` reaches {first.weaker:.2f}: {first.what}"
            )
        best = max(self.controls, key=lambda control: control.weaker)
        return f"{found}; the best control, `{best.name}`, reaches {best.weaker:.2f}"

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "variable": self.variable,
            "place": self.place,
            "found_by": self.found_by,
            "iia": asdict(self.accuracy.iia),
            "changes": asdict(self.accuracy.changes),
            "stays": self.accuracy.stays and asdict(self.accuracy.stays),
            "wordings": self.wordings and asdict(self.wordings),
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
) -> tuple[Accuracy, tuple[Control, ...]]:
    """Return the IIA of a variable at a place, and the controls that need no further run."""
    given = exchanger.exchanged(interchanges, alignment, subspace)
    shuffled = _accuracy(interchanges, [item.by_chance for item in interchanges.items], given)
    copied = accuracy_of(interchanges, [item.sources_own for item in interchanges.items])
    return accuracy_of(interchanges, given), (
        control_of("shuffled", shuffled, "the values of prompts drawn at random"),
        control_of("copied", copied, "to give the source's own answer"),
    )


def control_of(name: str, accuracy: Accuracy, what: str) -> Control:
    """Return what a control reaches."""
    return Control(name, accuracy.changes.value, accuracy.weaker, what)


@dataclass(frozen=True)
class HypothesisResult(Shown):
    """What was found of a hypothesis in a model."""

    hypothesis: str
    description: str
    model: str
    task: str
    n_prompts: int
    n_right: int
    variables: tuple[VariableResult, ...]

    def __repr__(self) -> str:
        return brief(f"HypothesisResult({self.hypothesis} in {self.model}: {self.outcome})")

    @property
    def outcome(self) -> str:
        """Refuted if a variable is; it stands if one stands; otherwise nothing was shown."""
        found = {each.outcome for each in self.variables}
        return next(each for each in (REFUTED, STANDS, OPEN) if each in found)

    @property
    def sentence(self) -> str:
        """The verdict: which algorithm, at which places, and what would have refuted it."""
        own = [v for v in self.variables if v.outcome == self.outcome]
        why = "; ".join(f"`{v.variable}` at {v.place}: {v.reason}" for v in own)
        if self.outcome == REFUTED:
            return (
                f"{self.hypothesis} is refuted in {self.model}. {why}. It would have stood with "
                f"{THRESHOLD} of either kind, and every control below."
            )
        if self.outcome == OPEN:
            return (
                f"Nothing is shown of {self.hypothesis} in {self.model}. {why}. A variable that "
                "does not decide the answer by itself, or another place, could be judged."
            )
        left = [v.variable for v in self.variables if v.outcome == OPEN]
        rest = f" Nothing is shown of {', '.join(f'`{name}`' for name in left)}." if left else ""
        return (
            f"{self.hypothesis} stands in {self.model}. {why}.{rest} An accuracy under {THRESHOLD} "
            "of either kind would have refuted it, and a control as good would have left it open."
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
