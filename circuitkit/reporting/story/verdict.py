"""The verdict in plain words: what it is, its strongest caveat, and what would change it.

The caveat is the gravest of: another ablation, other wordings, another circuit, the model's own
word, overshoot. Numbers are rounded to what their interval knows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from circuitkit.reporting.values import interval, rounded
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.next_steps import Step, next_steps
from circuitkit.study.records import RunRecord
from circuitkit.validation.questions import QUESTIONS
from circuitkit.validation.verdict import REFUTED, SUPPORTED, UNDECIDED, Check, Verdict

DECIDING = re.compile(r"about ([\d,]+) pairs would decide")
SPECIFIC = 0.8  # share of prompts with the model's own word, and of edges that are found again


@dataclass(frozen=True)
class PlainVerdict:
    """What the first screen says of the verdict, and what would settle it if it is not good."""

    outcome: str
    says: str
    caveats: tuple[str, ...]
    change: str
    steps: tuple[Step, ...]

    @property
    def caveat(self) -> str:
        """The strongest caveat."""
        return self.caveats[0] if self.caveats else ""


def plain_verdict(record: RunRecord) -> PlainVerdict:
    """Return the verdict as it is told on the first screen."""
    verdict = record.validation.verdict
    return PlainVerdict(
        verdict.outcome,
        " ".join(filter(None, (_kept(record), _answered(verdict)))),
        tuple(says for _, says in sorted(_caveats(record), key=lambda each: -each[0])),
        _change(verdict),
        next_steps(record),
    )


def percent(estimate: Estimate) -> str:
    """Return a share and its interval: `110% (103 to 119)`."""
    value, low, high = (round(100 * each) for each in (estimate.value, estimate.low, estimate.high))
    return f"{value}% ({low} to {high})"


def _kept(record: RunRecord) -> str:
    own = _faithfulness(record)
    n, of = record.circuit.n_edges, record.graph.n_edges
    if own is None:
        return ""
    prompts = f"on {own.n} prompts that did not find it" if own.n > 1 else ""
    return (
        f"With all else replaced ({record.info.ablation} ablation), {n:,} of {of:,} edges keep "
        f"{percent(own)} of what the model does {prompts}".strip()
        + "."
    )


def _faithfulness(record: RunRecord) -> Estimate | None:
    own = [e for e in record.validation.faithfulness if e.ablation == record.info.ablation]
    return own[0].value if own else None


def _answered(verdict: Verdict) -> str:
    """Return how the questions were answered, those first that were not answered well."""
    asked = [each for each in verdict.questions if each.outcome in (SUPPORTED, REFUTED, UNDECIDED)]
    if not asked:
        return ""
    good = sum(each.outcome == SUPPORTED for each in asked)
    if good == len(asked):
        return f"All {good} questions are answered in its favour."
    wrong = [QUESTIONS[each.question].refuted for each in asked if each.outcome == REFUTED]
    unsure = [QUESTIONS[each.question].undecided for each in asked if each.outcome == UNDECIDED]
    says = "; ".join([*wrong, *unsure])
    tail = f" {good} of {len(asked)} questions are answered in its favour."
    return f"{says[:1].upper()}{says[1:]}.{tail}"


def _caveats(record: RunRecord) -> Iterator[tuple[float, str]]:
    """Yield the caveats with how grave each is."""
    yield from _of_ablations(record)
    yield from _of_wordings(record)
    checks = {c.criterion: c for c in record.validation.verdict.checks if c.value is not None}
    for name, says in (
        ("shuffled", "A circuit found with the answers exchanged does as well"),
        ("stability", "Found again on other samples, circuits share {} of its edges"),
        ("agreement", "It gives the model's own most likely word on {} of the prompts"),
    ):
        check = checks.get(name)
        if check is None or check.value is None:
            continue
        if name == "shuffled" and check.value.low <= 0:
            yield 1.1, f"{says}: which answer is right was not needed to find it."
        elif name != "shuffled" and check.value.low < SPECIFIC:
            grave = 1.0 + (SPECIFIC - check.value.low)
            yield grave, f"{says.format(percent(check.value))}."
    own = _faithfulness(record)
    if own is not None and own.low > 1:
        yield (
            1.5,
            f"It keeps more than all, {percent(own)}: something outside it works against the "
            "answer and is left out.",
        )


def _of_ablations(record: RunRecord) -> Iterator[tuple[float, str]]:
    own, least = _faithfulness(record), record.validation.thresholds.min_faithfulness
    others = [e for e in record.validation.faithfulness if e.ablation != record.info.ablation]
    if own is None or not others:
        yield 0.5, "It was tried under one ablation only."
        return
    lowest = min(others, key=lambda each: each.value.value)
    if lowest.value.low < least:
        fails = lowest.value.high < least
        yield (
            (4.0 if fails else 2.5),
            f"Under {lowest.ablation} ablation it keeps {percent(lowest.value)} instead: "
            "how much depends on what stands in for the rest.",
        )


def _of_wordings(record: RunRecord) -> Iterator[tuple[float, str]]:
    check = next((c for c in record.validation.verdict.checks if c.criterion == "hold-out"), None)
    if check is None or check.value is None:
        yield 1.2, "It was not tried on other wordings."
    elif check.outcome != SUPPORTED and check.is_judged:
        yield 3.0, f"On other prompts, wordings or answers it keeps only {percent(check.value)}."
    elif "wordings" not in check.note:
        yield 0.8, "It was not tried on other wordings, as the task has but these."


def _change(verdict: Verdict) -> str:
    """Return what would change the verdict."""
    judged = [check for check in verdict.checks if check.is_judged and check.value is not None]
    if verdict.outcome == SUPPORTED and judged:
        nearest = min(judged, key=_margin)
        return (
            f"Any check that fails would refute it. The nearest to its limit: {_measured(nearest)}."
        )
    wanted = [check for check in judged if check.outcome == verdict.outcome]
    if not wanted:
        return "A check with a limit that can be measured."
    first = wanted[0]
    found = DECIDING.search(first.note)
    if verdict.outcome == UNDECIDED:
        more = f" About {found[1]} pairs would decide." if found else ""
        return f"An answer to what is open: {_measured(first)}.{more}"
    return f"A circuit that passes where this one fails: {_measured(first)}."


def _measured(check: Check) -> str:
    assert check.value is not None
    value = f"{rounded(check.value)} {interval(check.value)}" if check.value.n > 1 else check.got
    return f"{check.measures or check.criterion} is {value}, and must be {check.bound.rule}"


def _margin(check: Check) -> float:
    """Return how far the nearer end of an interval is from its limit, in units of the limit."""
    assert check.value is not None
    low, high = check.value.low, check.value.high
    room = []
    if check.bound.min is not None:
        room.append((low - check.bound.min) / (abs(check.bound.min) or 1.0))
    if check.bound.max is not None:
        room.append((check.bound.max - high) / (abs(check.bound.max) or 1.0))
    inside = [each for each in room if each >= 0]
    return min(inside, default=float("inf"))
