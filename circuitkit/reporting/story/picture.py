"""The story as a picture of at most MOST_BOXES boxes, as SVG.

A column is a token of the prompt, with its role; time goes down a column, which is the residual
stream there. A box is a part of the circuit at the place where it acts, with its names, where it
looks and what it does; an arrow comes from the column that it looks at. Broken lines work against
the answer. Parts that do little share one box. All text is escaped.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from circuitkit.circuits.circuit import kind_of
from circuitkit.prompts.pairs import END
from circuitkit.reporting.dot import FAINT, FILLS, INK, PAPER
from circuitkit.reporting.story.parts import Part
from circuitkit.reporting.story.sentence import TOLD, Story
from circuitkit.reporting.story.words import conjugated
from circuitkit.study.records import RunRecord

MOST_BOXES, MOST_OTHERS = 10, 4
COLUMN, BOX = 236, 212  # how wide
LINE, PAD, GAP = 15, 7, 16  # a line of text, around it, between boxes
LETTERS = 27  # that fit a line of a box in the widest of the faces
TOP = 44  # of the tokens
GREY, SUPPORTS, AGAINST = "#555555", "#0072b2", "#d55e00"
UNKNOWN = ""


@dataclass(frozen=True)
class Box:
    """One box: its lines of text, names first, in a column and a row."""

    part: Part | None
    lines: tuple[str, ...]
    column: int
    row: int

    @property
    def height(self) -> int:
        """How high its text makes it."""
        return LINE * len(self.lines) + 2 * PAD


def story_svg(story: Story, columns: Sequence[str]) -> str:
    """Return the picture; `columns` are all token roles in the order of the prompt."""
    shown, others = _shown(story.parts)
    used = {place for part in shown for place in (part.at, part.source) if place}
    places = [name for name in columns if name in used]
    places += [END] * (END not in places)
    if any(part.at not in places for part in shown):
        places.insert(0, UNKNOWN)
    boxes = _boxes(shown, others, places)
    tops = _tops(boxes)
    bottom = tops[-1] + GAP
    width, height = COLUMN * len(places), bottom + 34
    body = [
        *_lanes(story, places, boxes, tops, bottom),
        *(line for box in boxes for line in _arrow(box, places, tops)),
        *(line for box in boxes for line in _drawn(box, tops[box.row])),
        *_answer(story, places, bottom),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" '
        f'viewBox="0 0 {width} {height}" font-family="Helvetica,Arial,DejaVu Sans,sans-serif" '
        f'font-size="12">\n<rect width="{width}" height="{height}" fill="{PAPER.lower()}"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def columns_of(record: RunRecord) -> tuple[str, ...]:
    """Return the token roles in the order of the prompt, from what was measured."""
    found = record.interpretation
    labels = found.prompts[0].labels if found and found.prompts else ()
    every = (column for heat_map in record.heat_maps for column in heat_map.columns)
    return tuple(dict.fromkeys([*filter(None, labels), *every]))


def steps_of(story: Story) -> tuple[tuple[str, str], ...]:
    """Return the boxes as a list, for narrow screens and readers: names, and what they do."""
    shown, others = _shown(story.parts)
    steps = []
    for part in shown:
        place = story.example.place(part.at) if story.example and part.at else part.at
        says = [*([place] if place else []), *_says(part)]
        steps.append((", ".join(part.components[:MOST_OTHERS]), ", ".join(says)))
    if others:
        steps.append((f"{len(_names(others))} more", "do little alone"))
    return tuple(steps)


def _shown(parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """Return the parts that get a box, by layer, and those that share one."""
    strong = [part for part in parts if part.is_shown and abs(part.share) >= TOLD]
    strong = strong or list(parts)
    kept = sorted(strong, key=lambda part: -abs(part.share))[: MOST_BOXES - 1]
    return [p for p in parts if p in kept], [p for p in parts if p not in kept]


def _names(parts: Sequence[Part]) -> list[str]:
    return [name for part in parts for name in part.components]


def _boxes(shown: Sequence[Part], others: Sequence[Part], places: list[str]) -> list[Box]:
    """Return the boxes; those of one layer share a row where they stand in different columns."""
    boxes: list[Box] = []
    row, key, taken = -1, None, set[int]()
    for part in shown:
        column = places.index(part.at if part.at in places else UNKNOWN)
        own = (part.layer, kind_of(part.components[0]))
        if own != key or column in taken or part.looks:
            row, key, taken = row + 1, own, set()
        taken.add(column)
        boxes.append(Box(part, _lines(part), column, row))
    if others:
        names = _names(others)
        dots = " ..." if len(names) > MOST_OTHERS else ""
        listed = textwrap.wrap(", ".join(names[:MOST_OTHERS]) + dots, LETTERS)
        few = f"{len(names)} more, little alone"
        boxes.append(Box(None, (few, *listed), 0, row + 1))
    return boxes


def _says(part: Part) -> list[str]:
    """Return where a part looks and what it does; of one that is unexplained, what it is worth."""
    n = len(part.components)
    says = []
    if part.looks:
        says.append(f"{conjugated('{look}', n)} at {part.looks} ({part.attention:.0%})")
    if part.deed:
        says.append(conjugated(part.deed, n))
    return says or [f"worth {part.share:.0%} of the gap alone"]


def _lines(part: Part) -> tuple[str, ...]:
    dots = " ..." if len(part.components) > MOST_OTHERS else ""
    names = textwrap.wrap(", ".join(part.components[:MOST_OTHERS]) + dots, LETTERS)
    return (*names, *(line for says in _says(part) for line in textwrap.wrap(says, LETTERS)))


def _tops(boxes: Sequence[Box]) -> list[int]:
    """Return where each row begins, and where the last one ends."""
    tops = [TOP + GAP]
    for row in range(max((box.row for box in boxes), default=-1) + 1):
        tops.append(tops[-1] + max(b.height for b in boxes if b.row == row) + GAP)
    return tops


def _lanes(
    story: Story, places: list[str], boxes: Sequence[Box], tops: list[int], bottom: int
) -> list[str]:
    lines = []
    for at, place in enumerate(places):
        middle = COLUMN * at + COLUMN // 2
        ends = [tops[b.row] + b.height // 2 for b in boxes if b.part and _reaches(b, at, places)]
        end = bottom if place == END else max(ends, default=TOP)
        if place != UNKNOWN:
            lines.append(
                f'<line x1="{middle}" y1="{TOP - 6}" x2="{middle}" y2="{end}" stroke="{GREY}" '
                'stroke-width="2" stroke-opacity="0.45"/>'
            )
        token = story.example.heading(place) if story.example and place else ""
        token = token or ("the last token" if place == END else place or "place not known")
        lines.append(_text(middle, 17, _cut(token), bold=True))
        if place and token != place:
            lines.append(_text(middle, 32, place, FAINT))
    return lines


def _reaches(box: Box, column: int, places: list[str]) -> bool:
    assert box.part is not None
    return box.column == column or bool(places[column]) and box.part.source == places[column]


def _arrow(box: Box, places: list[str], tops: list[int]) -> list[str]:
    """Return the arrow from the column that a box looks at to the box."""
    part = box.part
    if part is None or not part.source or part.source not in places:
        return []
    if places.index(part.source) == box.column:
        return []
    start = COLUMN * places.index(part.source) + COLUMN // 2
    is_right = start > COLUMN * box.column
    edge = COLUMN * box.column + (COLUMN + BOX) // 2 if is_right else _left(box)
    tip, y = (6 if is_right else -6), tops[box.row] + box.height // 2
    colour = AGAINST if part.share < 0 else SUPPORTS
    wide = 1 + 3 * part.attention
    return [
        f'<circle cx="{start}" cy="{y}" r="4" fill="{colour}"/>',
        f'<line x1="{start}" y1="{y}" x2="{edge + tip}" y2="{y}" stroke="{colour}" '
        f'stroke-width="{wide:.1f}"/>',
        f'<polygon points="{edge},{y} {edge + 2 * tip},{y - 6} {edge + 2 * tip},{y + 6}" '
        f'fill="{colour}"/>',
    ]


def _left(box: Box) -> int:
    return COLUMN * box.column + (COLUMN - BOX) // 2


def _drawn(box: Box, top: int) -> list[str]:
    part = box.part
    kind = kind_of(part.components[0]) if part else "input"
    is_against = part is not None and part.share < 0
    dashes = ' stroke-dasharray="5 3"' if is_against else ""
    rounding = 14 if kind == "mlp" else 4
    lines = [
        f'<rect x="{_left(box)}" y="{top}" width="{BOX}" height="{box.height}" rx="{rounding}" '
        f'fill="{FILLS[kind].lower()}" stroke="{AGAINST if is_against else GREY}"{dashes}/>'
    ]
    middle = COLUMN * box.column + COLUMN // 2
    for number, line in enumerate(box.lines):
        y = top + PAD + LINE * number + 11
        lines.append(_text(middle, y, line, bold=number == 0))
    return lines


def _answer(story: Story, places: list[str], bottom: int) -> list[str]:
    middle = COLUMN * places.index(END) + COLUMN // 2
    says = story.example.answer if story.example else "the answer"
    return [
        f'<polygon points="{middle},{bottom + 8} {middle - 6},{bottom - 2} {middle + 6},'
        f'{bottom - 2}" fill="{GREY}"/>',
        _text(middle, bottom + 24, _cut(says), bold=True),
    ]


def _text(x: int, y: int, text: str, colour: str = INK, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    shown = escape("".join(letter for letter in text if letter.isprintable()))
    return (
        f'<text x="{x}" y="{y}" text-anchor="middle" fill="{colour.lower()}"{weight}>{shown}</text>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
