"""The verdict: supported, refuted or undecided, against thresholds written down beforehand.

Each check holds an interval, never a point, against its bound:
  supported  the whole interval is inside
  refuted    the whole interval is outside
  undecided  the interval holds the bound, or the criterion could not be measured
  reported   there is no bound: a number for the reader
A hypothesis test supports where its value is inside and its p-value at most alpha; one that does
not reject leaves the question open unless its interval lies outside. Where another bound is asked
for than the one that was tested, the interval decides. The verdict is refuted if any check is,
supported if all that have a bound are, else undecided.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound

SUPPORTED, REFUTED, UNDECIDED, REPORTED = "supported", "refuted", "undecided", "reported"


@dataclass(frozen=True)
class Finding:
    """What a criterion measured. `p` is set by hypothesis tests, `note` is for the reader.

    `tested` is the bound that p is about; None where it is about none in particular.

    A value with n = 1 is a count: exact, without an interval.
    """

    value: Estimate
    note: str = ""
    p: float | None = None
    tested: Bound | None = None

    def decides(self, bound: Bound) -> bool:
        """Return whether p speaks of this bound."""
        if self.p is None or bound.is_open:
            return False
        return self.tested is None or (self.tested.min, self.tested.max) == (bound.min, bound.max)


@dataclass(frozen=True)
class Check:
    """One criterion held against its bound. `rule` reads as a sentence about the value.

    `value` is None where the criterion could not be measured; `note` then says why.
    """

    criterion: str
    rule: str
    value: Estimate | None
    bound: Bound
    outcome: str
    note: str = ""
    p: float | None = None

    @property
    def got(self) -> str:
        """The value as text, with what there is of interval and p-value."""
        if self.value is None:
            return "not measured"
        text = f"{self.value.value:.3g}" if self.value.n == 1 else str(self.value)
        return text if self.p is None else f"{text}, p = {self.p:.2g}"


@dataclass(frozen=True)
class Verdict:
    """The outcome, why in one sentence, and the checks behind it."""

    outcome: str
    sentence: str
    checks: tuple[Check, ...]

    def check(self, criterion: str) -> Check:
        """Return the check of a criterion that was asked for."""
        return next(check for check in self.checks if check.criterion == criterion)


def check_of(criterion: str, finding: Finding, bound: Bound) -> Check:
    """Return the finding held against the bound."""
    return Check(
        criterion,
        f"{bound.rule}, p ≤ {bound.alpha:g}" if finding.decides(bound) else bound.rule,
        finding.value,
        bound,
        outcome_of(finding, bound),
        finding.note,
        finding.p,
    )


def unmeasured(criterion: str, bound: Bound, reason: str) -> Check:
    """Return the check of a criterion that could not be measured: never a pass."""
    outcome = REPORTED if bound.is_open else UNDECIDED
    return Check(criterion, bound.rule, None, bound, outcome, reason)


def outcome_of(finding: Finding, bound: Bound) -> str:
    """Return how a finding stands to its bound."""
    low, high = finding.value.low, finding.value.high
    if bound.is_open:
        return REPORTED
    if bound.excludes(low, high):
        return REFUTED
    if finding.p is not None and finding.decides(bound):
        is_shown = finding.p <= bound.alpha and bound.holds(finding.value.value)
        return SUPPORTED if is_shown else UNDECIDED
    return SUPPORTED if bound.holds(low) and bound.holds(high) else UNDECIDED


def reach_verdict(checks: Sequence[Check], facts: str) -> Verdict:
    """Return the verdict on these checks; `facts` is a clause about the circuit.

    A verdict on no bound at all is undecided: nothing was asked.
    """
    outcomes = {check.outcome for check in checks if not check.bound.is_open}
    if REFUTED in outcomes:
        outcome = REFUTED
    else:
        outcome = SUPPORTED if outcomes == {SUPPORTED} else UNDECIDED
    return Verdict(outcome, _sentence(outcome, checks, facts), tuple(checks))


def _sentence(outcome: str, checks: Sequence[Check], facts: str) -> str:
    judged = [check for check in checks if not check.bound.is_open]
    if outcome == SUPPORTED:
        names = ", ".join(check.criterion for check in judged)
        return f"Supported: {facts}; it holds in {names}."
    by = "; ".join(_reason(check) for check in judged if check.outcome == outcome)
    if outcome == REFUTED:
        return f"Refuted: {facts}, but {by}."
    return f"Undecided: {facts}; " + (f"not settled: {by}." if by else "no criterion has a bound.")


def _reason(check: Check) -> str:
    if check.value is None:
        return f"{check.criterion} could not be measured ({check.note})"
    return f"{check.criterion} must be {check.rule}, got {check.got}"
