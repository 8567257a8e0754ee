"""The report as one HTML file that opens without a network: styles and pictures are inside it.

All text is escaped by Jinja; pictures go through an XML parser, so only what is inside an SVG
can come out of it. The page's own policy forbids scripts and any request.
"""

from importlib import resources
from xml.dom import minidom

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from circuitkit.reporting import content
from circuitkit.reporting.dot import picture_dot, render_dot
from circuitkit.reporting.figures import curve_svg, heat_map_svg
from circuitkit.reporting.record import RunRecord

TEMPLATE = "report.html.jinja"
SMALLEST = 0.72


def report_html(record: RunRecord) -> str:
    """Return the whole report as one self-contained page."""
    source = resources.files("circuitkit.reporting").joinpath(TEMPLATE).read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    validation = record.validation
    curve = curve_svg(
        validation.curve, validation.thresholds.min_faithfulness, record.circuit.n_edges
    )
    picture = render_dot(picture_dot(record.circuit, content.caption_of(record)), "svg").decode()
    page = environment.from_string(source).render(
        record=record,
        title=content.title_of(record),
        reading=content.READING,
        badge=content.marked(validation.verdict.outcome),
        sentences=content.verdict_sentences(record),
        checks=content.checks_table(record),
        question=content.question_table(record),
        baseline=content.baseline_table(record),
        samples=content.sample_texts(record),
        counts=content.counts_table(record),
        components=content.component_list(record),
        curve_points=content.curve_table(record),
        ablations=content.ablations_table(record),
        edges=content.edges_table(record),
        provenance=content.provenance_table(record),
        circuit_picture=inline_svg(picture, "circuit"),
        curve_picture=inline_svg(curve, "curve"),
        heat_maps=[
            (heat_map, inline_svg(heat_map_svg(heat_map), f"map{number}"))
            for number, heat_map in enumerate(record.heat_maps)
        ],
    )
    return page.rstrip() + "\n"


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
