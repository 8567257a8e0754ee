"""How circuits, heat maps, curves and interpretations show themselves in a notebook.

Their base `work.notebook.Drawn` has the methods that IPython asks for; they find this file, which
needs Graphviz or Matplotlib, when a notebook first asks.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.findings import Interpretation
from circuitkit.reporting.content import Table, interval, number, signed
from circuitkit.reporting.dot import picture_dot, render_dot
from circuitkit.reporting.figures import curve_svg, heat_map_svg
from circuitkit.reporting.findings import groups_table
from circuitkit.reporting.findings_dot import groups_dot
from circuitkit.reporting.html import inline_svg
from circuitkit.study.records import HeatMap
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.curve import Curve


def show_in_notebooks() -> None:
    """Do nothing: what can be drawn shows itself. Kept for one version."""


def picture_of(shown: object) -> str:
    """Return what is drawn as SVG."""
    picture, _ = _drawing(shown)
    return picture(shown)


def page_of(shown: object) -> str:
    """Return what is drawn as HTML: the picture and, folded away, its numbers."""
    picture, table = _drawing(shown)
    return _figure(picture(shown), table(shown))


def circuit_picture(circuit: Circuit) -> str:
    """Return the circuit as SVG; of a very large one the strongest edges."""
    origin = circuit.provenance
    where = f"{origin.task} in {origin.model}, " if origin.task and origin.model else ""
    return render_dot(picture_dot(circuit, f"{where}{circuit.n_edges} edges"), "svg").decode()


def curve_picture(curve: Curve) -> str:
    """Return the curve as SVG, with the threshold that verdicts use unless told otherwise."""
    return curve_svg(curve, Thresholds().min_faithfulness, 0)


def groups_picture(found: Interpretation) -> str:
    """Return the graph of groups as SVG."""
    return render_dot(groups_dot(found), "svg").decode()


def circuit_edges(circuit: Circuit) -> Table:
    """Return the circuit's edges and their scores, in edge order."""
    scores: list[float] = circuit.scores.by_edge().tolist()
    rows = tuple((edge, signed(scores[circuit.graph.edge_number(edge)])) for edge in circuit.edges)
    return Table(("edge", "score"), rows)


def heat_map_values(heat_map: HeatMap) -> Table:
    """Return the values of a heat map."""
    rows = tuple(
        (name, *(number(value) for value in values))
        for name, values in zip(heat_map.rows, heat_map.values, strict=True)
    )
    return Table((heat_map.unit, *heat_map.columns), rows)


def curve_points(curve: Curve) -> Table:
    """Return the points of a curve."""
    rows = tuple(
        (f"{each.n_edges:,}", number(each.faithfulness.value), interval(each.faithfulness))
        for each in curve.points
    )
    return Table(("edges", "faithfulness", "95 % interval"), rows)


# One line for each class that is drawn: its picture, and the table of its numbers.
DRAWINGS: dict[type, tuple[Callable[[Any], str], Callable[[Any], Table]]] = {
    Circuit: (circuit_picture, circuit_edges),
    HeatMap: (heat_map_svg, heat_map_values),
    Curve: (curve_picture, curve_points),
    Interpretation: (groups_picture, groups_table),
}


def _drawing(shown: object) -> tuple[Callable[[Any], str], Callable[[Any], Table]]:
    return next(drawing for kind, drawing in DRAWINGS.items() if isinstance(shown, kind))


def _figure(svg: str, table: Table) -> str:
    """Return a picture and, folded away, its numbers. Ids are its own on a page of many."""
    prefix = f"circuitkit-{hashlib.sha256(svg.encode()).hexdigest()[:8]}"
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in table.headers)
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row)
        )
        for row in table.rows
    )
    return str(
        Markup(
            '<div style="overflow-x: auto">{}</div><details><summary>{} rows</summary>'
            "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></details>"
        ).format(inline_svg(svg, prefix), len(table.rows), head, rows)
    )
