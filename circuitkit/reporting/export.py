"""A circuit in the formats of other programs, each with what it cannot hold said in a sentence.

A new format is a function from a circuit to text, its test, one line in FORMATS and its name in
names.py.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from circuitkit import names
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.exchange import (
    CYTOSCAPE,
    GRAPHML,
    circuit_from_exchange,
    cytoscape_text,
    graphml_text,
)
from circuitkit.circuits.file import circuit_text, load_circuit
from circuitkit.errors import CircuitFileError, GraphError, MethodError
from circuitkit.interpretation.attention_view import attention_view
from circuitkit.interpretation.findings import Interpretation
from circuitkit.reporting.columns_dot import dot_of
from circuitkit.reporting.neuronpedia import neuronpedia_text
from circuitkit.work.files import write_whole
from circuitkit.work.text import shown


@dataclass(frozen=True)
class Format:
    """How a circuit is written, what the file's name ends in, and what is left out of it."""

    write: Callable[[Circuit], str]
    suffix: str
    leaves_out: Callable[[Circuit], list[str]]


def export_circuit(circuit: Circuit, path: str | Path, format: str) -> list[str]:
    """Write a circuit in another program's format; return what that cannot hold, in sentences.

    Raises:
        MethodError: there is no such format, or it is not one of circuits.
        GraphError: a score is not a finite number.
        OutputError: the place cannot be written.
    """
    found = format_named(format)
    _require_finite(circuit)
    write_whole(Path(path), found.write(circuit))
    return found.leaves_out(circuit)


def import_circuit(path: str | Path) -> Circuit:
    """Return the circuit of a file: circuit.json, or GraphML or Cytoscape JSON written here.

    Raises:
        CircuitFileError: it cannot be read.
    """
    path = Path(path)
    return (
        circuit_from_exchange(path) if path.suffix in (GRAPHML, CYTOSCAPE) else load_circuit(path)
    )


def export_attention(found: Interpretation | None, path: str | Path) -> int:
    """Write the attention patterns of an interpretation's prompts for CircuitsVis.

    The file is a list: for each prompt the arguments of `attention_heads`. Return how many.

    Raises:
        CircuitFileError: there is no interpretation, or no head in the circuit.
        OutputError: the place cannot be written.
    """
    prompts = [] if found is None else [each for each in found.prompts if each.patterns]
    if not prompts:
        got = "no interpretation" if found is None else "one without attention patterns"
        raise CircuitFileError(
            f"export: circuitsvis needs the attention patterns of an interpretation, got {got}. A "
            "circuit alone has none. Run `circuitkit interpret DIR` on a run directory first."
        )
    views = [attention_view(prompt).arguments() for prompt in prompts]
    write_whole(Path(path), json.dumps(views, separators=(",", ":"), allow_nan=False) + "\n")
    return len(views)


def format_named(format: str) -> Format:
    """Return a format of circuits.

    Raises:
        MethodError: there is none of that name.
    """
    if format not in FORMATS:
        raise MethodError(
            f"export: the format must be one of {', '.join(names.EXPORT_FORMATS)}, got "
            f"{shown(format)}. It says which program reads the file. Choose one."
        )
    return FORMATS[format]


def _require_finite(circuit: Circuit) -> None:
    scores: list[float] = circuit.scores.by_edge().tolist()
    for name, score in zip(circuit.graph.edge_names, scores, strict=True):
        if not isfinite(score):
            raise GraphError(
                f"export: scores must be finite numbers, got {score} at {name}. Few programs read "
                "others. Score the edges again, or make a circuit without scores."
            )


def _nothing(circuit: Circuit) -> list[str]:
    return []


def _outside(circuit: Circuit) -> list[str]:
    """Say that scores of edges outside the circuit stay behind, where there are some."""
    values, mask = circuit.scores.values, circuit.graph.edge_mask & ~circuit.edge_mask
    n = int((values[mask] != 0).sum())
    return [f"The scores of {n:,} edges outside the circuit are left out."] if n else []


def _origin(circuit: Circuit) -> list[str]:
    if not circuit.provenance.recipe.is_known and not circuit.provenance.task:
        return []
    return ["Its origin is left out: the recipe, the digests and the verdict."]


def _as_picture(circuit: Circuit) -> list[str]:
    scores = ["Scores stand as pen widths and signs as dashes, not as numbers."]
    return scores + _outside(circuit) + _origin(circuit)


def _as_attribution_graph(circuit: Circuit) -> list[str]:
    n_joined = len({circuit.ends(edge) for edge in circuit.edges})
    notes = [
        "All is shown in one column: a circuit's edges are summed over positions, and its nodes "
        "are components, not features, so no feature page opens."
    ]
    if n_joined < circuit.n_edges:
        notes.append(
            f"{circuit.n_edges} edges are drawn as {n_joined} links: those into q, k and v of a "
            "head are summed, and stand one by one in `reads`."
        )
    return [*notes, *_outside(circuit), *_origin(circuit)]


FORMATS = {
    "json": Format(circuit_text, ".json", _nothing),
    "graphml": Format(graphml_text, GRAPHML, _outside),
    "cytoscape": Format(cytoscape_text, CYTOSCAPE, _outside),
    "dot": Format(dot_of, ".dot", _as_picture),
    "neuronpedia": Format(neuronpedia_text, ".neuronpedia.json", _as_attribution_graph),
}
