"""Heat maps and curves, read back from their SVG."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib as mpl
import pytest

from circuitkit.reporting.figures import curve_svg, heat_map_svg
from circuitkit.reporting.plots import MAX_ROWS
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.validation.curve import CurvePoint

from .conftest import SCRIPT, near

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [
        "".join(node.itertext()).strip() for node in ElementTree.fromstring(svg).iter(SVG + "text")
    ]


def part(heat_map, rows, columns):
    def cut(grid):
        return tuple(tuple(row[columns]) for row in grid[rows])

    return replace(
        heat_map,
        rows=heat_map.rows[rows],
        columns=heat_map.columns[columns],
        values=cut(heat_map.values),
        low=cut(heat_map.low),
        high=cut(heat_map.high),
    )


def large(heat_map, n_rows, n_columns):
    values = tuple(tuple(float(i * (-1) ** j) for j in range(n_columns)) for i in range(n_rows))
    return replace(
        heat_map,
        rows=tuple(f"row{i}" for i in range(n_rows)),
        columns=tuple(f"c{j}" for j in range(n_columns)),
        values=values,
        low=values,
        high=values,
    )


def cell_fills(svg):
    """Return the colours of the cells, row by row."""
    group = next(
        g for g in ElementTree.fromstring(svg).iter(SVG + "g") if "QuadMesh" in g.get("id", "")
    )
    return [re.search("fill: (#[0-9a-f]{6})", p.get("style"))[1] for p in group.iter(SVG + "path")]


def red_and_blue(colour):
    return int(colour[1:3], 16), int(colour[5:7], 16)


def test_a_narrow_map_writes_every_value_label_unit_and_the_gap(heat_map):
    shown = texts(heat_map_svg(heat_map))
    for word in ("resid 0", "resid 1", "resid <2>", "S1", "$x_$", "effect (logits)"):
        assert word in shown
    for value in ("0.25", "-3.50", "2.75", "0", "-0.12", "1.00"):
        assert value in shown
    assert any("noising" in text for text in shown)
    assert any("supports" in text for text in shown)
    assert any("6.25 logits" in text for text in shown)


def test_positive_cells_are_blue_negative_red_and_zero_neither(heat_map):
    fills = cell_fills(heat_map_svg(heat_map))
    values = [value for row in heat_map.values for value in row]
    assert len(fills) == len(values)
    for value, colour in zip(values, fills, strict=True):
        red, blue = red_and_blue(colour)
        if value == 0:
            assert abs(red - blue) <= 2
        else:
            assert (blue > red) == (value > 0)


def test_only_values_whose_interval_leaves_out_zero_are_bold(heat_map):
    root = ElementTree.fromstring(heat_map_svg(heat_map))
    bold = {
        t.text
        for t in root.iter(SVG + "text")
        if re.search("font-weight: (bold|700)", t.get("style", ""))
    }
    assert bold == {"-3.50", "2.75", "1.00"}


def test_a_value_that_is_written_as_zero_is_not_bold(heat_map):
    values = [[0.001 if value == 0.25 else value for value in row] for row in heat_map.values]
    certain = [[value - 1e-6 for value in row] for row in values]
    shown = replace(heat_map, values=values, low=certain, high=values)
    root = ElementTree.fromstring(heat_map_svg(shown))
    bold = [t.text for t in root.iter(SVG + "text") if "font-weight" in t.get("style", "")]
    assert "0" not in bold
    assert "-0.12" in bold


def test_a_wide_map_leaves_values_out(heat_map):
    assert "6.00" in texts(heat_map_svg(large(heat_map, 7, 8)))
    assert "6.00" not in texts(heat_map_svg(large(heat_map, 7, 9)))


def test_a_long_map_keeps_the_strongest_rows_in_order_and_says_so(heat_map):
    n_rows = MAX_ROWS + 5
    shown = texts(heat_map_svg(large(heat_map, n_rows, 2)))
    rows = [text for text in shown if text.startswith("row")]
    assert rows == [f"row{i}" for i in range(5, n_rows)]
    assert any(f"The {MAX_ROWS} rows with the largest effects of {n_rows}" in t for t in shown)


@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, 3)])
@pytest.mark.parametrize("columns", [slice(0, 1), slice(0, 2)])
def test_a_map_of_one_row_or_one_column_is_drawn_whole(heat_map, rows, columns):
    small = part(heat_map, rows, columns)
    fills = cell_fills(heat_map_svg(small))
    assert len(fills) == len(small.rows) * len(small.columns)


def test_a_map_of_zeros_is_drawn(heat_map):
    zeros = ((0.0, 0.0),) * 3
    fills = cell_fills(heat_map_svg(replace(heat_map, values=zeros, low=zeros, high=zeros)))
    assert len(set(fills)) == 1


def test_labels_cannot_become_markup_and_need_no_glyphs_of_ours(heat_map):
    svg = heat_map_svg(replace(heat_map, columns=("日本", SCRIPT)))
    assert "<script" not in svg
    assert "日本" in texts(svg)


def test_long_labels_leave_the_cells_their_size(heat_map):
    named = replace(heat_map, columns=("a role with quite a long name", "b" * 40))
    svg = heat_map_svg(named)
    group = next(
        g for g in ElementTree.fromstring(svg).iter(SVG + "g") if "QuadMesh" in g.get("id", "")
    )
    ys = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", next(group.iter(SVG + "path")).get("d"))]
    assert max(ys) - min(ys) > 12


def test_the_curve_names_its_axes_levels_threshold_and_the_chosen_size(curve):
    shown = texts(curve_svg(curve, 0.8, 6))
    assert "faithfulness" in shown
    assert "edges in the circuit, of 67 (log scale)" in shown
    assert "this circuit: 6 edges" in shown
    assert "threshold 0.8" in shown
    assert "Under mean ablation" in shown
    for size in ("1", "6", "67"):
        assert size in shown


def test_without_a_chosen_size_nothing_is_marked(curve):
    assert not any("this circuit" in text for text in texts(curve_svg(curve, 0.8, 0)))


def test_without_random_circuits_none_are_promised(curve):
    alone = replace(curve, points=tuple(replace(point, random=()) for point in curve.points))
    assert any("random" in text for text in texts(curve_svg(curve, 0.8, 6)))
    assert not any("random" in text for text in texts(curve_svg(alone, 0.8, 6)))


def test_a_curve_of_one_point_is_drawn(curve):
    svg = curve_svg(replace(curve, points=curve.points[:1]), 0.8, 1)
    assert "selected circuits, 95 % interval" in texts(svg)


def test_an_interval_beside_its_own_point_is_drawn(curve):
    beside = CurvePoint(3, Estimate(0.5, 0.6, 0.7, 9), (0.1,))
    assert ElementTree.fromstring(curve_svg(replace(curve, points=(beside,)), 0.8, 3)) is not None


def test_a_very_wide_interval_does_not_flatten_the_curve(curve):
    def ticks(points):
        numbers = (
            text.replace("−", "-")
            for text in texts(curve_svg(replace(curve, points=points), 0.8, 6))
        )
        return [float(n) for n in numbers if re.fullmatch(r"-?\d+\.\d+", n)]

    wide = CurvePoint(2, near(0.5, 100.0), (0.0,))
    assert max(ticks((*curve.points, wide))) < 2


@pytest.mark.parametrize("draw", ["heat_map", "curve"])
def test_figures_are_the_same_each_time_and_leave_settings_alone(heat_map, curve, draw):
    before = dict(mpl.rcParams)
    svgs = [
        heat_map_svg(heat_map) if draw == "heat_map" else curve_svg(curve, 0.8, 6) for _ in "ab"
    ]
    assert svgs[0] == svgs[1]
    assert dict(mpl.rcParams) == before


def test_figures_carry_no_date_and_no_links(heat_map):
    root = ElementTree.fromstring(heat_map_svg(heat_map))
    assert not list(root.iter(SVG + "metadata"))
    links = [
        v for node in root.iter() for k, v in node.attrib.items() if k.endswith(("href", "src"))
    ]
    assert all(link.startswith(("#", "data:image/png;base64")) for link in links)
