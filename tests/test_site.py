"""The site holds every page, public name and criterion; no link leads nowhere."""

import ast
import importlib.util
import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

import circuitkit
from circuitkit.validation.criteria import CRITERIA
from tests.test_layers import LAYERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = yaml.safe_load((DOCS / "site.yml").read_text())
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]*)(#[^)\s]*)?(?=\))")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def in_navigation(entries):
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for inner in entry.values():
                yield from in_navigation([inner] if isinstance(inner, str) else inner)


def slug(heading):
    """The anchor that both the site and the repository's host give a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower().strip()
    return re.sub(r"[\s]", "-", re.sub(r"[^\w\s-]", "", plain))


def anchors_of(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def site_module():
    spec = importlib.util.spec_from_file_location("circuitkit_site", DOCS / "site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    decisions = {page for page in pages if page.startswith("decisions/")}  # docs/site.py adds them
    assert set(in_navigation(SITE["nav"])) == pages - decisions


def test_the_reference_holds_exactly_the_public_names():
    text = (DOCS / "reference" / "README.md").read_text()
    names = re.findall(r"^::: circuitkit\.(\w+)$", text, re.MULTILINE)
    assert len(names) == len(set(names))
    assert set(names) == set(circuitkit.__all__) - {"__version__"}


def test_every_package_gets_a_page_that_shows_its_modules():
    site = site_module()
    layers = {name for layer in LAYERS for name in layer if (ROOT / "circuitkit" / name).is_dir()}
    assert {name.split(".")[1] for name in site.packages()} == layers
    assert "\n::: circuitkit.validation.minimality\n" in site.package_page("circuitkit.validation")


def test_the_criteria_page_holds_every_criterion_with_its_default_bound():
    text = (DOCS / "criteria.md").read_text()
    sections = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(CRITERIA)
    for asked in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        question = asked.partition("\n")[0]
        for name in re.findall(r"^### (\S+)$", asked, re.MULTILINE):
            assert CRITERIA[name].question.asks == question, name
    for name, section in sections.items():
        [stated] = re.findall(r"^- \*\*Default bound:\*\* (.*)$", section, re.MULTILINE)
        bound = re.split(", p|; in graphs", stated)[0]
        assert bound == bound_in_words(CRITERIA[name].default), name
        module = type(CRITERIA[name]).__module__.replace(".", "/")
        assert f"- **File:** `{module}.py`" in section
        assert "- **Value:** " in section
        assert "- **When it misleads:** " in section


def bound_in_words(bound):
    if bound.min is not None and bound.max is not None:
        return f"{bound.min:g} to {bound.max:g}"
    if bound.min is not None:
        return f"at least {bound.min:g}"
    return "reported" if bound.max is None else f"at most {bound.max:g}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for path, anchor in LINK.findall(text):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor[1:] in anchors_of(target), f"{path}{anchor}"


def test_the_readme_leads_to_adding_a_criterion_in_two_clicks():
    links = LINK.findall((ROOT / "README.md").read_text())
    assert ("docs/extending.md", "") in links
    assert "a-criterion" in anchors_of(DOCS / "extending.md")


def test_no_docstring_holds_brackets_that_the_site_would_read_as_a_reference():
    for path in (ROOT / "circuitkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                lines = (ast.get_docstring(node) or "").splitlines()
                prose = "\n".join(line for line in lines if not line.startswith("    "))
                found = re.search(r"\[[^\]]+\]\[[^\]]+\]", re.sub(r"`[^`]*`", "", prose))
                assert found is None, f"{path}: {found[0]}: write it in backticks"


def test_a_link_that_leads_nowhere_stops_the_site():
    with pytest.raises(SystemExit, match=r"docs/tutorial\.md: .* got '\.\./nowhere\.py'"):
        site_module().follow_links("tutorial.md", "[x](../nowhere.py)")


def test_links_out_of_the_pages_follow_the_copies_in_the_site():
    text, wanted = site_module().follow_links("methods/eap.md", "[x](../../reports/index.md)")
    assert text == "[x](../repository/reports/index.html)"
    assert wanted == {ROOT / "reports" / "index.html"}
    text, _ = site_module().follow_links("extending.md", "[x](../CONTRIBUTING.md)")
    assert text == "[x](repository/CONTRIBUTING.md.txt)"  # as text: it is no page of the site
    assert site_module().follow_links("methods/eap.md", "[y](../speed.md#a)")[1] == set()


def test_the_page_of_a_package_index_has_no_relative_link_or_picture():
    for_an_index = runpy.run_path(str(ROOT / "setup.py"), run_name="test")["for_an_index"]
    text = for_an_index((ROOT / "README.md").read_text())
    assert not LINK.search(text)
    assert "](" not in text or "](http" in text
    assert "# circuitkit" in text
    assert "tutorial (as a\nnotebook)" in text or "tutorial (as a notebook)" in text
    assert for_an_index("# A\n[b](https://c.org) [d](#e)\n").endswith(
        "[b](https://c.org) [d](#e)\n"
    )


def test_contributing_names_every_package_in_the_order_of_the_layers():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    drawn = re.search(r"```text\n(errors < .*?)```", text, re.DOTALL)[1]
    named = [layer.split(" | ") for layer in re.split(r"\s*<\s*", drawn.strip())]
    flat = [name for layer in named for name in layer]
    assert [layer for layer in LAYERS if set(layer) <= set(flat)] == named
    assert {path.parent.name for path in ROOT.glob("circuitkit/*/__init__.py")} <= set(flat)


def test_the_citation_names_the_version_that_is_built():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


@pytest.mark.parametrize("form", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_issue_forms_say_what_they_ask_for(form):
    data = yaml.safe_load(form.read_text())
    if form.name == "config.yml":
        assert data == {"blank_issues_enabled": True}
        return
    assert set(data) == {"name", "description", "labels", "body"}
    ids = [field["id"] for field in data["body"]]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in data["body"])
    assert any(field.get("validations", {}).get("required") for field in data["body"])
