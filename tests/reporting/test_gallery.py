"""The index of runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from circuitkit.cli.app import app
from circuitkit.errors import CircuitFileError
from circuitkit.reporting.gallery import MARKDOWN, PAGE, write_gallery
from circuitkit.reporting.values import interval, rounded
from circuitkit.reporting.write import write_report
from circuitkit.study.records import load_record, save_record

from .conftest import SCRIPT

COMMITTED = Path(__file__).parents[2] / "reports"


@pytest.fixture(scope="module")
def folder(record, interpreted, tmp_path_factory):
    """Two runs, one of them interpreted and with hostile names, and things that are no runs."""
    folder = tmp_path_factory.mktemp("runs")
    hostile = replace(interpreted.info, model=SCRIPT, description=f"[x](y) {SCRIPT}")
    hostile_record = replace(interpreted, info=hostile)
    for name, each in (("plain", record), ("a run #2", hostile_record)):
        save_record(each, folder / name)
        write_report(each, folder / name, ("html", "md"))
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("nothing")
    write_gallery(folder)
    return folder


def test_the_page_shows_every_run_and_leads_to_its_report(folder, browser, record, interpreted):
    wrong = []
    page = browser.new_page()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.goto((folder / PAGE).as_uri())
    boxes = page.locator(".gallery > li")
    texts = [" ".join(text.split()) for text in boxes.all_inner_texts()]
    assert len(texts) == 2  # in the order of their directories
    kept = record.validation.verdict.check("faithfulness").value
    for text in texts:
        assert f"faithfulness {rounded(kept)} {interval(kept)}" in text
        assert f"6 of {record.graph.n_edges} edges" in text
        assert record.validation.verdict.outcome in text
        assert record.info.command in text
    assert SCRIPT in texts[0]
    groups = interpreted.interpretation.groups
    assert ", ".join(f"{group.name} ({len(group.components)})" for group in groups) in texts[0]
    assert "Parts:" not in texts[1]
    assert boxes.nth(0).locator("svg").count() == boxes.nth(1).locator("svg").count() == 1
    assert "name movers" in boxes.nth(0).locator("svg").inner_html()
    assert "a1.h0" in boxes.nth(1).locator("svg").inner_html()
    boxes.nth(0).locator("h2 a").click()
    assert page.locator("h1").inner_text() == f"Circuit report: toy in {SCRIPT}"
    assert wrong == []
    page.close()


def test_ids_of_the_pictures_do_not_meet(folder, browser):
    page = browser.new_page()
    page.goto((folder / PAGE).as_uri())
    ids = page.locator("[id]").evaluate_all("shapes => shapes.map(shape => shape.id)")
    assert len(ids) == len(set(ids)) > 10
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_no_wider_than_the_window(folder, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto((folder / PAGE).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_markdown_says_the_same_and_its_pictures_are_there(folder, record):
    text = (folder / MARKDOWN).read_text()
    assert "<script" not in text
    assert "](plain/report.md)" in text
    assert "](a%20run%20%232/report.md)" in text
    assert "![toy in tiny](plain/circuit.svg)" in text
    assert (folder / "a run #2" / "groups.svg").exists()
    assert "](a%20run%20%232/groups.svg)" in text
    kept = record.validation.verdict.check("faithfulness").value
    assert text.count(f"faithfulness {rounded(kept)}") == 2


def test_the_command_says_what_it_wrote(folder):
    done = CliRunner().invoke(app, ["gallery", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == [str(folder / PAGE), str(folder / MARKDOWN)]


def test_a_folder_without_runs_and_a_damaged_run_are_refused(record, tmp_path):
    with pytest.raises(CircuitFileError, match="must hold run directories"):
        write_gallery(tmp_path)
    with pytest.raises(CircuitFileError, match="must hold run directories"):
        write_gallery(tmp_path / "nowhere")
    save_record(record, tmp_path / "run")
    (tmp_path / "run" / "validation.json").write_text("{}")
    done = CliRunner().invoke(app, ["gallery", str(tmp_path)])
    assert done.exit_code == 2
    assert "validation file" in done.output
    assert not (tmp_path / PAGE).exists()


def test_the_gallery_of_this_repository_is_of_this_version(tmp_path):
    runs = sorted(path.parent for path in COMMITTED.glob("*/run.toml"))
    assert len(runs) >= 6
    for run in runs:
        (tmp_path / run.name).symlink_to(run)
        found = load_record(run).interpretation
        assert found is not None
        assert (run / "report.html").stat().st_size < 3_000_000
    write_gallery(tmp_path)  # the page holds pictures, which another Graphviz draws otherwise
    assert (COMMITTED / PAGE).exists()
    assert (COMMITTED / MARKDOWN).read_text() == (tmp_path / MARKDOWN).read_text(), "make it again"
