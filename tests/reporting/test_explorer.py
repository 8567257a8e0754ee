"""The report's controls in headless Chromium. Opening fails on an error, a dialog or a request."""

import json

import pytest

from circuitkit.reporting.sizes import sizes_of
from circuitkit.reporting.values import interval, number, rounded, signed, signed_rounded
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.study.records import save_record

from .conftest import SCORES, SCRIPT

EDGES = set(SCORES)
THROUGH_M0 = {"input->a0.h2<v>", "a0.h2->m0", "m0->a1.h0<v>", "a1.h0->logits"}


def node(page, name):
    return page.locator(f'#stage [data-node="{name}"]')


def edge(page, name):
    return page.locator(f'#stage [data-edge="{name}"]')


def names(page, selector, key="edge"):
    script = f"shapes => shapes.map(shape => shape.dataset.{key})"
    return set(page.locator(f"#stage {selector}").evaluate_all(script))


def lit_edges(page):
    return names(page, ".edge:not(.off):not(.dim)")


def set_size(page, at):
    page.locator("#size").fill(str(at))


def texts(page, selector):
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


def seen(page):
    return [float(number) for number in page.locator("#stage svg").get_attribute("viewBox").split()]


def own_at(record):
    return next(at for at, size in enumerate(sizes_of(record)) if size.is_own)


def test_the_text_is_the_numbers_of_the_file(record, open_report, tmp_path):
    save_record(record, tmp_path)
    page = open_report()
    saved = json.loads((tmp_path / "validation.json").read_text())
    rows = page.locator("#verdict .asked tbody tr").all_text_contents()
    assert len(rows) == len(saved["verdict"]["checks"])
    of = {row.split()[0]: row for row in rows}
    for check in saved["verdict"]["checks"]:
        row = of[check["criterion"]]
        if check["value"]:
            assert rounded(Estimate(**check["value"])) in row
    assert saved["verdict"]["sentence"] in page.locator("#verdict").inner_text()
    for point in saved["curve"]["points"]:
        sizes = [at for at, size in enumerate(sizes_of(record)) if size.n_asked == point["n_edges"]]
        set_size(page, sizes[0])
        said = page.locator("#size-says").inner_text()
        found = point["faithfulness"]
        assert f"faithfulness {rounded(Estimate(**found))} {interval(Estimate(**found))}" in said


def test_the_slider_shows_the_circuit_of_each_size(record, page):
    assert names(page, ".edge:not(.off)") == EDGES
    for at, size in enumerate(sizes_of(record)):
        set_size(page, at)
        assert names(page, ".edge:not(.off)") == size.edges
        assert size.title in page.locator("#size-says").inner_text()
        touched = {end for name in size.edges for end in record.circuit.ends(name)}
        assert names(page, "[data-node]:not(.ghost)", "node") == touched
    page.get_by_role("button", name="This circuit").click()
    assert names(page, ".edge:not(.off)") == EDGES
    assert page.locator("#size").input_value() == str(own_at(record))
    assert "6 edges" in page.locator("#size").get_attribute("aria-valuetext")


def test_a_bar_over_the_slider_chooses_its_size(record, page):
    page.locator("#size-bars .size-bar").last.click()
    assert page.locator("#size").input_value() == str(len(sizes_of(record)) - 1)


def test_the_axis_of_sizes_says_where_it_begins_and_ends(page, record):
    sizes = sizes_of(record)
    shown = page.locator(".size-axis span").all_inner_texts()
    assert shown == [sizes[0].short, sizes[-1].short]
    assert "edge" in shown[0]


def test_pointing_at_a_component_lights_up_the_paths_through_it(page):
    node(page, "m0").hover()
    assert lit_edges(page) == THROUGH_M0
    on_paths = {"input", "a0.h2", "m0", "a1.h0", "logits"}
    assert names(page, "[data-node]:not(.dim):not(.ghost)", "node") == on_paths
    assert "m0: 4 edges on paths through it" in page.locator("#lit-says").inner_text()
    page.mouse.move(2, 2)
    assert lit_edges(page) == EDGES


def test_pointing_at_an_edge_lights_up_the_paths_through_it(page):
    edge(page, "a0.h2->a1.h0<k>").focus()
    assert lit_edges(page) == {"input->a0.h2<v>", "a0.h2->a1.h0<k>", "a1.h0->logits"}
    assert "score -2.000" in page.locator("#lit-says").inner_text()


def test_light_follows_the_edges_of_the_size(record, page):
    set_size(page, len(sizes_of(record)) - 1)
    node(page, "m0").hover()
    assert "a0.h1->m0" in lit_edges(page)
    assert "a0.h2->a1.h0<k>" not in lit_edges(page)


def test_a_click_opens_the_card_and_escape_closes_it(interpreted, page):
    node(page, "a1.h0").click()
    panel = page.locator("#panel")
    text = " ".join(panel.inner_text().split())
    card = interpreted.interpretation.card("a1.h0")
    role = card.roles[1]
    wanted = [card.group, card.summary, role.name, role.evidence]
    wanted += [f"{rounded(role.score)} {interval(role.score)}"]
    wanted += [link.edge for link in (*card.reads, *card.feeds)]
    wanted += [signed_rounded(link.effect) for link in card.reads]
    wanted += [f"{signed_rounded(card.direct)} {interval(card.direct)}", SCRIPT, "\\x2028\\x2029"]
    wanted += [signed(each.logits) for each in (*card.promotes, *card.demotes)]
    wanted += [rounded(loss.effect) for loss in card.losses]
    wanted += ["0.812 and -0.438, of -1 to 1", "7.125", "3.375"]
    wanted += [f"{each.edge} 0.312 0.062 16.00" for each in card.weights.composes]
    for words in wanted:
        assert words in text, words
    assert panel.locator("h4").first.inner_text() == "Roles"
    assert "copies names" not in text
    panel.get_by_text("Roles tried and not claimed (1)").click()
    assert "copies names" in panel.inner_text()
    page.keyboard.press("Escape")
    assert panel.is_hidden()


def test_the_keyboard_opens_a_card_and_gets_its_place_back(page):
    node(page, "m0").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent").startswith("m0")
    assert lit_edges(page) == THROUGH_M0
    page.locator("#panel-close").press("Enter")
    assert page.locator("#panel").is_hidden()
    assert page.evaluate("document.activeElement.dataset.node") == "m0"


def test_names_in_a_card_reach_the_picture(page):
    node(page, "m0").click()
    page.locator("#panel").get_by_role("button", name="m0->a1.h0<v>").click()
    page.mouse.move(2, 2)
    assert page.locator("#stage .edge.chosen").get_attribute("data-edge") == "m0->a1.h0<v>"
    page.locator("#tables").get_by_role("button", name="a1.h0", exact=True).first.click()
    assert page.locator("#panel h3").inner_text().startswith("a1.h0")


def test_the_prompt_picker_switches_patterns_and_attributions_everywhere(interpreted, page):
    node(page, "a1.h0").click()
    found = interpreted.interpretation
    for at in (1, 0):
        page.locator("#prompt").select_option(str(at))
        assert page.locator("#prompt-of-panel").input_value() == str(at)
        view = found.prompts[at]
        tokens = page.locator("#prompt-line .token").all_inner_texts()
        assert tokens[1].replace("␣", " ") == view.tokens[1]
        assert number(view.value) in page.locator("#prompt-line").inner_text()
        for place in ("#panel", "#card-a1\\.h0"):
            shown = page.locator(f"{place} .attributions .num").all_text_contents()
            assert shown == [signed(value) for value in view.attributions["a1.h0"]]
            cells = page.locator(f"{place} .pattern .cell title").all_text_contents()
            weights = [value for row in view.patterns["a1.h0"] for value in row if value]
            assert len(cells) == len(weights)
            assert cells[3].endswith(f": {weights[3]:.3f}")
    page.locator("#prompt-of-panel").select_option(label="Mean of 7 prompts: gave␣<to>")
    assert page.locator("#panel .pattern").count() == 1
    assert page.locator("#panel .attributions").count() == 0
    assert page.locator("#prompt-line .token").all_inner_texts() == ["BOS", "IO", "S1", "END"]


def test_an_mlp_has_attributions_and_no_pattern(page):
    node(page, "m0").click()
    assert page.locator("#panel .attributions").count() == 1
    assert page.locator("#panel .pattern").count() == 0


def test_a_pattern_is_read_with_the_arrow_keys_and_as_a_table(interpreted, page):
    node(page, "a1.h0").click()
    pattern = interpreted.interpretation.prompts[0].patterns["a1.h0"]
    page.locator("#panel .pattern").focus()
    for key in ("ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    said = page.locator("#panel .readout").inner_text()
    assert "attends to ␣Mary (IO)" in said
    assert said.endswith(f"{pattern[-2][1]:.3f}")
    page.locator("#panel").get_by_text("The values as a table").click()
    row = page.locator("#panel details.values tbody tr").last
    row.wait_for()  # the table is drawn when it is opened
    cells = row.locator("td").all_inner_texts()
    assert cells == [f"{value:.3f}" for value in pattern[-1]]


def test_hostile_tokens_are_shown_and_not_run(page):
    assert page.locator("#prompt-line .tokens .token").last.inner_text() == SCRIPT
    page.locator("#prompt").select_option("1")
    assert "</script>" in page.locator("#prompt-line").inner_text()
    assert page.locator("script").count() == 2
    assert page.locator("#cards b").count() == 0


def test_the_policy_stops_any_other_script(browser, reports):
    context = browser.new_context()
    page = context.new_page()
    blocked = []
    page.on("console", lambda message: blocked.append(message.text))
    page.goto(reports["plain"].as_uri())
    page.evaluate(
        "const script = document.createElement('script'); script.textContent = 'window.ran = 1';"
        "document.body.append(script)"
    )
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in text for text in blocked)
    context.close()


def test_search_finds_components_edges_tokens_and_rows(page):
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("a0.h2->a1.h0<k>")
    assert texts(page, "#found li") == ["edge a0.h2->a1.h0<k>, score -2.000"]
    assert texts(page, "#tables tbody tr:visible")[0].startswith("a0.h2->a1.h0<k> a0.h2 a1.h0 k")
    assert lit_edges(page) == {"a0.h2->a1.h0<k>"}
    assert page.locator("#filter").input_value() == "a0.h2->a1.h0<k>"
    page.locator("#search").fill("m0 writes")
    assert texts(page, "#found .kind") == ["card"]
    page.locator("#search").fill("alert(1)")
    kinds = set(texts(page, "#found .kind"))
    assert kinds == {"token", "prompt"}
    page.locator("#search").fill("nothing at all")
    assert page.locator("#found li").count() == 0
    assert page.locator(".card:visible").count() == 0
    assert "0 found" in page.locator("[data-says=query]").first.inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#search").input_value() == ""
    assert lit_edges(page) == EDGES


def test_enter_in_the_search_opens_the_first_that_was_found(page):
    page.locator("#search").fill("a1.h0")
    page.keyboard.press("Enter")
    assert page.locator("#panel h3").inner_text().startswith("a1.h0")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "search"


def test_a_found_prompt_is_picked(page):
    page.locator("#search").fill("\\x2028")
    page.locator("#found button", has_text="Prompt").click()
    assert page.locator("#prompt").input_value() == "3"


def test_tables_sort_by_a_column_both_ways(page):
    table = page.get_by_role("region", name="edges of the circuit").locator("table")
    page.get_by_role("region", name="edges of the circuit").get_by_role(
        "button", name="score"
    ).click()
    scores = table.locator("tbody tr td:nth-child(5)").all_inner_texts()
    assert scores == [signed(value) for value in sorted(SCORES.values())]
    header = table.locator("th[aria-sort]")
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").click()
    scores = table.locator("tbody tr td:nth-child(5)").all_inner_texts()
    assert scores == [signed(value) for value in sorted(SCORES.values(), reverse=True)]


def test_rows_without_a_number_come_last_and_words_sort_as_words(page):
    region = page.get_by_role("region", name="components of the circuit")
    region.get_by_role("button", name="direct").click()
    assert [
        row[0] for row in texts(page, "[aria-label='components of the circuit'] td:nth-child(7)")
    ][-2:] == ["–", "–"]
    region.get_by_role("button", name="component").click()
    assert texts(page, "[aria-label='components of the circuit'] tbody th") == [
        "a0.h2",
        "a1.h0",
        "input",
        "logits",
        "m0",
    ]


def test_the_filter_of_the_tables_is_the_search(page):
    page.locator("#filter").fill("a0.h2 mlp")
    assert texts(page, "[aria-label='edges of the circuit'] tbody tr:visible")[0].startswith(
        "a0.h2->m0"
    )
    assert page.locator("[aria-label='edges of the circuit'] tbody tr:visible").count() == 1
    assert page.locator("#search").input_value() == "a0.h2 mlp"


def test_keys_pan_zoom_and_reset(page):
    page.locator("#stage").focus()
    start = seen(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    moved = seen(page)
    assert moved[0] > start[0]
    assert moved[1] > start[1]
    assert moved[2:] == pytest.approx(start[2:])
    page.keyboard.press("+")
    assert seen(page)[2] == pytest.approx(start[2] / 1.3)
    page.keyboard.press("-")
    assert seen(page)[2] == pytest.approx(start[2])
    page.keyboard.press("0")
    assert seen(page) == pytest.approx(start)


def test_buttons_wheel_and_dragging_pan_and_zoom(page):
    start = seen(page)
    page.get_by_role("button", name="Zoom in").click()
    assert seen(page)[2] < start[2]
    page.get_by_role("button", name="Zoom out").click()
    page.get_by_role("button", name="Reset the view").click()
    assert seen(page) == pytest.approx(start)
    page.locator("#stage").scroll_into_view_if_needed()
    box = node(page, "m0").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.wheel(0, -40)
    assert seen(page) == pytest.approx(start)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -40)
    page.keyboard.up("Control")
    page.wait_for_function(
        f"document.querySelector('#stage svg').viewBox.baseVal.width < {start[2] - 1}"
    )
    page.get_by_role("button", name="Reset the view").click()
    box = node(page, "m0").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 65, box["y"] + 35, steps=4)
    page.mouse.up()
    assert seen(page)[0] < start[0]
    assert page.locator("#panel").is_hidden()


def test_the_groups_light_up_too(page):
    page.locator("#finding-groups .diagram [data-node='name movers']").hover()
    lit = page.locator("#finding-groups .diagram .edge:not(.dim)")
    assert lit.count() == 3
    page.locator("#finding-groups .diagram [data-node='input']").focus()
    assert (
        page.locator("#finding-groups .diagram .node.chosen").get_attribute("data-node") == "input"
    )


def luminance(colour):
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page, selector):
    script = "e => [getComputedStyle(e).color, getComputedStyle(document.body).backgroundColor]"
    text, paper = map(luminance, page.locator(selector).first.evaluate(script))
    return (max(text, paper) + 0.05) / (min(text, paper) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(open_report, scheme):
    page = open_report(color_scheme=scheme)
    for selector in ("h1", ".reading", "button.name", ".outcome", ".readout", "nav a", ".legend"):
        assert contrast(page, selector) >= 4.5, selector
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(paper) < 0.2) == (scheme == "dark")
    text = node(page, "m0").locator("text").evaluate("e => getComputedStyle(e).fill")
    fill = node(page, "m0").locator("path, polygon").first.evaluate("e => getComputedStyle(e).fill")
    light, dark = sorted([luminance(text), luminance(fill)], reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_theme_button_switches_and_says_to_what(page):
    button = page.locator("#theme")
    assert button.get_attribute("aria-label") == "Switch to dark colours"
    button.click()
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.2
    assert button.get_attribute("aria-label") == "Switch to light colours"
    button.click()
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.8


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["interpreted", "plain"])
def test_the_page_never_scrolls_sideways(open_report, name, width):
    page = open_report(name, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    node(page, "a1.h0").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#panel").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_on_a_phone_the_card_is_a_sheet_below_the_picture(open_report):
    page = open_report(width=390, height=844, has_touch=True)
    node(page, "a1.h0").tap()
    sheet = page.locator("#panel").bounding_box()
    assert sheet["y"] + sheet["height"] == pytest.approx(844, abs=1)
    assert sheet["height"] < 0.7 * 844
    assert node(page, "a1.h0").bounding_box()["y"] < sheet["y"]
    page.locator("#panel-close").tap()
    assert page.locator("#panel").is_hidden()


def test_every_control_has_a_name_and_a_place_in_the_order(page):
    node(page, "a1.h0").click()
    nameless = page.locator("button, select, input, [role=button], [tabindex='0']").evaluate_all(
        """controls => controls.filter(control => {
            const label = control.id && document.querySelector(`label[for="${control.id}"]`);
            return !(control.getAttribute('aria-label') || control.textContent || label).trim?.call
                && !label;
        }).map(control => control.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").count() == 0
    ids = page.locator("[id]").evaluate_all("all => all.map(each => each.id)")
    assert len(ids) == len(set(ids))


def test_tab_goes_from_the_tools_to_the_picture_and_on(page):
    page.locator("#search").focus()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.dataset.node || document.activeElement.id")
        )
    assert reached[:4] == ["prompt", "own-size", "size", "stage"]
    assert "input" in reached


def test_motion_is_reduced_where_asked(open_report):
    page = open_report(reduced_motion="reduce")
    assert node(page, "m0").evaluate("e => getComputedStyle(e).transitionDuration") == "0s"


def test_print_shows_every_table_and_no_control(page):
    node(page, "a1.h0").click()
    page.locator("#search").fill("m0")
    page.locator("#stage").focus()
    for _ in range(3):
        page.keyboard.press("+")
    zoomed = seen(page)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("#panel, .tools, .zoom, nav, #theme").locator("visible=true").count() == 0
    whole = seen(page)
    assert whole[2] > 1.5 * zoomed[2]
    rows = page.locator("main section tbody tr:not(details.values tr)")
    hidden = rows.evaluate_all(
        """rows => rows.filter(
            row => !row.closest('#panel, [hidden]:not(tr)') && row.offsetHeight === 0
        ).length"""
    )
    assert rows.count() > 60
    assert hidden == 0
    assert page.locator("#card-a1\\.h0 .pattern").is_visible()
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.8
    page.wait_for_timeout(100)  # for what watches the size of the stage
    assert seen(page) == whole
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#cards details[open]:not(.fold)").count() == 0
    assert seen(page) == zoomed
    assert len(page.pdf()) > 20_000


def test_everything_is_readable_without_javascript(record, open_report):
    page = open_report(java_script_enabled=False)
    assert names_without_script(page) == EDGES
    assert page.locator("button:visible, input:visible, select:visible").count() == 0
    text = page.locator("main").inner_text()
    assert "faithfulness 0.88" in text
    for words in ("previous token", "name movers", "Edges of the circuit", "m0->a1.h0<v>"):
        assert words in text


def names_without_script(page):
    shapes = page.locator("#stage .edge:not(.off)").all()
    return {shape.get_attribute("data-edge") for shape in shapes}


def test_without_an_interpretation_nothing_is_empty_or_dead(open_report):
    page = open_report("plain")
    assert page.locator("select, [id^=finding-], #notes, #prompt-line").count() == 0
    for section in page.locator("main > section").all():
        assert len(section.inner_text()) > 60
    node(page, "m0").click()
    text = page.locator("#panel").inner_text()
    assert "a0.h2->m0" in text
    assert "+0.500" in text
    assert "Attention" not in text
    assert page.locator("nav a").evaluate_all(
        "links => links.every(link => document.querySelector(link.getAttribute('href')))"
    )


def test_a_component_of_another_size_says_so(record, page):
    set_size(page, len(sizes_of(record)) - 1)
    node(page, "a0.h0").click()
    text = page.locator("#panel").inner_text()
    assert "Not in this circuit" in text
    assert "a0.h0->m0" in text
    assert page.locator("#cards .card:visible").count() == len(record.circuit.components)


def test_the_controls_work_where_the_picture_could_not_be_drawn(open_report, interpreted):
    page = open_report("undrawn")
    assert page.locator("#stage svg").count() == 0
    assert "This picture is missing" in page.locator("#stage").inner_text()
    set_size(page, 0)
    assert sizes_of(interpreted)[0].title in page.locator("#size-says").inner_text()
    page.locator("#search").fill("a1.h0")
    page.locator("#found button").first.click()
    assert "a1.h0" in page.locator("#panel").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#panel").is_hidden()
    assert not page.locator("[data-zoom]").first.is_visible()
    page.emulate_media(media="print")
    page.pdf()  # before and after printing the picture is asked for its whole
