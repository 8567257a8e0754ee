"""The glossary: every name that a user meets is in it, and it says what the library says."""

import importlib.util
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from circuitkit import names
from circuitkit.cli.app import app
from circuitkit.discovery.methods import METHODS
from circuitkit.errors import GlossaryError
from circuitkit.glossary import ALIASES, DEFINITIONS, KINDS, close_names, definitions_of, meaning
from circuitkit.interpretation.roles import attention, functions
from circuitkit.metrics import METRICS
from circuitkit.validation.criteria import CRITERIA
from circuitkit.validation.questions import QUESTIONS
from tests.test_site import anchors_of

DOCS = Path(__file__).parents[1] / "docs"
RUNNER = CliRunner()
ROLES = {
    value
    for module in (functions, attention)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*", value)
} | set(functions.SUPPLIERS.values())
NO_ROLES = {functions.LOGITS, functions.DOES}
IDENTIFIERS = {
    "question": set(QUESTIONS),
    "criterion": set(CRITERIA),
    "method": set(METHODS),
    "metric": {metric.name for metric in METRICS},
    "ablation": set(names.ABLATIONS),
    "role": ROLES - NO_ROLES,
    "choice": {*names.SELECTIONS, *names.COLUMNS, *names.BOS, *names.ALIGN, "noising", "denoising"}
    | {each.value for each in names.MLPs},
    "place": set(names.SITES),
    "format": set(names.PROMPT_FORMATS),
    "dictionary": {*names.DICTIONARY_KINDS, *names.TRAINED_POSITIONS},
    "edit": set(names.EDITS),
    "planted": {*names.PLANTED_MODELS, *names.DIFFICULTIES} - {"backup"},  # which is a role
}


def known(kind):
    return {one.name for one in DEFINITIONS if one.kind == kind}


def explained(*words):
    done = RUNNER.invoke(app, ["explain", *words])
    return done.exit_code, done.output


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_every_identifier_has_a_definition_of_its_kind_and_no_other_has(kind):
    extra = {"role": {"at-ROLE"}, "method": {names.AUTO}}.get(kind, set())
    assert known(kind) == IDENTIFIERS[kind] | extra


def test_the_roles_that_are_looked_for_are_those_that_components_get():
    assert {"mover", "idle", "mlp-supplier", "previous-token", "self", "induction"} <= ROLES
    assert attention.AT == "at-"


def test_the_terms_of_the_field_are_words():
    wanted = "task pair clean corrupted gap edge circuit cluster BOS recipe verdict ablation score"
    assert set(wanted.split()) <= known("word")


def test_no_name_is_defined_twice_in_a_kind_and_every_kind_is_listed():
    keys = [(one.kind, one.name) for one in DEFINITIONS]
    assert len(keys) == len(set(keys))
    assert list(dict.fromkeys(one.kind for one in DEFINITIONS)) == list(KINDS)


@pytest.mark.parametrize("one", DEFINITIONS, ids=lambda one: f"{one.kind}-{one.name}")
def test_a_definition_is_one_plain_line_and_says_where_to_read_more(one):
    assert 8 < len(one.line) <= 90
    assert not one.line.endswith(".")
    assert one.sentence[-1] in ".?"
    assert one.sentence[-2:] not in ("?.", "..")
    page, _, anchor = one.more.partition("#")
    assert (DOCS / page).is_file(), one.more
    assert not anchor or anchor in anchors_of(DOCS / page), one.more


def test_criteria_methods_and_questions_say_what_the_glossary_says():
    for name, criterion in CRITERIA.items():
        assert criterion.measures == meaning(name, "criterion")
    for name, method in METHODS.items():
        assert method.summary == meaning(name, "method")
    for name, question in QUESTIONS.items():
        assert question.asks == meaning(name, "question")


def test_the_page_of_the_glossary_is_made_from_the_table():
    place = DOCS / "glossary.py"
    spec = importlib.util.spec_from_file_location("circuitkit_glossary_page", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "glossary.md").read_text() == module.page(), "run `python docs/glossary.py`"


def test_every_alias_leads_to_a_name_and_is_none_itself():
    every = {one.name for one in DEFINITIONS}
    assert set(ALIASES.values()) <= every
    # a role is a way to group positions too: both are shown
    assert [one.name for one in definitions_of("role")] == ["role-of-components", "role"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("CPR", "cpr"),
        ("logit difference", "logit-difference"),
        ("logit_difference", "logit-difference"),
        ("movers", "mover"),
        ("at-S2", "at-ROLE"),
        ("corrupt", "corrupted"),
        ("bos", "BOS"),
    ],
)
def test_a_name_is_found_however_it_is_spelled(asked, name):
    assert definitions_of(asked)[0].name == name


def test_a_name_of_two_kinds_is_explained_as_both():
    assert [one.kind for one in definitions_of("kl")] == ["criterion", "metric"]
    assert meaning("kl") != meaning("kl", "metric")
    assert meaning("at-S2", "role") == meaning("at-ROLE", "role")
    assert meaning("at-S2") == meaning("nothing") == ""


def test_an_unknown_name_is_refused_with_the_nearest_ones():
    with pytest.raises(GlossaryError, match="Did you mean completeness?"):
        definitions_of("completness")
    with pytest.raises(GlossaryError) as raised:
        definitions_of("qqqqq")
    assert "Did you mean" not in str(raised.value)
    assert close_names("fidelty") == ("fidelity",)


def test_explain_prints_the_line_and_where_to_read_more():
    code, text = explained("completeness")
    assert code == 0
    assert meaning("completeness")[1:] in text
    assert "docs/criteria.md#completeness" in text


def test_explain_without_a_name_lists_every_name_under_its_kind():
    code, text = explained()
    assert code == 0
    listed = set(text.replace(",", " ").split())
    assert {one.name for one in DEFINITIONS} <= listed
    assert all(f"{title}:" in text for title in KINDS.values())


def test_explain_of_an_unknown_name_is_bad_input_and_json_if_asked():
    code, text = explained("completness")
    assert code == 2
    assert "completeness" in text
    code, text = explained("kl", "--json")
    assert code == 0
    assert '"kind": "metric"' in text
