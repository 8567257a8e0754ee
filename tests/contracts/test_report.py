import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from circuitkit.contracts.check import BROKEN, HOLDS, NOT_JUDGED, ContractResult, ItemResult
from circuitkit.contracts.contract import Contract
from circuitkit.contracts.report import annotations, junit_xml, markdown, to_json
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.validation.verdict import Finding, check_of

HOSTILE = (
    "a|b <b>&\"'</failure> ]]> 100% :: , `x` *y* [z](u)\r\n::error::line\x00\x1b\ufffe\U0001f600"
)


@pytest.fixture
def results():
    """One requirement of each outcome, the words of the broken one a stranger's."""
    check = check_of("kl", Finding(Estimate(0.9, 0.8, 1.0, 40), "why"), Bound(max=0.5))
    items = (
        ItemResult("edges", HOLDS, "fine", None, 0.5),
        ItemResult("kl", BROKEN, f"kl: {HOSTILE}", check, 0.25),
        ItemResult("faithfulness", NOT_JUDGED, "no file", None, 0.0),
    )
    contract = Contract(Path("a,b:c%/pyproject.toml"), HOSTILE, Path("circuit.json"))
    return [ContractResult(contract, items)]


def test_junit_counts_failures_and_errors_and_skips_nothing(results):
    root = ElementTree.fromstring(junit_xml(results).encode())
    for counted in (root, root[0]):
        assert [counted.get(key) for key in ("tests", "failures", "errors", "skipped")] == [
            "3", "1", "1", "0",
        ]  # fmt: skip
    cases = root.findall("testsuite/testcase")
    assert [case.get("name") for case in cases] == ["edges", "kl", "faithfulness"]
    assert [[child.tag for child in case] for case in cases] == [[], ["failure"], ["error"]]
    assert root.find(".//skipped") is None
    assert cases[0].get("time") == "0.500"


def test_junit_holds_a_strangers_text_without_what_xml_cannot_hold(results):
    text = junit_xml(results)
    failure = ElementTree.fromstring(text.encode()).find(".//failure")
    kept = HOSTILE.replace("\x00", "\ufffd").replace("\x1b", "\ufffd").replace("\ufffe", "\ufffd")
    assert failure.text.splitlines() == f"kl: {kept}".splitlines()
    assert not re.search("[\x00\x1b\ufffe]", text)


def test_annotations_are_one_line_each_and_escaped(results):
    lines = annotations(results)
    assert len(lines) == 2  # what holds is not annotated
    for line in lines:
        assert "\n" not in line
        assert "\r" not in line
        assert line.startswith("::error file=a%2Cb%3Ac%25/pyproject.toml,title=a|b <b>")
    properties, _, data = lines[0].removeprefix("::error ").partition("::")
    assert properties.count(",") == 1
    assert "100%25 %3A%3A %2C" in properties
    assert properties.endswith("kl broken")
    assert data.startswith("kl: a|b")
    assert "100%25 :: ," in data
    assert "%0D%0A::error::line" in data


def test_the_summary_is_a_table_whose_cells_stay_cells(results):
    page = markdown(results)
    assert page.startswith(
        "## Circuit contracts: broken\n\n1 hold, 1 broken, 1 could not be judged"
    )
    rows = [line for line in page.splitlines() if line.startswith("| a")]
    assert len(rows) == 3
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 6
        assert "<b>" not in row
    assert r"0.9 \[0.8, 1\], n = 40 | at most 0.5 | broken" in rows[1]
    assert "- **could not be judged**: no file" in page
    assert "fine" not in page


def test_json_has_the_values_and_the_bounds(results):
    data = to_json(results)
    assert data["outcome"] == BROKEN
    edges, kl, faithfulness = data["contracts"][0]["items"]
    assert (kl["value"], kl["low"], kl["high"], kl["n"]) == (0.9, 0.8, 1.0, 40)
    assert (kl["must_be"], kl["note"]) == ("at most 0.5", "why")
    assert "value" not in faithfulness
    assert edges["outcome"] == HOLDS
