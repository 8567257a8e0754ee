"""How results show themselves in a notebook: a picture where there is one, and a short table.

Their bases in work/notebook.py have the methods that IPython asks for; they find this file, which
needs Graphviz or Matplotlib, when a notebook first asks. All text is escaped: names, prompts and
tokens are a stranger's.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores, NodeScores
from circuitkit.interpretation.findings import Interpretation
from circuitkit.interpretation.section import (
    Bars,
    Diagram,
    HeatMap,
    LineChart,
    Picture,
    Section,
    Table,
)
from circuitkit.interpretation.sections import sections_of
from circuitkit.reporting.columns_dot import dot_to_look_at
from circuitkit.reporting.figures import curve_svg
from circuitkit.reporting.frames import numbers_of
from circuitkit.reporting.html import inline_svg, missing_text
from circuitkit.reporting.pictures import Album, Missing
from circuitkit.reporting.render import render_dot
from circuitkit.reporting.sections import picture_svg, picture_table, table_text
from circuitkit.reporting.values import NONE, TableText, interval, marked, number, rounded, signed
from circuitkit.study.records import RunRecord
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.curve import Curve
from circuitkit.validation.verdict import Verdict

MAX_ROWS = 20  # that a notebook shows of a table


def show_in_notebooks() -> None:
    """Do nothing: what can be drawn shows itself. Kept for one version."""


def picture_of(shown: object) -> str | None:
    """Return what is drawn as SVG; None where it cannot be drawn here."""
    _, svg = _drawing(shown)
    return svg(shown)


def page_of(shown: object) -> str:
    """Return a result as HTML: its picture and, folded away, its numbers; or the numbers alone."""
    drawing = next((each for kind, each in DRAWINGS.items() if isinstance(shown, kind)), None)
    if drawing is not None:
        return drawing[0](shown)
    table = next((each for kind, each in TABLES.items() if isinstance(shown, kind)), plain_table)
    return table_html(shown, table(shown))


def table_html(shown: object, table: TableText) -> str:
    """Return what an object is in a line, what it says in words, and the rows of its table."""
    verdict = shown.validation.verdict if isinstance(shown, RunRecord) else shown
    says = getattr(verdict, "sentence", "") or getattr(shown, "summary", "")
    whole = len(numbers_of(shown).rows)
    rest = f"{len(table.rows)} of {whole:,} rows; all are in .to_frame()"
    return str(
        Markup("<p><b>{}</b></p>{}<div style='overflow-x: auto'>{}</div>{}").format(
            repr(shown),
            Markup("<p>{}</p>").format(says) if says else "",
            _rows(table),
            Markup("<p>{}</p>").format(rest) if len(table.rows) < whole else "",
        )
    )


def plain_table(shown: object) -> TableText:
    """Return the first rows of any result's table as text."""
    table = numbers_of(shown)
    rows = tuple(tuple(map(_plain, row)) for row in table.rows[:MAX_ROWS])
    return TableText(table.columns, rows)


def strongest_scores(scores: EdgeScores | NodeScores) -> TableText:
    """Return the scores that are largest in size, whatever their sign."""
    table = numbers_of(scores)
    ranked = sorted(table.rows, key=lambda row: -abs(row[-1]))[:MAX_ROWS]
    return TableText((table.columns[0], "score"), tuple((r[0], signed(r[-1])) for r in ranked))


def checks_of(verdict: Verdict) -> TableText:
    """Return the checks of a verdict: what was measured, what was asked for, and the outcome."""
    headers = ("criterion", "value [95 % interval]", "must be", "outcome", "what it is")
    rows = tuple(
        (each.criterion, each.got, each.rule, marked(each.outcome), each.measures)
        for each in verdict.checks
    )
    return TableText(headers, rows)


def _plain(cell: object) -> str:
    if cell is None:
        return NONE
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, tuple):
        return ", ".join(map(str, cell))
    return number(cell) if isinstance(cell, float) else str(cell)


def circuit_picture(circuit: Circuit) -> str:
    """Return the circuit as SVG; of a very large one the strongest edges."""
    origin = circuit.provenance
    where = f"{origin.task} in {origin.model}, " if origin.task and origin.model else ""
    return render_dot(dot_to_look_at(circuit, f"{where}{circuit.n_edges} edges"), "svg").decode()


def curve_picture(curve: Curve) -> str:
    """Return the curve as SVG, with the threshold that verdicts use unless told otherwise."""
    return curve_svg(curve, Thresholds().min_faithfulness, 0)


def interpretation_html(found: Interpretation) -> str:
    """Return everything that was found, section after section."""
    return "".join(map(section_html, sections_of(found)))


def section_html(section: Section) -> str:
    """Return any finding: its sentences, pictures, tables and notes."""
    parts = [Markup("<h3>{}</h3><p><i>{}</i></p>").format(section.title, section.reading)]
    parts += [Markup("<p>{}</p>").format(sentence) for sentence in section.sentences]
    for picture in section.pictures:
        parts.append(Markup(_figure(_drawn(picture), picture_table(picture))))
        parts.append(Markup("<p>{}</p>").format(picture.says))
    for table in section.tables:
        parts.append(Markup("<h4>{}</h4>{}").format(table.title, _rows(table_text(table))))
    parts += [Markup("<p>{}</p>").format(note) for note in section.notes]
    return str(Markup("").join(parts))


def groups_picture(found: Interpretation) -> str | None:
    """Return the first picture of an interpretation: its groups."""
    return first_picture(*sections_of(found))


def first_picture(*sections: Section) -> str | None:
    """Return the first picture of some sections, for where only one picture can be shown."""
    drawn = [_drawn(each) for section in sections for each in section.pictures[:1]][:1]
    return next((svg for svg in drawn if not isinstance(svg, Missing)), None)


def _drawn(picture: Picture) -> str | Missing:
    return Album().drawn(picture_svg, picture)


def circuit_edges(circuit: Circuit) -> TableText:
    """Return the circuit's edges and their scores, in edge order."""
    scores: list[float] = circuit.scores.by_edge().tolist()
    rows = tuple((edge, signed(scores[circuit.graph.edge_number(edge)])) for edge in circuit.edges)
    return TableText(("edge", "score"), rows)


def curve_points(curve: Curve) -> TableText:
    """Return the points of a curve."""
    rows = tuple(
        (f"{each.n_edges:,}", rounded(each.faithfulness), interval(each.faithfulness))
        for each in curve.points
    )
    return TableText(("edges", "faithfulness", "95 % interval"), rows)


Html = Callable[[Any], str]
Svg = Callable[[Any], str | None]


def _figured(picture: Callable[[Any], str], table: Callable[[Any], TableText]) -> tuple[Html, Svg]:
    """Return how a picture with a table of its numbers is shown."""

    def as_html(shown: Any) -> str:
        return _figure(Album().drawn(lambda: picture(shown)), table(shown))

    def as_svg(shown: Any) -> str | None:
        svg = Album().drawn(lambda: picture(shown))
        return None if isinstance(svg, Missing) else svg  # IPython then shows plain text

    return as_html, as_svg


# One line for each class that is drawn: as HTML, and as SVG.
DRAWINGS: dict[type, tuple[Html, Svg]] = {
    Circuit: _figured(circuit_picture, circuit_edges),
    Curve: _figured(curve_picture, curve_points),
    **{kind: _figured(picture_svg, picture_table) for kind in (HeatMap, Bars, LineChart, Diagram)},
    Section: (section_html, first_picture),
    Interpretation: (interpretation_html, groups_picture),
}

# What notebooks show of a class that is not drawn, where its first rows are not the best choice.
TABLES: dict[type, Callable[[Any], TableText]] = {
    EdgeScores: strongest_scores,
    NodeScores: strongest_scores,
    Verdict: checks_of,
    RunRecord: lambda record: checks_of(record.validation.verdict),
    Table: lambda table: table_text(table),
}


def _drawing(shown: object) -> tuple[Html, Svg]:
    return next(drawing for kind, drawing in DRAWINGS.items() if isinstance(shown, kind))


def _figure(svg: str | Missing, table: TableText) -> str:
    """Return a picture and, folded away, its numbers. Ids are its own on a page of many."""
    shown = missing_text(svg) if isinstance(svg, Missing) else _own_ids(svg)
    return str(
        Markup(
            '<div style="overflow-x: auto">{}</div><details><summary>{} rows</summary>{}</details>'
        ).format(shown, len(table.rows), _rows(table))
    )


def _rows(table: TableText) -> Markup:
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in table.headers)
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row)
        )
        for row in table.rows
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, rows)


def _own_ids(svg: str) -> Markup:
    return inline_svg(svg, f"circuitkit-{hashlib.sha256(svg.encode()).hexdigest()[:8]}")
