"""A finding that no writer has heard of is shown by all of them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from circuitkit.errors import CriterionError
from circuitkit.interpretation import interpret, sections
from circuitkit.interpretation.file import load_interpretation, save_interpretation
from circuitkit.interpretation.section import Bars, Box, Column, Diagram, HeatMap, Section, Table
from circuitkit.interpretation.sections import sections_of
from circuitkit.reporting.html import report_html
from circuitkit.reporting.markdown import escaped, report_markdown
from circuitkit.reporting.sections import cell_text, picture_files, picture_table
from circuitkit.reporting.write import write_report
from circuitkit.study.records import load_record
from circuitkit.validation.criterion import Case
from circuitkit.work.progress import silent
from tests.interpretation.test_section import PICTURES

from .conftest import SCRIPT, near

ROOT = Path(__file__).parents[2]
COMMITTED = sorted(path.parent for path in ROOT.glob("reports/*/interpretation.json"))


COLUMNS = (Column("head", "code"), Column("luck", "signed"))


def horoscope(case, progress=silent):
    """A made-up finding: all that a new one has to bring, beside its line in a table."""
    return Section(
        "horoscope",
        "Horoscope of heads",
        "Stars above zero are lucky.",
        (f"Jupiter shines on a0.h2 {SCRIPT}.",),
        (Table("Stars", COLUMNS, (("a0.h2", near(1.25)),)),),
        PICTURES,
        ("Saturn was not asked.",),
    )


def too_cloudy(case, progress=silent):
    raise CriterionError("clouds: must be away, got many.")


@pytest.fixture
def told(interpreted, monkeypatch):
    """The record as if the finding had been measured with the others of one table."""
    measured = {"Horoscope of heads": horoscope, "Comets": too_cloudy}
    monkeypatch.setattr(interpret, "MEASURED", measured)
    notes = []
    nothing = object.__new__(Case)  # which these findings do not look at
    found = interpret._sections(nothing, notes, lambda title: silent)
    assert notes == ["Comets: left out. clouds: must be away, got many."]
    return replace(interpreted, interpretation=replace(interpreted.interpretation, sections=found))


WORDS = ("Horoscope of heads", "Stars above zero are lucky.", "Jupiter shines", "Saturn was not")


def test_a_made_up_finding_is_in_the_page_with_its_pictures(told):
    html = report_html(told)
    [shown] = re.findall(r'<section id="finding-horoscope">.*?</section>', html, re.DOTALL)
    assert '<a href="#finding-horoscope">Horoscope of heads</a>' in html
    assert all(word in shown for word in (*WORDS, "<code>a0.h2</code>", "+1.25 [1.19, 1.31]"))
    assert shown.count("<svg") == len(PICTURES)
    assert 'data-node="movers"' in shown
    assert "<script" not in shown


def test_a_made_up_finding_is_in_the_markdown_and_its_pictures_beside_it(told, tmp_path):
    written = {path.name for path in write_report(told, tmp_path, ["md"])}
    text = (tmp_path / "report.md").read_text()
    assert all(word in text for word in (*WORDS, "| `a0.h2` | +1.25"))
    files = ["sweep-map.svg", "bars-bars.svg", "lines-lines.svg", "boxes.svg"]
    assert re.findall(r"\]\((.*?)\)", text.partition("## Horoscope")[2])[:4] == files
    assert set(files) <= written
    assert "<script" not in text


def test_a_made_up_finding_is_in_the_json_and_comes_back(told, tmp_path):
    save_interpretation(told.interpretation, tmp_path)
    data = json.loads((tmp_path / "interpretation.json").read_text())
    assert data["sections"][0]["title"] == "Horoscope of heads"
    assert load_interpretation(tmp_path) == told.interpretation


def test_a_made_up_finding_shows_itself_in_a_notebook(told):
    for shown in (told.interpretation, told.interpretation.sections[0]):
        html = shown._repr_html_()
        assert all(word in html for word in (*WORDS, "<td>+1.25 [1.19, 1.31]</td>"))
        assert "<script" not in html
    assert told.interpretation.sections[0]._repr_html_().count("<svg") == len(PICTURES)
    assert "<svg" in told.interpretation.sections[0]._repr_svg_()


def test_keys_of_findings_differ(interpreted):
    keys = [section.key for section in sections_of(interpreted.interpretation)]
    assert len(set(keys)) == len(keys)
    assert len(sections.MEASURED) == 3


@pytest.mark.skipif(not COMMITTED, reason="the reports are not in this checkout")
@pytest.mark.parametrize("directory", COMMITTED, ids=lambda path: path.name)
def test_reports_of_the_first_schema_are_told_with_all_that_they_hold(directory):
    data = json.loads((directory / "interpretation.json").read_text())
    if data["schema"] != 1:
        pytest.skip("made anew since")
    record = load_record(directory)
    text = report_markdown(record)
    maps = [p for s in record.interpretation.sections for p in s.pictures]
    assert [(each.name, each.whole) for each in maps] == [
        (each["name"], each["whole"]) for each in data["sweeps"]
    ]
    for heat_map, each in zip(maps, data["sweeps"], strict=True):
        assert heat_map.values == tuple(map(tuple, each["values"]))
        assert escaped(each["says"]) in text
    for row in data["directions"]:
        assert f"| {escaped(row['place'])} |" in text
        assert row["says"] in text
    patched = json.loads((directory / "patching.json").read_text())
    assert [heat_map.name for heat_map in record.heat_maps] == [
        each.get("site") or each["name"] for each in patched
    ]


def test_no_picture_of_a_finding_takes_the_place_of_another_file():
    diagrams = tuple(Diagram(name, "", (Box("b"),), ()) for name in ("circuit", "../x", "a", "a"))
    heat_map = replace(PICTURES[0], name="a")
    files = picture_files([Section("s", "S", "", pictures=(*diagrams, heat_map))])
    assert len(files) == 5
    assert "circuit.svg" not in files
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+\.svg", name) for name in files)
    assert files["sweep-a.svg"] is heat_map


@pytest.mark.parametrize(
    ("cell", "style", "text"),
    [
        (None, "number", "–"),
        (" a\n", "token", "␣a↵"),
        (" a", "text", " a"),
        (1234, "number", "1,234"),
        (0.5, "number", "0.500"),
        (0.5, "signed", "+0.500"),
        (near(0.5), "text", "0.50 [0.44, 0.56]"),
        (near(0.5), "signed", "+0.50 [0.44, 0.56]"),
    ],
)
def test_a_cell_is_shown_by_what_it_is_and_by_the_style_of_its_column(cell, style, text):
    assert cell_text(cell, style) == text


@pytest.mark.parametrize("picture", PICTURES, ids=lambda each: each.kind)
def test_every_picture_is_drawn_and_its_numbers_are_told(picture):
    svg, table = picture._repr_svg_(), picture_table(picture)
    assert "<svg" in svg
    if not isinstance(picture, Diagram):
        assert picture.description in svg
    told = " ".join(" ".join(row) for row in table.rows)
    assert ("2.000" if isinstance(picture, HeatMap) else "0.50 [0.25, 0.75]") in told


def test_a_bar_against_the_behaviour_has_another_colour_than_one_for_it():
    both = Bars("b", "", "logits", ("for", "against"), (near(1.0), near(-1.0)))
    fills = set(re.findall("fill: (#[0-9a-f]{6})", both._repr_svg_()))
    assert {"#0072b2", "#d55e00"} <= fills
