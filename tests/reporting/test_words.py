"""Names of the glossary in the report: linked to their lines, which the page itself holds."""

import re

import pytest
from markupsafe import Markup

from circuitkit.glossary import meaning
from circuitkit.reporting.html import report_html
from circuitkit.reporting.words import Words


def test_a_name_is_linked_with_its_line_and_what_is_no_name_is_left():
    words = Words()
    cell = words("equivalence as faithfulness, <b>", "the same measurement")
    assert isinstance(cell, Markup)
    assert meaning("equivalence") in cell
    assert re.sub("<a .*?>|</a>", "", cell) == "equivalence as faithfulness, &lt;b&gt;"
    assert [one.name for one in words.used] == ["faithfulness", "equivalence"]


def test_a_column_that_holds_no_names_stays_text_to_be_escaped():
    assert not isinstance(Words()("faithfulness", "token"), Markup)
    assert Words()("kl", "criterion") != Words()("kl", "metric")


def test_the_role_at_a_span_of_tokens_is_linked_to_the_line_of_all_such_roles():
    words = Words()
    assert 'href="#word-role-at-ROLE"' in words("at-S2", "role")
    assert [one.name for one in words.used] == ["at-ROLE"]


@pytest.mark.parametrize("name", ["record", "interpreted"])
def test_every_link_to_a_word_leads_to_its_line_in_the_page(request, name):
    page = report_html(request.getfixturevalue(name))
    links = set(re.findall('href="#(word-[^"]*)"', page))
    assert links == set(re.findall('id="(word-[^"]*)"', page))
    assert "word-criterion-faithfulness" in links
