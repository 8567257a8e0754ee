"""The report as one HTML file that opens without a network: an explorer of the run.

Styles, pictures, data and the script are inside it. Everything is readable without the script,
which adds the controls. All text is escaped by Jinja; pictures go through an XML parser, so only
what is inside an SVG can come out of it. The page's own policy forbids any request, and any script
but the one whose hash it names.
"""

from importlib import resources
from typing import Any
from xml.dom import minidom

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.findings import Interpretation
from circuitkit.reporting import cards, content, explorer, findings
from circuitkit.reporting.dot import READ_COLOURS, render_dot, sizes_dot
from circuitkit.reporting.figures import curve_svg, heat_map_svg
from circuitkit.reporting.findings_dot import group_names, groups_dot
from circuitkit.reporting.sizes import drawn_circuit, layout_weights, sizes_of
from circuitkit.study.records import RunRecord

TEMPLATE = "report.html.jinja"
SMALLEST = 0.72


def report_html(record: RunRecord) -> str:
    """Return the whole report as one self-contained page."""
    validation = record.validation
    curve = curve_svg(
        validation.curve, validation.thresholds.min_faithfulness, record.circuit.n_edges
    )
    script = explorer.page_script()
    return rendered(
        TEMPLATE,
        record=record,
        title=content.title_of(record),
        reading={**content.READING, **findings.READING},
        badge=content.marked(validation.verdict.outcome),
        sentences=content.verdict_sentences(record),
        questions=content.questions_table(record),
        measurements=content.measurements(record),
        checks=content.checks_table(record),
        question=content.question_table(record),
        baseline=content.baseline_table(record),
        samples=content.sample_texts(record),
        counts=content.counts_table(record),
        components=content.component_list(record),
        components_table=cards.components_table(record),
        curve_points=content.curve_table(record),
        ablations=content.ablations_table(record),
        edges=content.edges_table(record),
        all_edges=cards.all_edges_table(record),
        provenance=content.provenance_table(record),
        curve_picture=inline_svg(curve, "curve"),
        heat_maps=[
            (heat_map, inline_svg(heat_map_svg(heat_map), f"map{number}"))
            for number, heat_map in enumerate(record.heat_maps)
        ],
        read_colours=READ_COLOURS,
        script=script,
        script_source=explorer.source_hash(script),
        style=explorer.page_style(),
        found=_findings(record.interpretation) if record.interpretation else None,
        **_explorer(record),
    )


def rendered(template: str, **values: Any) -> str:
    """Return a page made from one of the templates here; every text in it is escaped."""
    source = resources.files("circuitkit.reporting").joinpath(template).read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(**values).rstrip() + "\n"


def _explorer(record: RunRecord) -> dict[str, Any]:
    sizes = sizes_of(record)
    drawn = drawn_circuit(record, sizes)
    svg = render_dot(sizes_dot(drawn, layout_weights(sizes, drawn)), "svg").decode()
    return {
        "sizes": sizes,
        "own": next(size for size in sizes if size.is_own),
        "own_at": next(at for at, size in enumerate(sizes) if size.is_own),
        "circuit_picture": inline_svg(_tagged(record, drawn, svg), "circuit"),
        "cards": cards.card_texts(record, drawn),
        "prompt_titles": [each["title"] for each in explorer.prompts_of(record.interpretation)],
        "data": explorer.safe_json(explorer.explorer_data(record, sizes, drawn)),
    }


def _tagged(record: RunRecord, drawn: Circuit, svg: str) -> str:
    nodes = {name: name for name in drawn.graph.components}
    edges = {edge: (edge, *Circuit.ends(edge)) for edge in drawn.edges}
    return explorer.tagged_svg(svg, nodes, edges, record.circuit.edges)


def _findings(found: Interpretation) -> dict[str, Any]:
    names = group_names(found)
    nodes = {f"g{at}": name for at, name in enumerate(names)}
    edges = {
        f"e{at}": (f"{edge.sender} to {edge.receiver}", edge.sender, edge.receiver)
        for at, edge in enumerate(found.group_edges)
    }
    picture = ""
    if found.groups:
        svg = render_dot(groups_dot(found), "svg").decode()
        tagged = explorer.tagged_svg(svg, nodes, edges, [edge[0] for edge in edges.values()])
        picture = inline_svg(tagged, "groups")
    return {
        "groups": findings.groups_table(found),
        "group_edges": findings.group_edges_table(found),
        "groups_picture": picture,
        "directions": findings.directions_table(found),
        "sweeps": [
            (sweep, inline_svg(findings.sweep_svg(sweep), f"sweep{at}"))
            for at, sweep in enumerate(found.sweeps)
        ],
        "notes": found.notes,
        "n_pairs": found.n_pairs,
        "ablation": found.ablation,
    }


def inline_svg(svg: str, prefix: str) -> Markup:
    """Return an SVG file as an element of a page, its ids made its own by a prefix.

    A style sheet inside it would reach the whole page, so its rule moves to the element. The
    picture shrinks with the page down to SMALLEST of its size; the page scrolls it from there.
    """
    root = minidom.parseString(svg).documentElement
    assert root is not None  # a document that parses has a root
    styles = [f"min-width: {SMALLEST * float(root.getAttribute('width').removesuffix('pt')):.0f}pt"]
    for sheet in list(root.getElementsByTagName("style")):
        if sheet.parentNode is not None:
            sheet.parentNode.removeChild(sheet)
        styles.append("stroke-linejoin: round")
    root.setAttribute("style", "; ".join(styles))
    for element in [root, *root.getElementsByTagName("*")]:
        for name, value in list(element.attributes.items()):
            if name == "id":
                element.setAttribute(name, f"{prefix}-{value}")
            elif name.endswith("href") and value.startswith("#"):
                element.setAttribute(name, f"#{prefix}-{value[1:]}")
            elif "url(#" in value:
                element.setAttribute(name, value.replace("url(#", f"url(#{prefix}-"))
    return Markup(root.toxml())  # an SVG of ours, escaped again by the XML writer
