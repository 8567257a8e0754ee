"""What `attribute` does: make the graph, hold it against the model, show and write it."""

from pathlib import Path
from typing import Any

from circuitkit.attribution.attribute import GraphSettings, attribute
from circuitkit.attribution.checks import check_edges, control_graphs
from circuitkit.attribution.files import read_transcoders
from circuitkit.attribution.graph import AttributionGraph
from circuitkit.cli.options import Shown
from circuitkit.cli.terminal import OUT, show_json, show_table
from circuitkit.errors import CriterionError
from circuitkit.prompts.encoding import encode
from circuitkit.reporting.attribution_json import attribution_text
from circuitkit.work.files import require_writable_file, write_whole
from circuitkit.zoo import load_model

N_SHOWN = 12


def attribute_prompt(
    given: tuple[str, str, str], features: int, checked: bool, output: Path | None, shown: Shown
) -> None:
    """Make the graph of a model, a prompt and a folder of transcoders."""
    name, prompt, folder = given
    if output is not None:
        require_writable_file(output)
    transcoders = read_transcoders(folder, model=name)
    model = load_model(name)
    tokens = list(encode(prompt, model.tokenizer, "auto").ids)
    settings = GraphSettings(most_features=features or None)
    graph = attribute(model, tokens, transcoders, settings)
    if output is not None:
        write_whole(output, attribution_text(graph))
    sentences = [graph.summary()]
    if checked:
        sentences.append(_checked(graph))
        controls = control_graphs(graph, settings)
        sentences += [f"Control, {name} directions: {g!r}." for name, g in controls.items()]
    if shown.as_json:
        show_json(_data(graph, sentences))
        return
    rows = [(node.name, node.label, f"{value:.3f}") for node, value in graph.top(N_SHOWN)]
    show_table("Most influence on the next token", ("node", "token", "influence"), rows)
    targets = zip(graph.logits.labels, graph.logits.weights.tolist(), strict=True)
    OUT.print("Next: " + ", ".join(f"{label!r} {p:.3f}" for label, p in targets), markup=False)
    for sentence in sentences:
        OUT.print(sentence, markup=False)
    if output is not None:
        OUT.print(str(output), soft_wrap=True, markup=False)


def _checked(graph: AttributionGraph) -> str:
    """Return how drawn edges hold in the model, or why that is not known."""
    try:
        return check_edges(graph).summary()
    except CriterionError as error:
        return f"Not checked: {error}"


def _data(graph: AttributionGraph, sentences: list[str]) -> dict[str, Any]:
    return {
        "replacement_score": graph.replacement_score,
        "completeness_score": graph.completeness_score,
        "active_features": len(graph.active),
        "top": [{"node": node.name, "influence": value} for node, value in graph.top(N_SHOWN)],
        "said": sentences,
    }
