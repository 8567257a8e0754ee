"""Sections as data: they come back from JSON, and refuse what would stand under wrong names."""

import json

import cattrs
import pytest

from circuitkit.errors import MethodError
from circuitkit.interpretation.section import (
    Arrow,
    Bars,
    Box,
    Column,
    Diagram,
    HeatMap,
    Line,
    LineChart,
    Section,
    Table,
    plain,
    structured,
)
from circuitkit.statistics.bootstrap import Estimate

VALUE = Estimate(0.5, 0.25, 0.75, 40)
GRIDS = {"values": ((1.0, 2.0),), "low": ((0.5, 1.5),), "high": ((2.0, 3.0),)}
PICTURES = (
    HeatMap("map", "a map", "nats", ("r",), ("a", "b"), **GRIDS, whole=3.0),
    Bars("bars", "some bars", "logits", ("a0.h0",), (VALUE,)),
    LineChart("lines", "a line", "layer", "logits", (0.0, 1.0), (Line("m0", (VALUE, VALUE)),)),
    Diagram(
        "boxes",
        "a graph",
        (Box("movers", ("a0.h0",)),),
        (Arrow("movers", "logits", VALUE, "2 edges"),),
    ),
)
CELLS = ("text", 3, 0.25, VALUE, None)
SECTION = Section(
    "made-up",
    "Made up",
    "Read it so.",
    ("A sentence.",),
    (Table("a table", tuple(map(Column, "abcde")), (CELLS,)),),
    PICTURES,
    ("A note.",),
)


def test_a_section_with_every_kind_of_cell_and_picture_comes_back_from_json():
    text = json.dumps(plain(SECTION))
    found = structured(json.loads(text), Section)
    assert found == SECTION
    assert [type(cell) for cell in found.tables[0].rows[0]] == [type(cell) for cell in CELLS]


def test_json_says_of_every_picture_what_kind_it_is():
    kinds = [picture["kind"] for picture in plain(SECTION)["pictures"]]
    assert kinds == ["heat map", "bars", "lines", "diagram"]


@pytest.mark.parametrize("cell", [["a list"], {"value": 1}])
def test_a_cell_of_another_kind_is_refused(cell):
    data = plain(SECTION)
    data["tables"][0]["rows"] = [[*CELLS[:2], cell, None, None]]
    with pytest.raises(cattrs.BaseValidationError):
        structured(data, Section)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Table("t", (Column("a"), Column("b")), (("one",),)),
        lambda: Bars("b", "", "", ("one", "two"), (VALUE,)),
        lambda: LineChart("l", "", "", "", (0.0, 1.0), (Line("m0", (VALUE,)),)),
    ],
)
def test_values_that_are_not_one_for_each_label_are_refused(make):
    with pytest.raises(MethodError, match="must have 2 values, one for each of its labels, got 1"):
        make()


@pytest.mark.parametrize("key", ["", "Two words", "a/b", "-x", 'a"b'])
def test_a_key_that_is_no_address_is_refused(key):
    with pytest.raises(MethodError, match="its key must be of small letters, digits and dashes"):
        Section(key, "title", "")
