"""Judging contracts: each requirement holds, is broken, or could not be judged.

    holds                the whole 95 % interval is inside the bound
    broken               the whole interval is outside
    could not be judged  anything else: too few pairs, a missing file, another architecture

Nothing passes by being left out. Broken wins over what could not be judged.
"""

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from circuitkit.contracts import wording
from circuitkit.contracts.cases import ContractCase, ContractCases
from circuitkit.contracts.contract import DRIFT, Contract
from circuitkit.contracts.drift import measure_drift
from circuitkit.errors import CircuitkitError, ContractError
from circuitkit.moved import old_names
from circuitkit.statistics.bound import Bound
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.criterion import exact
from circuitkit.validation.judge import judge_circuit
from circuitkit.validation.verdict import REFUTED, SUPPORTED, Check, Finding, check_of
from circuitkit.work.interrupts import is_ctrl_c
from circuitkit.work.progress import Progress, silent
from circuitkit.work.strangers import place_in_task
from circuitkit.work.text import error_text, plain

HOLDS, BROKEN, NOT_JUDGED = "holds", "broken", "could not be judged"
OUTCOMES = {SUPPORTED: HOLDS, REFUTED: BROKEN}


@dataclass(frozen=True)
class ItemResult:
    """How one requirement stands. `check` is None where an error came before any value."""

    criterion: str
    outcome: str
    message: str
    check: Check | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class ContractResult:
    """How the requirements of a contract stand."""

    contract: Contract
    items: tuple[ItemResult, ...]

    @property
    def name(self) -> str:
        """The contract's name."""
        return self.contract.name


def check_contracts(
    contracts: Sequence[Contract], *, matching: str = "", progress: Progress = silent
) -> tuple[ContractResult, ...]:
    """Return how the contracts stand, or those requirements whose `contract::criterion` matches.

    Raises:
        ContractError: nothing matches.
    """
    chosen = [(contract, _chosen(contract, matching)) for contract in contracts]
    total = sum(len(criteria) for _, criteria in chosen)
    if total == 0:
        raise ContractError(
            f"-k {matching!r}: must match a requirement, got none of "
            f"{', '.join(f'{c.name}::{name}' for c in contracts for name in c.criteria)}. Nothing "
            "would be judged. Give a part of one of these."
        )
    cases, results, done = ContractCases(), [], 0
    for contract, criteria in chosen:
        if criteria:
            progress(done, total)
            results.append(check_contract(contract, cases, only=criteria))
            done += len(criteria)
    progress(done, total)
    return tuple(results)


def check_contract(
    contract: Contract, cases: ContractCases, *, only: Sequence[str] = ()
) -> ContractResult:
    """Return how a contract stands, or some of its criteria."""
    names = only or contract.criteria
    return ContractResult(contract, tuple(check_item(contract, name, cases) for name in names))


def check_item(contract: Contract, criterion: str, cases: ContractCases) -> ItemResult:
    """Return how one requirement of a contract stands."""
    start = time.perf_counter()
    try:
        result = _judged(cases.of(contract), criterion)
    except CircuitkitError as error:
        result = _unjudged(contract, criterion, str(error))
    except BaseException as error:  # SystemExit too: the other contracts are still judged
        if is_ctrl_c(error):
            raise
        result = _unjudged(contract, criterion, _unforeseen(error))
    return replace(result, seconds=time.perf_counter() - start)


def outcome_of_contracts(results: Sequence[ContractResult]) -> str:
    """Return how they stand together: broken if any is, and judged only if all are."""
    outcomes = {item.outcome for result in results for item in result.items}
    if BROKEN in outcomes:
        return BROKEN
    return HOLDS if outcomes == {HOLDS} else NOT_JUDGED


def _chosen(contract: Contract, matching: str) -> tuple[str, ...]:
    return tuple(name for name in contract.criteria if matching in f"{contract.name}::{name}")


def _judged(judged: ContractCase, criterion: str) -> ItemResult:
    check = _drifted(judged) if criterion == DRIFT else _measured(judged, criterion)
    outcome = OUTCOMES.get(check.outcome, NOT_JUDGED)
    if outcome == HOLDS:
        return ItemResult(criterion, outcome, wording.held(check), check)
    words = wording.broken if outcome == BROKEN else wording.undecided
    return ItemResult(criterion, outcome, words(check, judged), check)


def _measured(judged: ContractCase, criterion: str) -> Check:
    asked = judged.contract.requirement(criterion)
    thresholds = Thresholds().with_bounds({criterion: asked.bound})
    verdict = judge_circuit(judged.case(asked.ablation), thresholds, only=[criterion])
    return verdict.check(criterion)


def _drifted(judged: ContractCase) -> Check:
    drift = judged.contract.drift
    assert drift is not None, "only contracts with a baseline drift"
    try:
        report = measure_drift(judged)
    except CircuitkitError as error:
        raise ContractError(f"Compared with {drift.baseline}: {error}") from error
    finding = Finding(exact(report.diff.jaccard), str(report))
    return check_of(DRIFT, finding, Bound(min=drift.min_jaccard))


def _unforeseen(error: BaseException) -> str:
    place = place_in_task(error)
    if place:
        return f"The task's own code raised {error_text(error)} ({place}). Mend the task."
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {error_text(error)} ({at.filename}, line {at.lineno})"


def _unjudged(contract: Contract, criterion: str, reason: str) -> ItemResult:
    message = plain(f"{contract.where}: {criterion} could not be judged. {reason}")
    return ItemResult(criterion, NOT_JUDGED, message)


if not TYPE_CHECKING:  # names that this module had
    __getattr__ = old_names(__name__)
