"""What the page's script needs: its data as JSON, its text and that text's hash, tagged pictures.

Numbers are formatted here, so that the page shows what the files hold; attention is given in
thousandths. In the JSON every `<`, `>` and `&` is escaped, and everything that is not ASCII, so no
token can end the element that holds it. The page's policy allows the one script by its SHA-256.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any
from xml.dom import minidom

from markupsafe import Markup

from circuitkit.circuits.circuit import Circuit
from circuitkit.interpretation.findings import Interpretation, PromptView, TemplatePatterns
from circuitkit.interpretation.section import Matrix
from circuitkit.reporting.sizes import Size
from circuitkit.reporting.values import number, signed, visible
from circuitkit.study.records import RunRecord

SCRIPTS = ("page.js", "picture.js", "prompts.js", "tables.js", "explorer.js")
STYLES = ("report.css", "explorer.css", "story.css")


def explorer_data(record: RunRecord, sizes: Sequence[Size], drawn: Circuit) -> dict[str, Any]:
    """Return everything that the script shows and that is not in the page's text."""
    numbers = {edge: at for at, edge in enumerate(drawn.edges)}
    return {
        "sizes": [_size(size, numbers) for size in sizes],
        "own": next(at for at, size in enumerate(sizes) if size.is_own),
        "threshold": record.validation.thresholds.min_faithfulness,
        "edges": _edges(drawn),
        "prompts": prompts_of(record.interpretation),
    }


def prompts_of(found: Interpretation | None) -> list[dict[str, Any]]:
    """Return the prompts, then the means of templates, as the picker has them."""
    if found is None:
        return []
    prompts = [_prompt(view, at, found.unit) for at, view in enumerate(found.prompts, start=1)]
    return prompts + [_template(template) for template in found.templates]


def safe_json(data: Any) -> Markup:
    """Return JSON that may stand inside a script element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # holds no letter that HTML reads


def page_script() -> Markup:
    """Return the page's whole script as one function, so that nothing of it is global."""
    parts = "\n".join(_file(name) for name in SCRIPTS)
    return Markup(f"(() => {{\n'use strict';\n{parts}}})();")  # our own files


def page_style(*more: str) -> Markup:
    """Return the page's style sheet; `more` are files that are read after it."""
    return Markup("\n".join(_file(name) for name in (*STYLES, *more)))  # our own files


def source_hash(script: str) -> str:
    """Return a script's hash as a Content-Security-Policy source."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def tagged_svg(
    svg: str,
    nodes: Mapping[str, str],
    edges: Mapping[str, tuple[str, str, str]],
    shown: Iterable[str],
) -> str:
    """Return a picture of Graphviz whose nodes and edges carry their names.

    `nodes` gives the name of each node by its title, `edges` the name and both ends by its id; what
    is in neither is a label. Edges that are not `shown` get the class `off`, and nodes without a
    shown edge `ghost`.
    """
    document = minidom.parseString(svg)
    groups = document.getElementsByTagName("g")
    visible_edges = set(shown)
    touched = {end for name, *ends in edges.values() if name in visible_edges for end in ends}
    for group in groups:
        titles = group.getElementsByTagName("title")
        title = _text_of(titles[0]) if titles else ""
        kind = group.getAttribute("class")
        if kind == "node" and title in nodes:
            name = nodes[title]
            group.setAttribute("data-node", name)
            group.setAttribute("class", "node" if name in touched else "node ghost")
            group.removeChild(titles[0])
        elif kind == "edge" and group.getAttribute("id") in edges:
            name, sender, receiver = edges[group.getAttribute("id")]
            group.setAttribute("class", "edge" if name in visible_edges else "edge off")
            for key, value in (("edge", name), ("from", sender), ("to", receiver)):
                group.setAttribute(f"data-{key}", value)
            group.removeChild(titles[0])
    return document.toxml()


def _text_of(element: minidom.Element) -> str:
    return "".join(child.data for child in element.childNodes if isinstance(child, minidom.Text))


def _file(name: str) -> str:
    return resources.files("circuitkit.reporting").joinpath(name).read_text("utf-8")


def _size(size: Size, numbers: Mapping[str, int]) -> dict[str, Any]:
    drawn = sorted(numbers[edge] for edge in size.edges if edge in numbers)
    missing = size.n_kept - len(drawn)
    undrawn = f" {len(drawn):,} of its {size.n_kept:,} edges are drawn." if missing else ""
    value = round(size.faithfulness.value, 4) if size.faithfulness else None
    said = {"title": size.title, "worth": size.worth, "undrawn": undrawn}
    return {**said, "value": value, "edges": drawn}


def _edges(drawn: Circuit) -> list[dict[str, str]]:
    scores: list[float] = drawn.scores.by_edge().tolist()
    numbers = {edge: drawn.graph.edge_number(edge) for edge in drawn.edges}
    return [
        {"name": edge, "says": f"{edge}, score {signed(scores[at])}"}
        for edge, at in numbers.items()
    ]


def prompt_title(view: PromptView, number_of_prompt: int) -> str:
    """Return what the picker calls a prompt: its number and its text."""
    text = " ".join("".join(view.tokens).split())
    return f"Prompt {number_of_prompt}: {visible(text).replace('␣', ' ')}"


def _prompt(view: PromptView, at: int, unit: str) -> dict[str, Any]:
    facts = [
        ("answers", ", ".join(visible(token) for token in view.answers)),
        ("wrong", ", ".join(visible(token) for token in view.wrong_answers)),
        ("metric", f"{number(view.value)} {unit}"),
    ]
    return {
        "title": prompt_title(view, at),
        "tokens": [visible(token) for token in view.tokens],
        "labels": list(view.labels),
        "facts": [fact for fact in facts if fact[1]],
        "patterns": _patterns(view.patterns),
        "attributions": {
            name: [signed(value) for value in values] for name, values in view.attributions.items()
        },
    }


def _template(template: TemplatePatterns) -> dict[str, Any]:
    return {
        "title": f"Mean of {template.n} prompts: {visible(template.template)}",
        "tokens": [visible(label) for label in template.labels],
        "labels": [""] * len(template.labels),
        "facts": [],
        "patterns": _patterns(template.patterns),
        "attributions": {},
    }


def _patterns(patterns: Mapping[str, Matrix]) -> dict[str, list[list[int]]]:
    return {
        name: [[round(1000 * weight) for weight in row] for row in rows]
        for name, rows in patterns.items()
    }
