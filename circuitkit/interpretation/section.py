"""Section: what any finding says, as plain data that every writer shows alike.

    sentences   what was found, in words
    tables      cells of text, numbers or estimates; how many digits are shown is the writer's
    pictures    what is to be drawn, not the drawing: heat maps, bars, lines, boxes with arrows
    notes       what was left out, and why

A new finding makes one of these, and HTML, Markdown, JSON, the terminal and notebooks show it: none
of them knows which finding it is. Nothing here draws or is escaped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cattrs

from circuitkit.errors import MethodError
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.work.notebook import Drawn, Shown
from circuitkit.work.text import brief, shown

Cell = str | int | float | Estimate | None
Matrix = tuple[tuple[float, ...], ...]
Style = Literal["text", "code", "token", "number", "signed"]


@dataclass(frozen=True)
class Column:
    """The heading of a column and how its cells are set.

    `code` is a name in a fixed-width face, `token` one with its spaces made visible, `signed` a
    number that shows its sign. Estimates bring their interval, whatever the style.
    """

    name: str
    style: Style = "text"


@dataclass(frozen=True)
class Table(Shown):
    """Rows of cells under columns, `[row][column]`; a cell that is None was not measured."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __repr__(self) -> str:
        return brief(
            f"Table({shown(self.title)}: {len(self.rows)} rows x {len(self.columns)} columns)"
        )

    def __post_init__(self) -> None:
        _require_widths(f"table {self.title!r}", [len(row) for row in self.rows], self.columns)


@dataclass(frozen=True)
class HeatMap(Drawn):
    """Means with 95 % intervals, `[row][column]`, and what the whole of it would be.

    Positive supports the behaviour. `direction` is noising or denoising where activations were
    replaced, and empty where none were. `says` is a caption, `axis` what the columns are.
    """

    name: str
    description: str
    unit: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Matrix
    low: Matrix
    high: Matrix
    whole: float
    direction: str = ""
    says: str = ""
    axis: str = "token position or role"
    kind: Literal["heat map"] = "heat map"

    def __repr__(self) -> str:
        size = f"{len(self.rows)} rows x {len(self.columns)} columns"
        return brief(f"HeatMap({shown(self.name)}: {size}, {self.unit})")


@dataclass(frozen=True)
class Bars(Drawn):
    """One bar a label, with its 95 % interval; positive supports the behaviour."""

    name: str
    description: str
    unit: str
    labels: tuple[str, ...]
    values: tuple[Estimate, ...]
    says: str = ""
    kind: Literal["bars"] = "bars"

    def __repr__(self) -> str:
        return brief(f"Bars({shown(self.name)}: {len(self.labels)} bars, {self.unit})")

    def __post_init__(self) -> None:
        _require_widths(f"bars {self.name!r}", [len(self.values)], self.labels)


@dataclass(frozen=True)
class Line:
    """One line of a chart: an estimate at every x."""

    label: str
    values: tuple[Estimate, ...]


@dataclass(frozen=True)
class LineChart(Drawn):
    """Lines over the same values of x, with 95 % intervals."""

    name: str
    description: str
    x_label: str
    unit: str
    x: tuple[float, ...]
    lines: tuple[Line, ...]
    says: str = ""
    kind: Literal["lines"] = "lines"

    def __repr__(self) -> str:
        return brief(
            f"LineChart({shown(self.name)}: {len(self.lines)} lines at {len(self.x)} points)"
        )

    def __post_init__(self) -> None:
        where = f"line chart {self.name!r}"
        _require_widths(where, [len(line.values) for line in self.lines], self.x)


@dataclass(frozen=True)
class Box:
    """A box of a diagram: its name, what is in it, and what is said of it."""

    name: str
    holds: tuple[str, ...] = ()
    says: str = ""


@dataclass(frozen=True)
class Arrow:
    """An arrow between boxes; it is as wide as its effect is large, dashed where that is negative.

    An end that is no box of the diagram is drawn as an ellipse.
    """

    sender: str
    receiver: str
    effect: Estimate
    says: str = ""


@dataclass(frozen=True)
class Diagram(Drawn):
    """Boxes and arrows, from the top down. Arrows of less than `least` are left to the tables."""

    name: str
    description: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    least: float = 0.0
    says: str = ""
    kind: Literal["diagram"] = "diagram"

    def __repr__(self) -> str:
        size = f"{len(self.boxes)} boxes, {len(self.arrows)} arrows"
        return brief(f"Diagram({shown(self.name)}: {size})")


Picture = HeatMap | Bars | LineChart | Diagram


@dataclass(frozen=True)
class Section(Drawn):
    """One finding. `key` is its short name in addresses; `reading` says how to read it.

    One that `leads` stands beside the picture of the circuit, others behind its components.
    """

    key: str
    title: str
    reading: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    leads: bool = False

    def __repr__(self) -> str:
        size = f"{len(self.tables)} tables, {len(self.pictures)} pictures"
        return brief(f"Section({shown(self.title)}: {size})")

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.key):
            raise MethodError(
                f"section {self.title!r}: its key must be of small letters, digits and dashes, got "
                f"{self.key!r}. Addresses in a report are made of it. Choose another."
            )


def plain(data: Any) -> Any:
    """Return sections, or anything that holds them, as what JSON can say."""
    return _CONVERTER.unstructure(data)


def structured(data: Any, kind: Any) -> Any:
    """Return what `plain` made plain, as the type it came from.

    Raises:
        cattrs.BaseValidationError: it is of another shape.
    """
    return _CONVERTER.structure(data, kind)


def grids(cells: Sequence[Sequence[Estimate]]) -> tuple[Matrix, Matrix, Matrix]:
    """Return values, lower and upper ends of cells, as a heat map has them."""
    return (
        tuple(tuple(cell.value for cell in row) for row in cells),
        tuple(tuple(cell.low for cell in row) for row in cells),
        tuple(tuple(cell.high for cell in row) for row in cells),
    )


def _require_widths(where: str, found: Sequence[int], labels: Sequence[Any]) -> None:
    wrong = [n for n in found if n != len(labels)]
    if wrong:
        raise MethodError(
            f"{where}: must have {len(labels)} values, one for each of its labels, got {wrong[0]}. "
            "Numbers would stand under the wrong names. Give as many."
        )


def _cell(data: Any, kind: Any) -> Cell:
    if isinstance(data, dict):
        return _CONVERTER.structure(data, Estimate)
    if data is not None and not isinstance(data, str | int | float):
        raise TypeError(f"a cell must be text, a number, an estimate or nothing, got {data!r}")
    return data


_CONVERTER = cattrs.Converter()
_CONVERTER.register_structure_hook(Cell, _cell)
