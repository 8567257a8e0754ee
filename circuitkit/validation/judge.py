"""Judging a circuit: every criterion asked for, each held against its bound, and the verdict."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

from circuitkit.errors import CriterionError, NotApplicableError, SampleWarning
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bound import Bound
from circuitkit.statistics.power import pairs_to_decide
from circuitkit.validation.case import Case
from circuitkit.validation.criteria import CRITERIA, Thresholds
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.verdict import (
    SUPPORTED,
    UNDECIDED,
    Check,
    Verdict,
    answers_of,
    check_of,
    not_applicable,
    reach_verdict,
    unmeasured,
)
from circuitkit.work.progress import Progress, silent

MAX_ADVISED = 50  # times the pairs there are
MIN_TO_JUDGE = Criterion.least_pairs


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
    if too_few := too_few_pairs(case.validation):
        return _not_judged(names, thresholds, too_few)
    checks = []
    for done, name in enumerate(names):
        progress(done, len(names))
        checks.append(with_question(_judged(case, name, thresholds.bounds[name])))
    progress(len(names), len(names))
    verdict = reach_verdict(checks, _facts(case, checks))
    looser = looser_than_default(names, thresholds)
    if verdict.outcome == SUPPORTED and looser:
        said = f"{verdict.sentence.removesuffix('.')}; by less than the defaults ask: {looser}."
        return replace(verdict, sentence=said)
    return verdict


def looser_than_default(names: Sequence[str], thresholds: Thresholds) -> str:
    """Return what is asked more gently than by default, or not at all; empty for nothing.

    A circuit that is supported by bent thresholds is supported by those, and the verdict says so.
    """
    bent, unasked = [], []
    for name, criterion in CRITERIA.items():
        default, bound = criterion.default, thresholds.bounds[name]
        if default.is_open:
            continue
        if name not in names or bound.is_open:
            unasked.append(name)
        elif default.is_stricter_than(bound):
            bent.append(f"{name} {bound.rule} where the default is {default.rule}")
    return "; ".join([*bent, *([f"not asked: {', '.join(unasked)}"] if unasked else [])])


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


def too_few_pairs(pairs: PromptPairs) -> str:
    """Return why these pairs can judge nothing; empty where there are enough of them.

    Repeats count once, and so do the pairs of one cluster (prompts/clusters.py).
    """
    n, n_clusters = len(pairs), pairs.n_clusters
    if n < MIN_TO_JUDGE:
        return f"too few pairs to judge: {n}, at least {MIN_TO_JUDGE} are needed"
    if n_clusters >= MIN_TO_JUDGE:
        return ""
    return (
        f"too few independent pairs to judge: the {n} pairs are {n_clusters} "
        f"cluster{'s' * (n_clusters != 1)}, at least {MIN_TO_JUDGE} are needed; pairs of the same "
        "answers whose prompts share half of their tokens are one cluster: take prompts that "
        "differ more, or name what makes them independent in `cluster`"
    )


def warn_if_too_few(pairs: PromptPairs) -> None:
    """Warn, before long work, if pairs look many and are too few independent ones to judge."""
    if len(pairs) >= MIN_TO_JUDGE and (too_few := too_few_pairs(pairs)):
        warnings.warn(
            f"validation pairs: {too_few}. The verdict will be undecided, whatever is found.",
            SampleWarning,
            stacklevel=2,
        )


def _not_judged(names: Sequence[str], thresholds: Thresholds, reason: str) -> Verdict:
    """Return the verdict where nothing is measured; the reason is said once."""
    checks = [with_question(unmeasured(name, thresholds.bounds[name], reason)) for name in names]
    verdict = reach_verdict(checks, "nothing was measured")
    return replace(verdict, sentence=f"Undecided: nothing was measured: {reason}.")


def _judged(case: Case, name: str, bound: Bound) -> Check:
    bound = CRITERIA[name].bound_on(case.circuit.graph, bound)
    n, least = case.validation.n_clusters, CRITERIA[name].least_pairs  # independent ones
    if n < least:
        return unmeasured(name, bound, f"too few pairs: {n}, {least} are needed")
    try:
        check = check_of(name, CRITERIA[name].measure(case), bound)
    except NotApplicableError as error:
        return not_applicable(name, bound, str(error))
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
    n, n_clusters = len(case.validation), case.validation.n_clusters
    independent = "" if n == n_clusters else f", {n_clusters} of them independent,"
    return (
        f"{size} keep {value.value:.0%} of the behaviour under {case.ablation} ablation (95 % "
        f"interval {value.low:.0%} to {value.high:.0%}), on {n} prompts{independent} that did not "
        "find it"
    )
