"""From DOT text to a picture, and what happens on machines that cannot draw one."""

import hashlib
import importlib.metadata
import json
import os
import re
import stat
import subprocess
import sys
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.image import imread
from matplotlib.textpath import text_to_path

from circuitkit.errors import PictureError, PictureWarning
from circuitkit.reporting import paper, plots, render
from circuitkit.reporting.dot import FONT, circuit_dot
from circuitkit.reporting.findings_dot import groups_dot
from circuitkit.reporting.gallery import write_gallery
from circuitkit.reporting.page import DOTS, POINTS, page_of
from circuitkit.reporting.render import graphviz_program, render_dot
from circuitkit.reporting.write import write_report
from circuitkit.study.records import save_record

pytestmark = pytest.mark.usefixtures("drawn_anew")
FORMATS = ("svg", "png", "pdf")
ELSEWHERE = """
import hashlib, pkgutil, sys
import circuitkit, circuitkit.reporting
for module in pkgutil.iter_modules(circuitkit.reporting.__path__, "circuitkit.reporting."):
    drawing = ("plots", "charts", "page", "method_plot", "foretold_plot")
    if module.name.rpartition(".")[2] not in drawing:
        __import__(module.name)
print(*sorted(name for name in sys.modules if name.split(".")[0] in
      ("matplotlib", "graphviz", "pygraphviz", "wasmtime", "resvg_py")))
circuitkit.Circuit.empty(circuitkit.ComponentGraph(2, 3, 8))._repr_svg_()
print(*sorted(name for name in sys.modules if name == "matplotlib"))
from circuitkit.reporting.render import render_dot
dot = sys.stdin.read()
print(*(hashlib.sha256(render_dot(dot, format)).hexdigest() for format in ("svg", "png", "pdf")))
"""


@pytest.fixture(scope="module")
def elsewhere(circuit):
    """What another process says: libraries before a picture and behind an SVG, and digests."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=circuit_dot(circuit, "elsewhere"),
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
        text=True,
    )
    return done.stdout.splitlines()


@pytest.fixture
def no_package(monkeypatch):
    """Hide graphviz-pure, and every program on the PATH."""

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def no_matplotlib(monkeypatch):
    """Let Matplotlib raise when it is imported, and forget that it was."""
    for name in list(sys.modules):
        if name.split(".")[0] == "matplotlib":
            monkeypatch.setitem(sys.modules, name, None)
    from circuitkit import reporting

    for name in ("plots", "page"):
        monkeypatch.delitem(sys.modules, f"circuitkit.reporting.{name}", raising=False)
        monkeypatch.delattr(reporting, name, raising=False)


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_text_gives_the_same_bytes(circuit, format):
    dot = circuit_dot(circuit, "twice")
    assert render_dot(dot, format) == render_dot(dot, format)


def test_another_process_draws_the_same_bytes(circuit, elsewhere):
    dot = circuit_dot(circuit, "elsewhere")
    here = [hashlib.sha256(render_dot(dot, format)).hexdigest() for format in FORMATS]
    assert elsewhere[2].split() == here


def test_every_label_has_the_room_that_its_font_takes(circuit, interpreted):
    texts = 0
    groups = groups_dot(interpreted.interpretation)
    for dot in (circuit_dot(circuit, "A title of some length"), groups):
        layout = json.loads(render._laid_out(dot, "json", "svg"))
        for each in (layout, *layout["objects"], *layout["edges"]):
            size, weight = 14.0, "normal"
            for operation in [*each.get("_draw_", []), *each.get("_ldraw_", [])]:
                if operation["op"] == "F":
                    size = operation["size"]
                    assert operation["face"] == FONT
                elif operation["op"] == "t":
                    weight = "bold" if operation["fontchar"] & 1 else "normal"
                elif operation["op"] == "T":
                    font = FontProperties(family=FONT, size=size, weight=weight)
                    needs = text_to_path.get_text_width_height_descent
                    width, _, _ = needs(operation["text"].strip(), font, False)
                    assert width <= 1.02 * operation["width"], operation
                    texts += 1
    assert texts > 20


def test_readers_see_text_in_a_font_that_is_no_wider(circuit):
    svg = render_dot(circuit_dot(circuit), "svg").decode()
    assert set(re.findall('font-family="(.*?)"', svg)) == {render.READERS_FONTS}


def test_no_picture_library_is_loaded_before_a_picture_is_drawn(elsewhere):
    assert elsewhere[:2] == ["", ""]


# ---- the page


def page(*operations, size=(60, 40)):
    """Return the pixels of a page, y going down, as RGB from 0 to 1."""
    width, height = size
    paper = [
        {"op": "C", "color": "#ffffff"},
        {"op": "c", "color": "#ffffff00"},
        {"op": "P", "points": [[0, 0], [0, height], [width, height], [width, 0]]},
    ]
    layout = {"_draw_": paper, "objects": [{"name": "a", "_draw_": list(operations)}]}
    return imread(BytesIO(page_of(json.dumps(layout), "png")))[..., :3]


def at(pixels, x, y):
    """Return the colour at a point of the layout."""
    row, column = -int(y * DOTS / POINTS) - 1, int(x * DOTS / POINTS)
    return tuple(round(float(value), 2) for value in pixels[row, column])


RED = [{"op": "c", "color": "#ff0000"}, {"op": "C", "color": "#ff0000"}]
SQUARE = [[10, 5], [10, 15], [20, 15], [20, 5]]


def test_a_page_is_as_large_as_the_layout():
    assert page(size=(60, 40)).shape == (40 * DOTS // POINTS, 60 * DOTS // POINTS, 3)


def test_shapes_lie_where_the_layout_says_and_y_goes_up():
    pixels = page(*RED, {"op": "P", "points": SQUARE})
    assert at(pixels, 15, 10) == (1, 0, 0)
    assert at(pixels, 15, 30) == at(pixels, 40, 10) == (1, 1, 1)


@pytest.mark.parametrize(
    ("operation", "is_filled"),
    [
        ({"op": "P", "points": SQUARE}, True),
        ({"op": "p", "points": SQUARE}, False),
        ({"op": "E", "rect": [15, 10, 5, 5]}, True),
        ({"op": "e", "rect": [15, 10, 5, 5]}, False),
        ({"op": "B", "points": [[10, 5], [10, 20], [20, 20], [20, 5]]}, True),
        ({"op": "b", "points": [[10, 5], [10, 20], [20, 20], [20, 5]]}, False),
    ],
)
def test_only_what_a_capital_letter_asks_for_is_filled(operation, is_filled):
    pixels = page(*RED, operation)
    assert at(pixels, 15, 10) == ((1, 0, 0) if is_filled else (1, 1, 1))
    assert (pixels != 1).any()


def test_text_is_seen_and_shrinks_to_its_room():
    def columns(room):
        pixels = page(
            {"op": "F", "size": 12, "face": FONT},
            {"op": "T", "pt": [5, 10], "align": "l", "width": room, "text": "wwwwwwwwww"},
            size=(200, 40),
        )
        inked = np.flatnonzero((pixels < 0.5).any(axis=(0, 2)))
        return inked[0] * POINTS / DOTS, inked[-1] * POINTS / DOTS

    wide, narrow = columns(150), columns(40)
    assert wide[0] == pytest.approx(5, abs=1)
    assert 60 < wide[1] < 155
    assert narrow[1] <= 5 + 40 + 1


# ---- machines that cannot draw


def test_a_page_does_not_say_when_it_was_drawn(circuit):
    for format in ("png", "pdf"):
        page = render_dot(circuit_dot(circuit), format)
        assert b"CreationDate" not in page
        assert b"Software" not in page


def test_the_program_of_the_package_is_preferred(monkeypatch, tmp_path):
    (tmp_path / "dot").write_text("#!/bin/sh\n")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert os.path.basename(graphviz_program()).startswith("graphviz-pure")


def test_without_the_package_the_machines_own_dot_is_asked(no_package, monkeypatch, tmp_path):
    own = tmp_path / "dot"
    own.write_text('#!/bin/sh\necho "<svg>own dot $1</svg>"\n')
    own.chmod(own.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert graphviz_program() == str(own)
    assert render_dot("digraph {}", "svg") == b"<svg>own dot -Tsvg</svg>\n"


def test_a_layout_that_takes_too_long_is_given_up(no_package, monkeypatch, tmp_path):
    slow = tmp_path / "dot"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(render, "LIMIT", 0.2)
    with pytest.raises(PictureError, match="timed out"):
        render_dot("digraph {}", "svg")


def test_a_program_that_cannot_be_run_is_an_error_of_ours(no_package, monkeypatch, tmp_path):
    broken = tmp_path / "dot"
    broken.write_bytes(b"\x7fELF not really")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PictureError, match="Graphviz failed"):
        render_dot("digraph {}", "svg")


def test_what_a_program_wrote_before_it_failed_is_no_picture(no_package, monkeypatch, tmp_path):
    failing = tmp_path / "dot"
    failing.write_text('#!/bin/sh\necho "<svg/>"\necho "bad label" >&2\nexit 1\n')
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PictureError, match="Graphviz failed: bad label"):
        render_dot("digraph {}", "svg")


def test_without_graphviz_a_report_lacks_its_circuit_alone_and_says_so(
    interpreted, tmp_path, no_package
):
    with pytest.warns(PictureWarning) as said:
        written = write_report(interpreted, tmp_path, ["html", "md", "svg"])
    assert [str(each.message) for each in said] == [
        "Pictures are missing, as there is no Graphviz; everything else is written."
    ]
    names = {path.name for path in written}
    assert {"circuit.dot", "report.html", "report.md", "curve.svg"} <= names
    assert not {"circuit.svg", "groups.svg"} & names
    sentence = "This picture is missing, as there is no Graphviz; the tables hold its numbers."
    markdown = (tmp_path / "report.md").read_text()
    assert markdown.count(f"*{sentence}*") == 2
    assert "circuit.svg" not in markdown
    assert "](curve.svg)" in markdown
    page = (tmp_path / "report.html").read_text()
    assert page.count(f'<p class="missing">{sentence}</p>') == 3  # by edges, by groups, the groups
    assert page.count("<svg") >= 3  # the plots are there


def test_without_matplotlib_a_report_lacks_its_plots_alone(interpreted, tmp_path, no_matplotlib):
    with pytest.warns(PictureWarning, match="as Matplotlib failed \\(ModuleNotFoundError"):
        written = write_report(interpreted, tmp_path, ["html", "md"])
    names = {path.name for path in written}
    assert {"report.html", "report.md", "circuit.svg", "groups.svg"} <= names
    assert not [name for name in names if name.startswith(("curve", "heatmap", "sweep"))]
    shown = re.findall(r"!\[.*?\]\((.*?)\)", (tmp_path / "report.md").read_text())
    assert shown == ["story.svg", "circuit.svg", "groups.svg"]
    assert (tmp_path / "report.html").read_text().count('<p class="missing">') == 4


def test_a_renderer_that_raises_anything_on_import_costs_the_picture_alone(
    record, tmp_path, no_matplotlib, monkeypatch
):
    (tmp_path / "matplotlib.py").write_text("raise RuntimeError('broken wheel\\nmore')")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(PictureWarning, match=r"Matplotlib failed \(RuntimeError: broken wheel\);"):
        written = write_report(record, tmp_path / "run", ["md"])
    assert "report.md" in {path.name for path in written}


def test_pictures_alone_that_cannot_be_drawn_are_an_error_and_nothing_is_written(
    record, tmp_path, no_package
):
    with pytest.raises(PictureError, match="there is no Graphviz"):
        write_report(record, tmp_path / "run", ["png", "pdf"])
    assert not list((tmp_path / "run").iterdir())


def test_one_picture_of_two_is_written_if_only_one_can_be_drawn(
    record, tmp_path, no_matplotlib, monkeypatch
):
    monkeypatch.setattr(paper, "browser_program", lambda: None)
    with pytest.warns(PictureWarning):
        written = write_report(record, tmp_path, ["svg", "pdf"])
    assert [path.name for path in written] == ["circuit.dot", "circuit.svg"]


def test_a_notebook_without_graphviz_shows_the_numbers(circuit, no_package):
    html = circuit._repr_html_()
    assert "This picture is missing, as there is no Graphviz" in html
    assert "<td>+4.000</td>" in html
    assert circuit._repr_svg_() is None


def test_a_gallery_without_graphviz_is_written_and_says_so(record, tmp_path, no_package):
    save_record(record, tmp_path / "run")
    with pytest.warns(PictureWarning, match="there is no Graphviz"):
        write_gallery(tmp_path)
    assert "This picture is missing" in (tmp_path / "index.html").read_text()


def test_what_html_and_markdown_both_show_is_drawn_once(interpreted, tmp_path, monkeypatch):
    drawn = Counter()
    draw = plots.heat_map_svg

    def counting(heat_map):
        drawn[heat_map] += 1
        return draw(heat_map)

    monkeypatch.setattr(plots, "heat_map_svg", counting)
    write_report(interpreted, tmp_path, ["html", "md"])
    assert set(drawn) >= set(interpreted.heat_maps)
    assert set(drawn.values()) == {1}
