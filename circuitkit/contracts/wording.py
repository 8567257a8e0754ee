"""The words of a result. Each is understood alone: it may be all that a reader of a log sees."""

from circuitkit.circuits.file import load_circuit
from circuitkit.contracts.cases import ContractCase
from circuitkit.contracts.contract import DRIFT
from circuitkit.validation.verdict import Check


def value_of(check: Check) -> str:
    """Return the value with what there is of interval, p-value and number of pairs."""
    counted = check.value is not None and check.value.n > 1
    return f"{check.got}, n = {check.value.n}" if counted and check.value else check.got


def held(check: Check) -> str:
    """Return the message of a requirement that holds."""
    return f"{check.criterion} must be {check.rule}, got {value_of(check)}."


def broken(check: Check, judged: ContractCase) -> str:
    """Return the message of a requirement that is broken: what, since when, and where to look."""
    parts = [
        f"{_claim(check, judged)}, got {value_of(check)}.",
        "The whole 95 % interval lies outside." if _has_interval(check) else "",
        _note(check),
        _before(judged),
        _weights(judged),
        f"To look closer: `{_command(check, judged)}`.",
    ]
    return " ".join(part for part in parts if part)


def undecided(check: Check, judged: ContractCase) -> str:
    """Return the message of a requirement that neither holds nor is broken."""
    if check.value is None:
        return f"{_claim(check, judged)}, and could not be judged: {check.note}"
    return (
        f"{_claim(check, judged)}, got {value_of(check)}: this neither shows that it holds nor "
        f"that it is broken. {_note(check)} Raise n in the contract, or move the bound."
    )


def _claim(check: Check, judged: ContractCase) -> str:
    what = "drift: the Jaccard index" if check.criterion == DRIFT else check.criterion
    under = f" under {judged.ablation_of(check.criterion)} ablation" if _has_interval(check) else ""
    return f"{judged.contract.where}: {what}{under} must be {check.rule}"


def _has_interval(check: Check) -> bool:
    return check.value is not None and check.value.n > 1


def _note(check: Check) -> str:
    return f"{check.note[:1].upper()}{check.note[1:].rstrip('.')}." if check.note else ""


def _before(judged: ContractCase) -> str:
    verdict = judged.circuit.provenance.verdict
    return f"When the circuit was made, its verdict was {verdict}." if verdict else ""


def _weights(judged: ContractCase) -> str:
    origin, now = judged.circuit.provenance.model_digest, judged.subject.model.digest
    if judged.weights_changed:
        return f"The model's weights are {now}, the circuit was found in {origin}."
    return "The model's weights are those that the circuit was found in." if origin else ""


def _command(check: Check, judged: ContractCase) -> str:
    drift = judged.contract.drift
    if check.criterion != DRIFT or drift is None:
        return judged.command(check.criterion)
    if judged.is_own_baseline(load_circuit(drift.baseline)):
        return judged.command("faithfulness")
    return f"circuitkit diff {drift.baseline} {judged.contract.circuit}"
