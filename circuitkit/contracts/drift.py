"""Drift: is the circuit of today still the one of the baseline?

    Jaccard = edges of both / edges of either

Where a contract's circuit is its own baseline (that file, or a copy of it), the circuit of today is
found again in the model, as the file says it was found and on the same discovery pairs; its size
stays. What changed in each criterion is today minus baseline on the same validation pairs,
resampled together.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.diff import CircuitDiff, diff_circuits
from circuitkit.circuits.file import load_circuit
from circuitkit.contracts.cases import ContractCase
from circuitkit.errors import CriterionError
from circuitkit.metrics import Agreement, KLDivergence
from circuitkit.moved import old_names
from circuitkit.statistics.bootstrap import Estimate, mean_estimate
from circuitkit.study.cases import require_unseen
from circuitkit.study.refinding import finder
from circuitkit.validation.case import Case

FIND_LIMIT = 600.0  # seconds that finding the circuit again may take: it is done once
N_NAMED = 10  # edges of each list that a message names


@dataclass(frozen=True)
class CriterionChange:
    """A criterion in the baseline circuit and today, and the difference on the same pairs."""

    criterion: str
    before: float
    now: float
    change: Estimate

    def __str__(self) -> str:
        return f"{self.criterion} {self.before:.3g} to {self.now:.3g}, a change of {self.change}"


@dataclass(frozen=True)
class DriftReport:
    """What differs: edges (A is the baseline, B today's circuit), and criteria.

    `unmeasured` says why there are no changes, where that is so.
    """

    diff: CircuitDiff
    n_before: int
    n_now: int
    changes: tuple[CriterionChange, ...]
    unmeasured: str = ""

    def __str__(self) -> str:
        changes = "; ".join(str(change) for change in self.changes)
        return (
            f"{self.n_now} edges where the baseline has {self.n_before}; "
            f"lost {_named(self.diff.only_a)}; gained {_named(self.diff.only_b)}; "
            + (changes or f"criteria not compared: {self.unmeasured}")
        )


def measure_drift(judged: ContractCase) -> DriftReport:
    """Return how far today's circuit is from the baseline of the contract.

    Raises:
        CircuitFileError: the baseline cannot be read.
        CriterionError: today's circuit must be found again and cannot be.
        GraphError: the baseline is of another architecture.
    """
    drift = judged.contract.drift
    assert drift is not None, "only contracts with a baseline drift"
    baseline = load_circuit(drift.baseline)
    now = found_again(judged) if judged.is_own_baseline(baseline) else judged.circuit
    diff = diff_circuits(baseline, now)
    try:
        changes, reason = changes_of(judged.case(), baseline, now), ""
    except CriterionError as error:
        changes, reason = (), str(error)
    return DriftReport(diff, baseline.n_edges, now.n_edges, changes, reason)


def found_again(judged: ContractCase) -> Circuit:
    """Return the circuit as it is found in the model today, on the pairs that found it.

    Raises:
        CriterionError: it does not say how it was found, or its pairs cannot be drawn again.
    """
    circuit, discovery = judged.circuit, judged.subject.splits.discovery
    seen = set(circuit.provenance.discovery_prompts)
    if not seen:
        raise CriterionError(
            f"{judged.contract.circuit}: must say which prompts found it, got none. Other prompts "
            "alone would move edges. Write the circuit again, with this circuitkit."
        )
    if seen != set(discovery.prompt_digests):
        shared = len(seen.intersection(discovery.prompt_digests))
        raise CriterionError(
            f"{judged.contract.circuit}: must be found again on the {len(seen)} prompts that "
            f"found it, got {shared} of them among {len(discovery.prompt_digests)}. Other prompts "
            "alone would move edges. Leave out seed, name the prompt file that found it, or give "
            "another circuit file as the baseline."
        )
    find, reason = finder(judged.subject, circuit, judged.settings, limit=FIND_LIMIT)
    if find is None:
        raise CriterionError(
            f"{judged.contract.circuit}: must be found again in the model, got none: {reason}. "
            "It is its own baseline. Write the circuit with a method that can, or give another "
            "circuit file as the baseline."
        )
    return find(discovery, circuit.provenance.seed)


def changes_of(case: Case, baseline: Circuit, now: Circuit) -> tuple[CriterionChange, ...]:
    """Return the change of faithfulness, KL and agreement, on the validation pairs.

    Raises:
        CriterionError: a validation prompt found the baseline, or the gap vanishes.
    """
    require_unseen(baseline, case.validation)
    rows = case.values([baseline, now])
    before, after = case.faithfulness([baseline, now])
    change = case.share_of_gap(rows[1] - rows[0])
    found = [CriterionChange("faithfulness", float(before), float(after), change)]
    for metric in (KLDivergence(), Agreement()):
        old, new = case.values([baseline, now], metric=metric)
        change = mean_estimate(new - old, clusters=case.validation.clusters)
        found.append(CriterionChange(metric.name, float(old.mean()), float(new.mean()), change))
    return tuple(found)


def _named(edges: tuple[str, ...]) -> str:
    if not edges:
        return "none"
    more = f", and {len(edges) - N_NAMED} more" if len(edges) > N_NAMED else ""
    return f"{len(edges)} ({', '.join(edges[:N_NAMED])}{more})"


if not TYPE_CHECKING:  # names that this module had
    __getattr__ = old_names(__name__)
