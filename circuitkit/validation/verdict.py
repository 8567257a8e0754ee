"""The verdict: supported, refuted or undecided, against thresholds written down beforehand.

Each check compares an interval, never a point, with its threshold:
  supported  the whole interval is on the right side
  refuted    the whole interval is on the wrong side
  undecided  the interval holds the threshold
The verdict is refuted if any check is, supported if all are, else undecided.
"""

from dataclasses import dataclass

from circuitkit.validation.bootstrap import Estimate

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"


@dataclass(frozen=True)
class Thresholds:
    """What a circuit must reach. Fixed before anything is measured."""

    min_faithfulness: float = 0.8
    max_edge_share: float = 0.15


@dataclass(frozen=True)
class Check:
    """One criterion held against its threshold. `rule` reads as a sentence about the value."""

    criterion: str
    rule: str
    value: Estimate
    threshold: float
    outcome: str


@dataclass(frozen=True)
class Verdict:
    """The outcome, why in one sentence, and the checks behind it."""

    outcome: str
    sentence: str
    checks: tuple[Check, ...]


def at_least(criterion: str, value: Estimate, threshold: float) -> Check:
    """Return the check that a value is at least the threshold."""
    if value.low >= threshold:
        outcome = SUPPORTED
    else:
        outcome = REFUTED if value.high < threshold else UNDECIDED
    return Check(criterion, f"at least {threshold:.3g}", value, threshold, outcome)


def at_most(criterion: str, value: Estimate, threshold: float) -> Check:
    """Return the check that a value is at most the threshold."""
    if value.high <= threshold:
        outcome = SUPPORTED
    else:
        outcome = REFUTED if value.low > threshold else UNDECIDED
    return Check(criterion, f"at most {threshold:.3g}", value, threshold, outcome)


def reach_verdict(
    faithfulness: Estimate,
    *,
    random_best: float,
    n_edges: int,
    n_edges_in_graph: int,
    thresholds: Thresholds,
) -> Verdict:
    """Return the verdict on a circuit of `n_edges`, given its faithfulness on held-out pairs.

    `random_best` is the highest faithfulness of the random circuits of the same size: a circuit
    that does not beat them was not found, it was guessed.
    """
    share = n_edges / n_edges_in_graph
    checks = (
        at_least("faithfulness", faithfulness, thresholds.min_faithfulness),
        at_least("faithfulness above the best random circuit", faithfulness, random_best),
        at_most("share of edges", Estimate(share, share, share, 1), thresholds.max_edge_share),
    )
    outcomes = {check.outcome for check in checks}
    if REFUTED in outcomes:
        outcome = REFUTED
    else:
        outcome = SUPPORTED if outcomes == {SUPPORTED} else UNDECIDED
    return Verdict(outcome, _sentence(outcome, checks, n_edges, share), checks)


def _sentence(outcome: str, checks: tuple[Check, ...], n_edges: int, share: float) -> str:
    value = checks[0].value
    facts = (
        f"{n_edges} edges ({share:.1%} of the graph) keep {value.value:.0%} of the behaviour "
        f"(95 % interval {value.low:.0%} to {value.high:.0%}, {value.n} held-out pairs)"
    )
    if outcome == SUPPORTED:
        return f"Supported: {facts}, as required."
    failed = [c for c in checks if c.outcome == outcome]
    reasons = "; ".join(f"{c.criterion} must be {c.rule}" for c in failed)
    word = "Refuted" if outcome == REFUTED else "Undecided"
    verb = "fails" if outcome == REFUTED else "cannot be told from failing"
    return f"{word}: {facts}, which {verb}: {reasons}."
