"""What `circuits` lists: the circuits of papers, their sizes, and who says so."""

from circuitkit.circuits.graph import INPUT, LOGITS
from circuitkit.circuits.published.catalogue import PREFIX, PUBLISHED
from circuitkit.circuits.published.entry import Published
from circuitkit.cli.options import ShownAtOnce
from circuitkit.cli.terminal import OUT, filled, show_json


def list_circuits(shown: ShownAtOnce) -> None:
    """Show every published circuit."""
    if shown.as_json:
        show_json([_facts(each) for each in PUBLISHED.values()])
        return
    for each in PUBLISHED.values():
        OUT.print(f"{PREFIX}{each.name}", soft_wrap=True)
        OUT.print(filled(f"{each.task} in {each.model}: {_size(each)}. What is in: {each.says}."))
        OUT.print(filled(f"{each.citation} ({each.url})"))
        OUT.print()


def _size(each: Published) -> str:
    n = len(set(each.components) - {INPUT, LOGITS})
    return f"{n} components, {each.circuit.n_edges:,} of {each.graph.n_edges:,} edges"


def _facts(each: Published) -> dict[str, object]:
    return {
        "name": f"{PREFIX}{each.name}",
        "task": each.task,
        "model": each.model,
        "classes": each.classes,
        "n_edges": each.circuit.n_edges,
        "what_is_in": each.says,
        "citation": each.citation,
        "url": each.url,
        "also_in": each.sources,
    }
