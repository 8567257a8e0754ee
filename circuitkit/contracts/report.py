"""Results for other programs: JUnit XML, Markdown, GitHub's workflow commands, and JSON.

What stands in a contract is a stranger's text: it is escaped for each of them.
"""

import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree

from circuitkit.contracts.check import (
    BROKEN,
    HOLDS,
    NOT_JUDGED,
    ContractResult,
    ItemResult,
    outcome_of_contracts,
)
from circuitkit.contracts.wording import value_of

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
JUNIT = {BROKEN: "failure", NOT_JUDGED: "error"}


def summary_line(results: Sequence[ContractResult]) -> str:
    """Return how many requirements hold, are broken, and could not be judged."""
    counts = Counter(item.outcome for result in results for item in result.items)
    return f"{counts[HOLDS]} hold, {counts[BROKEN]} broken, {counts[NOT_JUDGED]} {NOT_JUDGED}"


def junit_xml(results: Sequence[ContractResult]) -> str:
    """Return a JUnit file: a suite for each contract, a case for each criterion.

    Broken is a failure; what could not be judged is an error, never skipped.
    """
    root = ElementTree.Element("testsuites", _counts(results))
    for result in results:
        suite = ElementTree.SubElement(root, "testsuite", _counts([result]), name=_xml(result.name))
        for item in result.items:
            attributes = {"classname": _xml(result.name), "name": _xml(item.criterion)}
            case = ElementTree.SubElement(suite, "testcase", attributes, time=f"{item.seconds:.3f}")
            if item.outcome in JUNIT:
                short = {"message": f"{item.criterion}: {item.outcome}", "type": item.outcome}
                ElementTree.SubElement(case, JUNIT[item.outcome], short).text = _xml(item.message)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def markdown(results: Sequence[ContractResult]) -> str:
    """Return a page for a job summary: the table, then what does not hold."""
    rows = [(result, item) for result in results for item in result.items]
    lines = [
        f"## Circuit contracts: {outcome_of_contracts(results)}",
        "",
        f"{summary_line(results)}.",
        "",
        "| contract | criterion | value [95 % interval] | must be | outcome |",
        "|---|---|---|---|---|",
        *(_row(result, item) for result, item in rows),
        "",
        *(f"- **{_cell(item.outcome)}**: {_cell(item.message)}" for _, item in _amiss(results)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def annotations(results: Sequence[ContractResult]) -> list[str]:
    """Return a GitHub workflow command for each requirement that does not hold."""
    return [
        f"::error file={_property(str(result.contract.config))},"
        f"title={_property(f'{result.name}: {item.criterion} {item.outcome}')}"
        f"::{_data(item.message)}"
        for result, item in _amiss(results)
    ]


def to_json(results: Sequence[ContractResult]) -> dict[str, Any]:
    """Return the results as data: values with their intervals, bounds and messages."""
    return {
        "outcome": outcome_of_contracts(results),
        "contracts": [
            {
                "name": result.name,
                "circuit": str(result.contract.circuit),
                "items": [_item_json(item) for item in result.items],
            }
            for result in results
        ],
    }


def _amiss(results: Sequence[ContractResult]) -> list[tuple[ContractResult, ItemResult]]:
    rows = [(result, item) for result in results for item in result.items]
    return [(result, item) for result, item in rows if item.outcome != HOLDS]


def _item_json(item: ItemResult) -> dict[str, Any]:
    data: dict[str, Any] = {
        "criterion": item.criterion,
        "outcome": item.outcome,
        "message": item.message,
    }
    if item.check is not None:
        data |= {"must_be": item.check.rule, "note": item.check.note, "p": item.check.p}
        if item.check.value is not None:
            value = item.check.value
            data |= {"value": value.value, "low": value.low, "high": value.high, "n": value.n}
    return data


def _counts(results: Sequence[ContractResult]) -> dict[str, str]:
    items = [item for result in results for item in result.items]
    counts = Counter(item.outcome for item in items)
    return {
        "tests": str(len(items)),
        "failures": str(counts[BROKEN]),
        "errors": str(counts[NOT_JUDGED]),
        "skipped": "0",
        "time": f"{sum(item.seconds for item in items):.3f}",
    }


def _row(result: ContractResult, item: ItemResult) -> str:
    check = item.check
    value, rule = ("not measured", "") if check is None else (value_of(check), check.rule)
    cells = (result.name, item.criterion, value, rule, item.outcome)
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    plain = escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]|~#!@])", r"\\\1", plain)


def _xml(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return NOT_XML.sub("\ufffd", text)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
