"""The Markdown report and the files that are written."""

import re
from dataclasses import replace

import pytest

from circuitkit.errors import OutputError
from circuitkit.reporting.content import checks_table, curve_table, edges_table, heat_map_files
from circuitkit.reporting.html import report_html
from circuitkit.reporting.markdown import escaped, report_markdown
from circuitkit.reporting.story.sentence import story_of
from circuitkit.reporting.story.verdict import plain_verdict
from circuitkit.reporting.write import write_report


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables(text):
    """Return each table of a Markdown text as a list of rows of cells, without its rule."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[cells(line) for line in block.splitlines() if "---" not in line] for block in blocks]


@pytest.mark.parametrize(("name", "n_tables"), [("record", 11), ("interpreted", 16)])
def test_tables_have_as_many_cells_in_each_row_as_in_the_header(request, name, n_tables):
    found = tables(report_markdown(request.getfixturevalue(name)))
    assert len(found) == n_tables
    for rows in found:
        assert len({len(row) for row in rows}) == 1


def test_checks_curve_and_edges_are_complete(record):
    found = tables(report_markdown(record))
    for table in (checks_table(record), curve_table(record)):
        assert [[escaped(cell) for cell in row] for row in table.rows] in [t[1:] for t in found]
    text = report_markdown(record)
    for _, name, score, _ in edges_table(record).rows:
        assert f"| `{name}` | {score} |" in text


@pytest.mark.parametrize("name", ["record", "interpreted"])
def test_prompts_and_tokens_become_neither_html_nor_markup(request, name):
    text = report_markdown(request.getfixturevalue(name))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert r"\`Bob\`" in text
    assert r"a\|b\`" in text
    assert set(re.findall(r"<[^>]*>", re.sub(r"(?<!\\)`[^`]*`", "", text))) == {"<ins>", "</ins>"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("`x`", r"\`x\`"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("[a](http://x)", r"\[a\](http:&#47;&#47;x)"),
        ("line\nbreak", "line break"),
        ("*_#\\", r"\*\_\#\\"),
    ],
)
def test_escaping_takes_away_the_meaning_of_marks(text, shown):
    assert escaped(text) == shown


def test_the_story_and_the_verdict_come_first_in_words(record, interpreted):
    for each in (record, interpreted):
        text = report_markdown(each)
        first, sure = text.split("\n## ")[:2]
        story, plain = story_of(each), plain_verdict(each)
        assert first.split("\n\n")[2] == escaped(story.sentence)
        for words in (each.validation.verdict.outcome, plain.says, plain.caveat, plain.change):
            assert escaped(words) in first
        assert sure.startswith("How sure\n")
        assert escaped(each.validation.verdict.sentence) in sure


def test_the_command_is_fenced_even_if_it_holds_a_fence(record):
    hostile = replace(record, info=replace(record.info, command="echo '```'\nrm"))
    assert "````sh\necho '```'\nrm\n````" in report_markdown(hostile)


def test_two_calls_give_the_same_text(record):
    assert report_markdown(record) == report_markdown(record)


def test_every_picture_that_the_markdown_shows_is_written(record, tmp_path):
    written = write_report(record, tmp_path, ["md"])
    shown = re.findall(r"!\[.*?\]\((.*?)\)", (tmp_path / "report.md").read_text())
    assert shown == [
        "story.svg",
        "circuit.svg",
        "heatmap-resid.svg",
        "heatmap-heads.svg",
        "curve.svg",
    ]
    assert set(shown) <= {path.name for path in written}


def test_the_interpretation_is_told_with_its_pictures(interpreted, tmp_path):
    written = write_report(interpreted, tmp_path, ["md"])
    text = (tmp_path / "report.md").read_text()
    shown = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert {"groups.svg", "sweep-direct-attribution.svg"} <= set(shown)
    assert set(shown) <= {path.name for path in written}
    for card in interpreted.interpretation.cards:
        assert f"| `{card.component}` | {card.group} |" in text
    assert "previous token" in text
    assert "copies names" not in text  # not claimed
    assert "Roles of MLPs were not tried &lt;here&gt;." in text
    assert "used here" in text
    assert "<svg" in (tmp_path / "groups.svg").read_text()


def test_only_what_is_asked_for_is_written_and_all_of_it_is_returned(record, tmp_path):
    written = write_report(record, tmp_path / "new", ["png", "html"])
    assert [path.name for path in written] == ["circuit.dot", "report.html", "circuit.png"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {path.name for path in written}
    assert (tmp_path / "new" / "circuit.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_format_is_refused_before_anything_is_written(record, tmp_path):
    with pytest.raises(OutputError, match="html, md, svg, png, pdf, got docx"):
        write_report(record, tmp_path / "new", ["html", "docx"])
    assert not (tmp_path / "new").exists()


def test_a_place_that_cannot_be_written_is_refused(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"):
        write_report(record, tmp_path / "file", ["md"])


def test_heat_map_files_are_safe_and_all_different(heat_map):
    sites = [replace(heat_map, name=name) for name in ("../up", "resid", "resid", "a b")]
    names = heat_map_files(sites)
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"heatmap-[A-Za-z0-9_-]+\.svg", name) for name in names)


def test_a_report_of_a_call_from_python_says_so_in_place_of_an_empty_box(record):
    called = replace(record, info=replace(record.info, command=""))
    said = "Made by a call from Python: no command was typed that gives it again."
    assert said in report_markdown(called)
    assert "```\n\n```" not in report_markdown(called)
    page = report_html(called)
    assert said in page
    assert "<pre><code></code></pre>" not in page
    assert said not in report_markdown(record) + report_html(record)
