"""The report as one HTML file that opens without a network: an explorer of the run.

Styles, pictures, data and the script are inside it. Everything is readable without the script,
which adds the controls. All text is escaped by Jinja; pictures go through an XML parser, so only
what is inside an SVG can come out of it. The page's own policy forbids any request, and any script
but the one whose hash it names.
"""

from functools import cache
from importlib import resources
from typing import Any
from xml.dom import minidom

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.findings import Interpretation
from circuitkit.interpretation.section import Diagram, Picture
from circuitkit.interpretation.sections import sections_of
from circuitkit.reporting import cards, content, explorer
from circuitkit.reporting.asked import asked_of
from circuitkit.reporting.dot import READ_COLOURS, sizes_dot
from circuitkit.reporting.figures import curve_svg, heat_map_svg
from circuitkit.reporting.findings_dot import box_names
from circuitkit.reporting.grouped import STARTS_GROUPED, grouped_diagram
from circuitkit.reporting.parts_table import parts_table
from circuitkit.reporting.pictures import Album, Missing
from circuitkit.reporting.reading import READING
from circuitkit.reporting.render import render_dot
from circuitkit.reporting.sample_texts import sample_texts
from circuitkit.reporting.sections import caption, picture_svg, picture_table, table_text
from circuitkit.reporting.sizes import drawn_circuit, layout_weights, sizes_of
from circuitkit.reporting.story.picture import columns_of, steps_of, story_svg
from circuitkit.reporting.story.sentence import story_of
from circuitkit.reporting.story.verdict import plain_verdict
from circuitkit.reporting.values import marked
from circuitkit.reporting.words import Words
from circuitkit.study.records import RunRecord

TEMPLATE = "report.html.jinja"
SMALLEST = 0.72


def report_html(record: RunRecord, album: Album | None = None) -> str:
    """Return the whole report as one self-contained page; `album` is told what is missing."""
    album = album or Album()
    script = explorer.page_script()
    return rendered(
        TEMPLATE,
        record=record,
        reading=READING,
        words=Words(),
        read_colours=READ_COLOURS,
        script=script,
        script_source=explorer.source_hash(script),
        style=explorer.page_style(),
        found=record.interpretation,
        findings=_findings(record.interpretation, album),
        **_texts(record),
        **_told(record),
        **_measured(record, album),
        **_explorer(record, album),
    )


def _texts(record: RunRecord) -> dict[str, Any]:
    """Return the words and tables of a run."""
    return dict(
        title=content.title_of(record),
        badge=marked(record.validation.verdict.outcome),
        sentences=content.verdict_sentences(record),
        questions=asked_of(record),
        measurements=content.measurements(record),
        question=content.question_table(record),
        baseline=content.baseline_table(record),
        samples=sample_texts(record),
        counts=content.counts_table(record),
        components=content.component_list(record),
        components_table=cards.components_table(record),
        curve_points=content.curve_table(record),
        ablations=content.ablations_table(record),
        edges=content.edges_table(record),
        all_edges=cards.all_edges_table(record),
        provenance=content.provenance_table(record),
    )


def _told(record: RunRecord) -> dict[str, Any]:
    """Return the first screen, and the parts."""
    story = story_of(record)
    return {
        "story": story,
        "steps": steps_of(story),
        "story_picture": inline_svg(story_svg(story, columns_of(record)), "story"),
        "plain": plain_verdict(record),
        "parts": parts_table(record, story),
    }


def _measured(record: RunRecord, album: Album) -> dict[str, Any]:
    """Return the plots of a run: its curve and its heat maps."""
    least = record.validation.thresholds.min_faithfulness
    curve = album.drawn(curve_svg, record.validation.curve, least, record.circuit.n_edges)
    return {
        "curve_picture": inline_picture(curve, "curve"),
        "heat_maps": [
            (heat_map, inline_picture(album.drawn(heat_map_svg, heat_map), f"map{number}"))
            for number, heat_map in enumerate(record.heat_maps)
        ],
    }


def rendered(template: str, **values: Any) -> str:
    """Return a page made from one of the templates here; every text in it is escaped."""
    return _template(template).render(**values).rstrip() + "\n"


@cache
def _template(name: str) -> Template:
    """Return a template; that of the report takes longer to compile than a page to fill."""
    source = resources.files("circuitkit.reporting").joinpath(name).read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)


def _explorer(record: RunRecord, album: Album) -> dict[str, Any]:
    sizes = sizes_of(record)
    drawn = drawn_circuit(record, sizes)
    grouped = grouped_diagram(record)

    def picture() -> str:
        svg = render_dot(sizes_dot(drawn, layout_weights(sizes, drawn)), "svg").decode()
        return _tagged(record, drawn, svg)

    return {
        "sizes": sizes,
        "own": next(size for size in sizes if size.is_own),
        "own_at": next(at for at, size in enumerate(sizes) if size.is_own),
        "circuit_picture": inline_picture(album.drawn(picture), "circuit"),
        "grouped_picture": inline_picture(_tagged_picture(grouped, album), "grouped"),
        "starts_grouped": record.circuit.n_edges > STARTS_GROUPED,
        "cards": cards.card_texts(record, drawn),
        "prompt_titles": [each["title"] for each in explorer.prompts_of(record.interpretation)],
        "data": explorer.safe_json(explorer.explorer_data(record, sizes, drawn)),
    }


def _tagged(record: RunRecord, drawn: Circuit, svg: str) -> str:
    nodes = {name: name for name in drawn.graph.components}
    edges = {edge: (edge, *Circuit.ends(edge)) for edge in drawn.edges}
    return explorer.tagged_svg(svg, nodes, edges, record.circuit.edges)


def _findings(found: Interpretation | None, album: Album) -> list[dict[str, Any]]:
    """Return what the template shows of every section, whichever it is."""
    return [
        {
            "section": section,
            "tables": [(table.title, table_text(table)) for table in section.tables],
            "pictures": [
                _figure(picture, album, f"{section.key}{at}")
                for at, picture in enumerate(section.pictures)
            ],
        }
        for section in (sections_of(found) if found else ())
    ]


def _figure(picture: Picture, album: Album, prefix: str) -> dict[str, Any]:
    return {
        "name": picture.name,
        "caption": caption(picture),
        "says": picture.says,
        "is_diagram": isinstance(picture, Diagram),
        "svg": inline_picture(_tagged_picture(picture, album), prefix),
        "numbers": picture_table(picture),
    }


def _tagged_picture(picture: Picture, album: Album) -> str | Missing:
    """Return a picture drawn; the boxes and arrows of a diagram can be pointed at."""
    svg = album.drawn(picture_svg, picture)
    if isinstance(svg, Missing) or not isinstance(picture, Diagram):
        return svg
    nodes = {f"g{at}": name for at, name in enumerate(box_names(picture))}
    edges = {
        f"e{at}": (f"{each.sender} to {each.receiver}", each.sender, each.receiver)
        for at, each in enumerate(picture.arrows)
    }
    return explorer.tagged_svg(svg, nodes, edges, [edge[0] for edge in edges.values()])


def inline_picture(svg: str | Missing, prefix: str) -> Markup:
    """Return a picture as an element of a page, or a sentence that says why it is missing."""
    return missing_text(svg) if isinstance(svg, Missing) else inline_svg(svg, prefix)


def missing_text(missing: Missing) -> Markup:
    """Return what stands in the place of a picture that is missing."""
    return Markup('<p class="missing">{}</p>').format(missing.says)


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
