"""The verdict: supported, refuted or undecided, against thresholds written down beforehand.

Each check holds an interval, never a point, against its bound:
  supported  the whole interval is inside
  refuted    the whole interval is outside
  undecided  the interval holds the bound, or the criterion could not be measured
  reported   there is no bound, or the criterion does not apply here: for the reader
A hypothesis test supports where its value is inside and its p-value at most alpha; one that does
not reject leaves the question open unless its interval lies outside. Where another bound is asked
for than the one that was tested, the interval decides. The verdict is refuted if any check is,
supported if all that have a bound are, else undecided. It answers questions (questions.py), each
by the checks that ask it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.validation.questions import QUESTIONS
from circuitkit.work.notebook import Shown
from circuitkit.work.text import brief

SUPPORTED, REFUTED, UNDECIDED, REPORTED = "supported", "refuted", "undecided", "reported"
NOT_ASKED = "not asked"  # the answer to a question of which no check has a bound
LEAST_P = 0.001  # under which no reader needs the digits


@dataclass(frozen=True)
class Finding:
    """What a criterion measured. `p` is set by hypothesis tests, `note` is for the reader.

    `tested` is the bound that p is about; None where it is about none in particular. `same_as`
    names the criterion of which this is, on this case, the same measurement in another dress.
    `proviso` is what a support must be said with, as "minimal up to 1 edge: ...".

    A value with n = 1 is a count: exact, without an interval.
    """

    value: Estimate
    note: str = ""
    p: float | None = None
    tested: Bound | None = None
    same_as: str = ""
    proviso: str = ""

    def __repr__(self) -> str:
        p = "" if self.p is None else f", {p_text(self.p)}"
        return brief(f"Finding({self.value}{p})")

    def decides(self, bound: Bound) -> bool:
        """Return whether p speaks of this bound."""
        if self.p is None or bound.is_open:
            return False
        return self.tested is None or (self.tested.min, self.tested.max) == (bound.min, bound.max)


@dataclass(frozen=True)
class Check(Shown):
    """One criterion held against its bound. `rule` reads as a sentence about the value.

    `value` is None where the criterion could not be measured; `note` then says why. `question` is
    the name of the question that it answers, `measures` what the value is in plain words, and
    `same_as` the criterion of which it is the same measurement, `proviso` what a support is said
    with; each is empty where there is none.
    """

    criterion: str
    rule: str
    value: Estimate | None
    bound: Bound
    outcome: str
    note: str = ""
    p: float | None = None
    question: str = ""
    measures: str = ""
    same_as: str = ""
    proviso: str = ""

    def __repr__(self) -> str:
        rule = f", must be {self.rule}" if self.is_judged else ""
        return brief(f"Check({self.criterion}: {self.got}{rule}: {self.outcome})")

    @property
    def is_judged(self) -> bool:
        """Whether it has a bound."""
        return not self.bound.is_open

    @property
    def got(self) -> str:
        """The value as text, with what there is of interval and p-value."""
        if self.value is None:
            return "not measured"
        text = str(self.value) if self.value.n > 1 else count_text(self.value.value)
        return text if self.p is None else f"{text}, {p_text(self.p)}"


@dataclass(frozen=True)
class Answer:
    """What the checks of one question say together.

    `checks` names all of its criteria, `repeats` those among them that are the same measurement as
    another criterion of the verdict.
    """

    question: str
    asks: str
    outcome: str
    checks: tuple[str, ...]
    repeats: tuple[str, ...]


@dataclass(frozen=True)
class Verdict(Shown):
    """The outcome, why in one sentence, the checks behind it, and the questions they answer."""

    outcome: str
    sentence: str
    checks: tuple[Check, ...]
    questions: tuple[Answer, ...] = ()

    def __repr__(self) -> str:
        judged = [check.outcome for check in self.checks if check.is_judged]
        found = [f"{judged.count(each)} {each}" for each in dict.fromkeys(judged)]
        of = f"{len(self.checks)} checks, {len(judged)} with a bound"
        return brief(f"Verdict({self.outcome}: {', '.join([of, *found])})")

    @property
    def n_judged(self) -> int:
        """How many checks have a bound."""
        return sum(check.is_judged for check in self.checks)

    @property
    def n_measurements(self) -> int:
        """How many measurements those checks rest on: the same one in several dresses is one."""
        return len({check.same_as or check.criterion for check in self.checks if check.is_judged})

    def check(self, criterion: str) -> Check:
        """Return the check of a criterion that was asked for."""
        return next(check for check in self.checks if check.criterion == criterion)


def count_text(value: float) -> str:
    """Return an exact value as text: whole numbers whole."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def p_text(p: float) -> str:
    """Return a p-value as text."""
    return f"p < {LEAST_P:g}" if p < LEAST_P else f"p = {p:.2g}"


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
        same_as=finding.same_as,
        proviso=finding.proviso,
    )


def unmeasured(criterion: str, bound: Bound, reason: str) -> Check:
    """Return the check of a criterion that could not be measured: never a pass."""
    outcome = REPORTED if bound.is_open else UNDECIDED
    return Check(criterion, bound.rule, None, bound, outcome, reason)


def not_applicable(criterion: str, bound: Bound, reason: str) -> Check:
    """Return the check of a criterion that nothing could measure here: reported, never judged."""
    asked = "" if bound.is_open else f"; its bound was {bound.rule}"
    return Check(
        criterion, Bound().rule, None, Bound(), REPORTED, f"does not apply: {reason}{asked}"
    )


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
    checks = _among_themselves(checks)
    outcome = _together(checks)
    if outcome == NOT_ASKED:
        outcome = UNDECIDED
    return Verdict(outcome, _sentence(outcome, checks, facts), checks, answers_of(checks))


def answers_of(checks: Sequence[Check]) -> tuple[Answer, ...]:
    """Return the answer to every question that a check asks, in the order of the questions."""
    answers = []
    for question in QUESTIONS.values():
        own = [check for check in checks if check.question == question.name]
        if own:
            names = tuple(check.criterion for check in own)
            repeats = tuple(check.criterion for check in own if check.same_as)
            answers.append(Answer(question.name, question.asks, _together(own), names, repeats))
    return tuple(answers)


def answer_rows(verdict: Verdict) -> tuple[tuple[str, str, str, str], ...]:
    """Return what each question asks, the answer, its checks, and those of them that repeat.

    Checks without a bound are left out, unless the question has no others.
    """
    by_name = {check.criterion: check for check in verdict.checks}
    rows = []
    for answer in verdict.questions:
        shown = [name for name in answer.checks if by_name[name].is_judged] or answer.checks
        own = [name for name in shown if name not in answer.repeats]
        same = [f"{n} as {by_name[n].same_as}" for n in shown if n in answer.repeats]
        rows.append((answer.asks, answer.outcome, ", ".join(own), ", ".join(same)))
    return tuple(rows)


def _among_themselves(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the checks, none of them the same as one that was not measured beside it."""
    measured = {check.criterion for check in checks if check.value is not None}
    return tuple(c if c.same_as in measured else replace(c, same_as="") for c in checks)


def _together(checks: Sequence[Check]) -> str:
    """Return what checks say together: refuted if one is, supported if all with a bound are."""
    outcomes = {check.outcome for check in checks if check.is_judged}
    if REFUTED in outcomes:
        return REFUTED
    if not outcomes:
        return NOT_ASKED
    return SUPPORTED if outcomes == {SUPPORTED} else UNDECIDED


def _sentence(outcome: str, checks: Sequence[Check], facts: str) -> str:
    clauses = "; ".join(_clauses(outcome, checks))
    if outcome == SUPPORTED:
        return f"Supported: {facts}; {clauses}."
    if outcome == REFUTED:
        return f"Refuted: {facts}, but {clauses}."
    return f"Undecided: {facts}; {clauses or 'no criterion has a bound'}."


def _clauses(outcome: str, checks: Sequence[Check]) -> list[str]:
    """Return a clause for each question with this answer; with the reason where it is not good."""
    clauses = []
    for answer in answers_of(checks):
        own = [check for check in checks if check.question == answer.question]
        reasons = [_reason(check) for check in _once(own, outcome)]
        words = {
            SUPPORTED: QUESTIONS[answer.question].supported,
            REFUTED: QUESTIONS[answer.question].refuted,
            UNDECIDED: QUESTIONS[answer.question].undecided,
        }
        if answer.outcome == outcome == SUPPORTED:
            provisos = [check.proviso for check in own if check.is_judged and check.proviso]
            clauses.append(", ".join([words[outcome], *provisos]))
        elif answer.outcome == outcome:
            clauses.append(f"{words[outcome]}: {', '.join(reasons)}")
    loose = [check for check in checks if check.is_judged and not check.question]
    if outcome == SUPPORTED and loose:
        clauses.append(f"it holds in {', '.join(check.criterion for check in loose)}")
    elif outcome != SUPPORTED:
        clauses += [_reason(check) for check in loose if check.outcome == outcome]
    return clauses


def _once(checks: Sequence[Check], outcome: str) -> list[Check]:
    """Return the judged checks with an outcome, each measurement once."""
    found: dict[str, Check] = {}
    for check in checks:
        if check.is_judged and check.outcome == outcome:
            found.setdefault(check.same_as or check.criterion, check)
    return list(found.values())


def _reason(check: Check) -> str:
    name = check.measures or check.criterion
    if check.value is None:
        return f"{name} could not be measured ({check.note})"
    return f"{name} must be {check.rule}, got {check.got}"
