"""The HTML report, read back by an HTML parser."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.recipe import Recipe, Selection
from circuitkit.reporting.content import (
    caption_of,
    checks_table,
    component_list,
    counts_table,
    edges_table,
    provenance_table,
    questions_table,
    title_of,
    verdict_sentences,
)
from circuitkit.reporting.explorer import page_script, safe_json, source_hash, tagged_svg
from circuitkit.reporting.html import inline_svg, report_html
from circuitkit.reporting.markdown import report_markdown
from circuitkit.reporting.values import interval, number, rounded, signed_rounded
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.validation.judge import with_question
from circuitkit.validation.verdict import Finding, Verdict, check_of, reach_verdict

from .conftest import SCORES
from .interpretations import direction_row, interpretation_of

VOID = {"meta", "link", "img", "br", "hr", "input", "source"}


class Page(HTMLParser):
    """Collects tags, attributes, ids and the text of a page, and checks that tags nest."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(" ".join(data.split()))

    @property
    def text(self):
        return " ".join(self.texts)

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="module", params=["record", "interpreted"])
def html(request):
    return report_html(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_loads_nothing_from_anywhere(page):
    assert not set(page.tags) & {"link", "iframe", "object", "embed", "img", "base"}
    loads = [
        v for k, v in page.attributes if k.endswith(("src", "href")) or k in ("data", "action")
    ]
    assert loads
    assert all(value.startswith(("#", "data:image/png;base64")) for value in loads)


def test_styles_load_nothing_from_anywhere(html):
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert len(styles) > 1000
    assert "@import" not in styles
    assert "url(" not in styles


def test_hostile_prompts_and_tokens_are_shown_and_not_run(html, page):
    assert re.findall("<script[^>]*>", html) == [
        '<script type="application/json" id="data">',
        "<script>",
    ]
    assert page.text.count("<script>alert(1)</script>") >= 3
    assert not any(name.startswith("on") for name, _ in page.attributes)


def test_the_page_allows_its_one_script_and_nothing_else(html, page):
    policy = next(v for v in page.values("content") if "default-src" in v)
    script = re.search("<script>(.*?)</script>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        f"script-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert source_hash(page_script()) == f"'sha256-{digest}'"


def test_the_script_reads_no_markup_and_asks_for_nothing():
    script = page_script()
    for word in ("innerHTML", "insertAdjacent", "document.write", "eval(", "fetch(", "XMLHttp"):
        assert word not in script
    assert "</" not in script


def test_json_in_the_page_holds_nothing_that_html_reads():
    data = {"a": "</script><!-- & \u2028\u2029 ␣", "b": [1, 0.5, None]}
    text = safe_json(data)
    assert not set("<>&") & set(text)
    assert text.isascii()
    assert json.loads(text) == data


def test_the_page_of_pico_stays_far_below_three_megabytes(interpreted):
    record = replace(interpreted, interpretation=interpretation_of(interpreted, n_prompts=8))
    assert len(report_html(record).encode()) < 1_000_000


def test_every_number_of_the_verdict_is_shown(record, page):
    assert record.validation.verdict.sentence in page.text
    for check in record.validation.verdict.checks:
        assert check.criterion in page.text
        if check.value is None:
            assert check.note in page.text
            continue
        assert check.rule in page.text
        assert f"{rounded(check.value)} {interval(check.value)}".replace(" exact", "") in page.text


@pytest.mark.parametrize("outcome", ["supported", "refuted", "undecided"])
def test_the_badge_says_the_outcome_in_words_and_by_class(record, outcome):
    checks = record.validation.verdict.checks
    verdict = Verdict(outcome, f"It is {outcome}.", checks)
    html = report_html(replace(record, validation=replace(record.validation, verdict=verdict)))
    assert re.search(rf'<span class="badge {outcome}">. {outcome}</span>', html)


def test_every_section_has_a_line_on_how_to_read_it(html):
    assert html.count("<section") == (14 if 'id="finding-groups"' in html else 9)
    for section in re.findall(r"<section.*?</section>", html, re.DOTALL):
        assert 'class="reading"' in section


def test_the_circuit_picture_is_inline_with_names_and_scores_to_point_at(page):
    titles = page.values("xlink:title")
    for name, score in SCORES.items():
        assert f"{name} {score:+.3g}" in titles


def test_ids_are_unique_so_no_picture_borrows_from_another(page):
    ids = page.values("id")
    assert len(ids) > 50
    assert len(ids) == len(set(ids))


def test_references_inside_pictures_point_at_something(html, page):
    used = re.findall(r"url\(#([^)]+)\)", html)
    used += [v[1:] for k, v in page.attributes if k.endswith("href") and v.startswith("#")]
    assert set(used) <= set(page.values("id"))


def test_a_style_sheet_of_a_picture_does_not_reach_the_page(html):
    assert html.count("<style") == 1


def test_counts_go_from_the_graph_to_the_circuit(record, page):
    assert f"edges of the graph {record.graph.n_edges}" in re.sub(r"\s+", " ", page.text)
    assert "edges selected 9" in re.sub(r"\s+", " ", page.text)
    assert re.search(r"edges without dead ends\s+6 \(", page.text)
    names = component_list(record).split(", ")
    inner = len(record.graph.components) - 2  # without the input and the logits
    assert ("heads and MLPs in the circuit", f"{len(names)} of {inner}") in counts_table(
        record
    ).rows


def test_edges_that_were_not_needed_are_not_called_dead_ends(record):
    recipe = Recipe(selection=Selection(minimal=True))
    origin = replace(record.circuit.provenance, recipe=recipe)
    minimal = replace(record, circuit=replace(record.circuit, provenance=origin))
    rows = dict(counts_table(minimal).rows)
    assert rows["edges without dead ends and edges that are not needed"].startswith("6 (")


def test_a_title_names_a_model_directory_by_its_last_part(record):
    info = replace(record.info, model="/a/long/path/of/stories")
    assert title_of(replace(record, info=info)).endswith(" in stories")
    assert caption_of(replace(record, info=info)).startswith(f"{info.task} in stories, ")
    assert title_of(replace(record, info=replace(info, model="gpt2"))).endswith(" in gpt2")
    assert title_of(replace(record, info=replace(info, model="org/name"))).endswith(" in org/name")


def test_the_edges_table_ranks_by_absolute_score_and_says_which_are_kept(record):
    rows = edges_table(record).rows
    assert len(rows) == 25
    assert [row[1] for row in rows[:6]] == sorted(SCORES, key=lambda name: -abs(SCORES[name]))
    assert [row[3] for row in rows[:7]] == ["yes"] * 6 + ["no"]
    assert rows[2][2] == "-2.000"


def with_checks(record, *checks):
    verdict = reach_verdict([with_question(check) for check in checks], "facts")
    return replace(record, validation=replace(record.validation, verdict=verdict))


def test_the_questions_stand_before_the_checks_with_what_is_the_same_measurement(record):
    checks = [
        check_of("faithfulness", Finding(Estimate(0.9, 0.85, 0.95, 50)), Bound(min=0.8)),
        check_of("kl", Finding(Estimate(0.1, 0.0, 0.2, 50)), Bound()),
        check_of(
            "hold-out", Finding(Estimate(0.9, 0.85, 0.95, 50), same_as="faithfulness"), Bound(min=1)
        ),
    ]
    judged = with_checks(record, *checks)
    assert questions_table(judged).rows == (
        ("Is the circuit enough?", "✓ supported", "faithfulness", "–"),
        ("Does it hold elsewhere?", "✗ refuted", "–", "hold-out as faithfulness"),
    )
    html = report_html(judged)
    assert html.index("Does it hold elsewhere?") < html.index('id="circuit"')
    assert "2 checks have a threshold; they rest on 1 separate measurement." in html
    old = replace(judged.validation.verdict, questions=())
    old_page = report_html(replace(judged, validation=replace(judged.validation, verdict=old)))
    assert "which repeat another was not recorded: judge again" in old_page
    markdown = report_markdown(judged)
    assert markdown.index("hold-out as faithfulness") < markdown.index("## Checks")


def test_a_value_that_is_a_p_stands_under_p_and_counts_are_whole(record):
    checks = [
        check_of("edges", Finding(Estimate(43.0, 43.0, 43.0, 1)), Bound()),
        check_of("independence", Finding(Estimate(0.02, 0.02, 0.02, 1)), Bound()),
        check_of("equivalence", Finding(Estimate(0.1, 0.0, 0.2, 9), p=1e-160), Bound()),
    ]
    table = checks_table(with_checks(record, *checks))
    cells = {row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}
    assert cells["edges"]["value"] == "43"
    assert (cells["independence"]["value"], cells["independence"]["p"]) == ("–", "0.020")
    assert cells["equivalence"]["p"] == "< 0.001"


def test_a_count_has_no_interval(record):
    share = checks_table(record).rows[2]
    assert share[0] == "edge-share"
    assert share[5:7] == ("exact", "–")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.91, "0.910"),
        (-5.0, "-5.000"),
        (12.345, "12.35"),
        (123.45, "123.5"),
        (12345.6, "12,346"),
        (0.00001, "0.000010"),
        (0.000461, "0.00046"),
        (2.5e-8, "2.50e-08"),
        (1.5e9, "1.50e+09"),
    ],
)
def test_numbers_keep_three_digits_and_line_up(value, text):
    assert number(value) == text


def test_provenance_and_command_are_there(page):
    for words in ("0123abcd", "circuitkit run toy --model tiny --seed 11", "torch 2.13.0", "eap"):
        assert words in page.text


def test_a_report_says_how_pairs_of_unequal_length_were_aligned_and_nothing_where_none_were(record):
    def rows(rule):
        return dict(provenance_table(replace(record, info=replace(record.info, align=rule))).rows)

    told = "pairs of unequal length, aligned by"
    assert told not in rows("")
    assert rows("last")[told].startswith("last: for a span of the clean prompt stands its last")
    assert "its last token or its mean" in rows("last, mean")[told]


def test_two_calls_give_the_same_page(interpreted, drawn_anew):
    assert report_html(interpreted) == report_html(interpreted)


def test_a_run_without_sweeps_samples_or_edges_still_has_a_report(record):
    bare = replace(
        record,
        circuit=Circuit.empty(record.graph),
        heat_maps=(),
        validation=replace(record.validation, samples=(), faithfulness=()),
    )
    page = Page(report_html(bare))
    assert "No patching sweep was run." in page.text
    assert "Sample pairs" not in page.text


def test_inline_svg_keeps_text_and_drops_declarations():
    svg = (
        '<?xml version="1.0"?><!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg" width="100pt">'
        '<style>*{fill:red}</style><g id="a"><text>&lt;b&gt; id="x"</text></g>'
        '<use href="#a" style="clip: url(#a)"/></svg>'
    )
    inline = inline_svg(svg, "p")
    assert inline.startswith("<svg")
    assert "<style" not in inline
    assert "&lt;b&gt;" in inline
    assert 'id="p-a"' in inline
    assert 'href="#p-a"' in inline
    assert "url(#p-a)" in inline


def test_a_circuit_that_falls_short_says_where_the_curve_gets_there(record):
    verdict = record.validation.verdict
    check = replace(verdict.checks[0], outcome="refuted")
    refuted = replace(verdict, checks=(check, *verdict.checks[1:]))
    short = replace(record, validation=replace(record.validation, verdict=refuted))
    points = record.validation.curve.points
    reached = next((p.n_edges for p in points if p.faithfulness.value >= 0.8), None)
    text = report_html(short)
    assert "Why not:" in text
    assert (f"reach 0.8 at {reached}" if reached else "never reach 0.8") in text
    assert "Why not:" not in report_html(record)


def test_where_nothing_was_measured_no_reason_is_made_up(record):
    verdict = record.validation.verdict
    check = replace(verdict.checks[0], outcome="undecided", value=None)
    open_one = replace(verdict, checks=(check, *verdict.checks[1:]))
    found = replace(record, validation=replace(record.validation, verdict=open_one))
    assert verdict_sentences(found) == (verdict.sentence,)


def test_a_picture_is_tagged_with_names_and_with_what_is_shown():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg"><g class="graph">'
        '<g id="n1" class="node"><title>g0</title></g><g id="n2" class="node"><title>g1</title></g>'
        '<g id="n3" class="node"><title>a label</title></g>'
        '<g id="e0" class="edge"><title>g0:out-&gt;g1</title></g>'
        '<g id="e1" class="edge"><title>g1-&gt;g0</title></g></g></svg>'
    )
    edges = {"e0": ("x&y", "<a>", "b"), "e1": ("back", "b", "<a>")}
    tagged = tagged_svg(svg, {"g0": "<a>", "g1": "b"}, edges, [])
    page = Page(tagged.partition("?>")[2])
    assert page.values("data-node") == ["<a>", "b"]
    assert page.values("data-edge") == ["x&y", "back"]
    assert page.values("data-from") == ["<a>", "b"]
    assert page.values("data-to") == ["b", "<a>"]
    assert page.values("class") == [
        "graph",
        "node ghost",
        "node ghost",
        "node",
        "edge off",
        "edge off",
    ]
    shown = Page(tagged_svg(svg, {"g0": "<a>", "g1": "b"}, edges, ["x&y"]).partition("?>")[2])
    assert shown.values("class") == ["graph", "node", "node", "node", "edge", "edge off"]


def test_cards_show_claimed_roles_and_what_was_measured(interpreted):
    text = " ".join(Page(report_html(interpreted)).text.split())
    card = interpreted.interpretation.card("a1.h0")
    for link in (*card.reads, *card.feeds):
        assert f"{signed_rounded(link.effect)} {interval(link.effect)}" in text
    for note in interpreted.interpretation.notes:
        assert note in text
    accuracy = direction_row().accuracy
    assert f"{rounded(accuracy)} {interval(accuracy)}" in text


def test_an_interpretation_with_nothing_in_it_makes_no_empty_section(interpreted):
    nothing = dict.fromkeys(
        ("cards", "groups", "group_edges", "prompts", "templates", "sections", "notes"),
        (),
    )
    bare = replace(interpreted, interpretation=replace(interpreted.interpretation, **nothing))
    html = report_html(bare)
    assert html.count("<section") == 9
    assert "<select" not in html
    assert 'href="#finding-groups"' not in html
