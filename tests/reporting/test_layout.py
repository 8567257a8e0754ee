"""The page at four widths in both schemes: nothing is cut, nothing overlaps, keys reach all of it.

The checks of axe-core need the package axe-playwright-python, and skip without it.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from circuitkit.reporting.grouped import STARTS_GROUPED
from circuitkit.reporting.html import report_html

WIDTHS = (390, 768, 1280, 1920)
SCREEN = 800  # px
SERIOUS = ("serious", "critical")

# Text whose box leaves the page or its own box, where nothing scrolls.
CUT = """() => {
  const found = [];
  for (const each of document.querySelectorAll('main *:not(svg *)')) {
    const scrolls = each.closest('.scroll, .picture, #stage, select, #found');
    if (!each.checkVisibility() || scrolls) continue;
    const box = each.getBoundingClientRect();
    if (box.width === 0) continue;
    const beyond = box.right > innerWidth + 1 || box.left < -1;
    const isWider = each.scrollWidth > each.clientWidth + 1 && each.tagName !== 'INPUT';
    const hides = isWider && getComputedStyle(each).overflowX !== 'visible';
    if (beyond || hides) found.push(each.outerHTML.slice(0, 90));
  }
  return found;
}"""

# Pairs of blocks beside or below each other that share more than a sliver of the page.
OVERLAPS = """() => {
  const found = [];
  const boxes = [...document.querySelectorAll(
    'h1, h2, h3, p, dl, summary, table, figure, .verdict, button, select, input, ol, ul'
  )].filter((e) => e.checkVisibility() && !e.closest('#panel, #found, .zoom, svg'))
    .map((e) => ({ e, box: e.getBoundingClientRect() }))
    .filter(({ box }) => box.width && box.height);
  for (const [at, one] of boxes.entries()) for (const other of boxes.slice(at + 1)) {
    if (one.e.contains(other.e) || other.e.contains(one.e)) continue;
    if (one.e.closest('.scroll') || other.e.closest('.scroll')) continue;
    const wide = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
    const high = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
    const names = [one.e, other.e].map((e) => e.outerHTML.slice(0, 60));
    if (wide > 2 && high > 2) found.push(names.join(' / '));
  }
  return found;
}"""

# Text of a picture that leaves the box it stands in.
TEXT_BEYOND_BOX = """() => {
  const svg = document.querySelector('.of-story svg');
  const rects = [...svg.querySelectorAll('rect')].slice(1).map((e) => e.getBBox());
  const holds = (r, x, y) => x > r.x && x < r.x + r.width && y > r.y && y < r.y + r.height;
  return [...svg.querySelectorAll('text')].filter((text) => {
    const box = text.getBBox();
    const own = rects.find((r) => holds(r, box.x + box.width / 2, box.y + box.height / 2));
    const view = svg.viewBox.baseVal;
    const room = own ?? { x: 0, y: 0, width: view.width, height: view.height };
    const beside = box.x < room.x || box.x + box.width > room.x + room.width;
    const below = box.y < room.y - 1 || box.y + box.height > room.y + room.height + 1;
    return beside || below;
  }).map((text) => text.textContent);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["interpreted", "plain"])
def test_nothing_is_cut_and_nothing_overlaps(open_report, name, width, scheme):
    page = open_report(name, width=width, height=SCREEN, folded=True, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []
    assert page.evaluate(OVERLAPS) == []
    if width > 560:
        assert page.evaluate(TEXT_BEYOND_BOX) == []
        paper = page.locator(".of-story svg rect").first
        assert paper.evaluate("e => getComputedStyle(e).fill") == "none"  # the page's own is behind
    for details in page.locator("details.fold, details.asked").all():
        details.evaluate("e => (e.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("name", ["interpreted", "plain"])
def test_the_page_is_at_most_six_screens_before_anything_is_opened(open_report, name):
    page = open_report(name, height=SCREEN, folded=True)
    assert page.evaluate("document.documentElement.scrollHeight") <= 6 * SCREEN
    assert page.locator("details.fold[open], details.asked[open]").count() == 0


def test_the_first_screen_holds_the_story_its_picture_and_the_verdict(open_report):
    page = open_report("interpreted", height=SCREEN, folded=True)
    for part in (".told", ".of-story .picture", ".first .verdict"):
        box = page.locator(part).bounding_box()
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= SCREEN, part


def test_on_a_phone_the_picture_is_a_list_of_the_same_parts(open_report):
    page = open_report("interpreted", width=390, folded=True)
    assert not page.locator(".of-story .picture").is_visible()
    assert page.locator(".steps li").count() >= 1
    assert page.locator(".steps").is_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_view_of_the_circuit_shows_all_of_it(open_report, width):
    page = open_report("interpreted", width=width, folded=True)
    beyond = """() => {
      const stage = document.querySelector('#stage').getBoundingClientRect();
      const shown = '#stage .node:not(.ghost):not(.away), #stage .edge:not(.off)';
      return [...document.querySelectorAll(shown)]
        .filter((e) => e.textContent.trim() || e.dataset.edge)
        .filter((e) => {
          const box = e.getBoundingClientRect();
          const beside = box.left < stage.left - 1 || box.right > stage.right + 1;
          return beside || box.top < stage.top - 1 || box.bottom > stage.bottom + 1;
        }).map((e) => e.textContent || e.dataset.edge);
    }"""
    assert page.evaluate(beyond) == []
    page.locator("#stage").focus()
    page.keyboard.press("+")
    page.keyboard.press("0")
    assert page.evaluate(beyond) == []


def test_a_wide_screen_gives_the_circuit_more_room(open_report):
    page = open_report("interpreted", width=1920, folded=True)
    assert page.locator("#stage").bounding_box()["width"] > 1600


def test_the_tab_key_reaches_every_control_and_every_fold(open_report):
    page = open_report("interpreted", folded=True)
    wanted = page.evaluate(
        """() => {
          const stops = 'a[href], button, select, input, summary, [tabindex="0"]';
          const all = [...document.querySelectorAll(stops)]
            .filter((e) => e.checkVisibility() && !e.closest('.off'));
          all.forEach((e, at) => (e.dataset.tab = at));
          return all.length;
        }"""
    )
    assert wanted > 40
    reached = set()
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.tab ?? null"))
    assert len(reached - {None}) == wanted


def test_enter_opens_a_question_with_its_checks(open_report):
    page = open_report("interpreted", folded=True)
    page.locator(".asked summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".asked").first.locator("tbody tr").first.is_visible()


def test_a_link_to_what_is_folded_unfolds_it(open_report):
    page = open_report("interpreted", folded=True)
    assert not page.locator("#provenance table").is_visible()
    page.locator('nav a[href="#provenance"]').click()
    page.locator("#provenance table").wait_for(state="visible")


def test_the_circuit_is_shown_by_groups_or_by_its_parts(open_report):
    page = open_report("interpreted", folded=True)
    assert page.locator("#stage").is_visible()
    assert not page.locator("#grouped").is_visible()
    page.get_by_role("button", name="By groups").click()
    assert not page.locator("#stage").is_visible()
    assert page.locator("#grouped [data-node='name movers']").is_visible()
    page.locator("#cards").get_by_role("button", name="m0", exact=True).first.click()
    assert page.locator("#panel").is_visible()  # a name shows the parts again


def test_a_large_circuit_starts_as_its_groups(record, browser, tmp_path):
    graph = record.graph
    chosen = list(graph.edge_names)[: STARTS_GROUPED + 1]
    large = replace(record, circuit=record.circuit.with_edges(graph.mask_of(chosen)))
    path = tmp_path / "report.html"
    path.write_text(report_html(large), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.locator("#grouped [data-node='layer 0 heads']").is_visible()
    assert not page.locator("#stage").is_visible()
    page.get_by_role("button", name="By components and edges").click()
    assert page.locator("#stage [data-node='a0.h2']").is_visible()
    page.close()


@pytest.mark.parametrize("name", ["interpreted", "plain"])
def test_print_takes_at_most_eight_pages(open_report, name):
    page = open_report(name, folded=True)
    paper = page.pdf(format="A4")
    assert 2 <= paper.count(b"/Type /Page\n") <= 8


def _axe() -> str:
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-playwright-python is not installed: pip install circuitkit-mi[dev]")
    return next(Path(found.origin).parent.glob("axe*.js")).read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["interpreted", "plain"])
def test_axe_finds_no_serious_fault(open_report, name, width, scheme):
    source = _axe()
    page = open_report(name, width=width, folded=True, color_scheme=scheme)
    page.evaluate(source)
    for details in page.locator("details").all():
        details.evaluate("e => (e.open = true)")
    found = page.evaluate("async () => (await axe.run()).violations")
    serious = [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:120]}"
        for each in found
        if each["impact"] in SERIOUS
    ]
    assert serious == []
