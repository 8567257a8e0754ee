"""report.pdf: printed where there is a Chromium, a sentence where there is none."""

import re

import pytest

from circuitkit.errors import PictureError, PictureWarning
from circuitkit.reporting import paper
from circuitkit.reporting.html import report_html
from circuitkit.reporting.paper import printed
from circuitkit.reporting.write import write_report


def n_pages(data):
    return len(re.findall(rb"/Type\s*/Page\b", data))


def test_the_report_is_printed_on_at_most_eight_pages(browser, interpreted, tmp_path):
    written = {path.name: path for path in write_report(interpreted, tmp_path, ["pdf"])}
    assert {"circuit.pdf", "report.pdf"} <= set(written)
    data = written["report.pdf"].read_bytes()
    assert data.startswith(b"%PDF")
    assert 2 <= n_pages(data) <= 8


def test_without_a_chromium_a_sentence_says_that_the_paper_is_missing(
    record, tmp_path, monkeypatch
):
    monkeypatch.setattr(paper, "browser_program", lambda: None)
    with pytest.warns(PictureWarning, match="there is no Chromium to print report.pdf with"):
        written = write_report(record, tmp_path, ["pdf"])
    assert [path.name for path in written] == ["circuit.dot", "circuit.pdf"]


def test_a_chromium_that_prints_nothing_is_said_to(record, monkeypatch, tmp_path):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(paper, "browser_program", lambda: str(broken))
    with pytest.raises(PictureError, match="Chromium printed nothing: exit code 3"):
        printed(report_html(record))
