"""The questions of the verdict, each with its answer and the checks behind it."""

from dataclasses import dataclass

from circuitkit.reporting.content import checks_table
from circuitkit.reporting.values import EXACT, NONE, TableText, marked
from circuitkit.study.records import RunRecord
from circuitkit.validation.judge import questioned
from circuitkit.validation.questions import QUESTIONS
from circuitkit.validation.verdict import REFUTED, SUPPORTED, UNDECIDED

HEADERS = ("criterion", "outcome", "rule", "value [95 % interval]", "n", "p", "what it says")


@dataclass(frozen=True)
class Asked:
    """One question: its answer in a word and in a clause, and a row for each check."""

    asks: str
    outcome: str
    says: str
    table: TableText


def asked_of(record: RunRecord) -> tuple[Asked, ...]:
    """Return the questions in the order in which they are asked."""
    whole = checks_table(record)
    found = []
    for answer in questioned(record.validation.verdict).questions:
        rows = tuple(
            (criterion, outcome, rule, _value(value, between), n, p, says)
            for criterion, asks, outcome, rule, value, between, n, p, says in whole.rows
            if asks == answer.asks
        )
        question = QUESTIONS[answer.question]
        says = {
            SUPPORTED: question.supported,
            REFUTED: question.refuted,
            UNDECIDED: question.undecided,
        }.get(answer.outcome, "")
        table = TableText(HEADERS, rows, frozenset({"n", "p"}))
        found.append(Asked(answer.asks, marked(answer.outcome), says, table))
    return tuple(found)


def _value(value: str, between: str) -> str:
    return value if between in (NONE, EXACT) else f"{value} {between}"
