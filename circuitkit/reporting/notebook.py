"""How circuits, heat maps, curves and interpretations show themselves in a notebook.

IPython asks an object for `_repr_html_`, and for `_repr_svg_` where only pictures can be shown.
Both need Graphviz or Matplotlib, which lie above these classes in the order of imports. So the
classes know nothing of it: `show_in_notebooks` gives them the two methods, and `circuitkit`'s own
`__init__` calls it once. A class without them would show its plain text and nothing else changes.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.findings import Interpretation
from circuitkit.reporting.content import Table, interval, number, signed
from circuitkit.reporting.dot import picture_dot
from circuitkit.reporting.figures import curve_svg, heat_map_svg
from circuitkit.reporting.findings import groups_table
from circuitkit.reporting.findings_dot import groups_dot
from circuitkit.reporting.html import inline_svg, missing_text
from circuitkit.reporting.pictures import Album, Missing
from circuitkit.reporting.render import render_dot
from circuitkit.study.records import HeatMap
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.curve import Curve


def show_in_notebooks() -> None:
    """Give what can be drawn the methods that IPython looks for."""
    _teach(Circuit, circuit_picture, circuit_edges)
    _teach(HeatMap, heat_map_svg, heat_map_values)
    _teach(Curve, curve_picture, curve_points)
    _teach(Interpretation, groups_picture, groups_table)


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


def _teach(kind: type, picture: Callable[[Any], str], table: Callable[[Any], Table]) -> None:
    def as_html(self: Any) -> str:
        return _figure(Album().drawn(lambda: picture(self)), table(self))

    def as_svg(self: Any) -> str | None:
        svg = Album().drawn(lambda: picture(self))
        return None if isinstance(svg, Missing) else svg  # IPython then shows plain text

    for name, method in (("_repr_svg_", as_svg), ("_repr_html_", as_html)):
        setattr(kind, name, method)


def _figure(svg: str | Missing, table: Table) -> str:
    """Return a picture and, folded away, its numbers. Ids are its own on a page of many."""
    shown = missing_text(svg) if isinstance(svg, Missing) else _own_ids(svg)
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
        ).format(shown, len(table.rows), head, rows)
    )


def _own_ids(svg: str) -> Markup:
    return inline_svg(svg, f"circuitkit-{hashlib.sha256(svg.encode()).hexdigest()[:8]}")
