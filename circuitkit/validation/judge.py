"""Judging a circuit: every criterion asked for, each held against its bound, and the verdict."""

from collections.abc import Sequence
from dataclasses import replace

from circuitkit.errors import CriterionError
from circuitkit.statistics.bound import Bound
from circuitkit.statistics.power import pairs_to_decide
from circuitkit.validation.case import Case
from circuitkit.validation.criteria import CRITERIA, Thresholds
from circuitkit.validation.verdict import (
    UNDECIDED,
    Check,
    Verdict,
    answers_of,
    check_of,
    reach_verdict,
    unmeasured,
)
from circuitkit.work.progress import Progress, silent

MAX_ADVISED = 50  # times the pairs there are
MIN_TO_JUDGE = 16  # pairs under which an interval says little: BCa is too narrow there


def judge_circuit(
    case: Case,
    thresholds: Thresholds,
    *,
    only: Sequence[str] = (),
    progress: Progress = silent,
) -> Verdict:
    """Return the verdict on a case by all criteria, or by those named.

    What cannot be measured is undecided where it has a bound, never passed over.

    Raises:
        CriterionError: a criterion is unknown.
        ModelError, PromptError, MemoryBudgetError: as running circuits raises them.
    """
    names = list(only) or list(CRITERIA)
    require_known(names)
    checks = []
    for done, name in enumerate(names):
        progress(done, len(names))
        checks.append(with_question(_judged(case, name, thresholds.bounds[name])))
    progress(len(names), len(names))
    return reach_verdict(checks, _facts(case, checks))


def with_question(check: Check) -> Check:
    """Return the check with the question of its criterion and what that measures."""
    criterion = CRITERIA[check.criterion]
    return replace(check, question=criterion.question.name, measures=criterion.measures)


def questioned(verdict: Verdict) -> Verdict:
    """Return a verdict with its questions, also if it was written before there were any."""
    checks = tuple(with_question(check) for check in verdict.checks)
    return replace(verdict, checks=checks, questions=answers_of(checks))


def require_known(names: Sequence[str]) -> None:
    """Refuse criteria that do not exist.

    Raises:
        CriterionError: a name is unknown.
    """
    unknown = [name for name in names if name not in CRITERIA]
    if unknown:
        raise CriterionError(
            f"criteria: must be among {', '.join(CRITERIA)}, got {', '.join(unknown)}. They say "
            "what is judged. Correct the name."
        )


def _judged(case: Case, name: str, bound: Bound) -> Check:
    n = len(case.validation)
    if n < MIN_TO_JUDGE:
        return unmeasured(
            name, bound, f"too few pairs to judge: {n}, at least {MIN_TO_JUDGE} are needed"
        )
    try:
        check = check_of(name, CRITERIA[name].measure(case), bound)
    except CriterionError as error:
        return unmeasured(name, bound, str(error))
    if check.outcome != UNDECIDED or check.value is None:
        return check
    needed = pairs_to_decide(check.value, bound)
    if check.p is not None or check.value.n != n or needed is None or needed <= n:
        return check
    advice = "it is too close to its bound for any number of pairs to decide"
    if needed <= MAX_ADVISED * n:
        advice = f"about {needed} pairs would decide"
    return replace(check, note=f"{advice}; {check.note}")


def _facts(case: Case, checks: Sequence[Check]) -> str:
    n_edges, total = case.circuit.n_edges, case.circuit.graph.n_edges
    size = f"the circuit's {n_edges:,} edge{'s' * (n_edges != 1)} ({n_edges / total:.1%} of all)"
    value = next((c.value for c in checks if c.criterion == "faithfulness"), None)
    if value is None:
        return f"{size} were judged under {case.ablation} ablation"
    return (
        f"{size} keep {value.value:.0%} of the behaviour under {case.ablation} ablation (95 % "
        f"interval {value.low:.0%} to {value.high:.0%}), on {value.n} prompts that did not find it"
    )
