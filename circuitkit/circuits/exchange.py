"""A circuit as GraphML and as Cytoscape JSON, and back: for other graph programs.

Both hold the circuit's edges with their scores, its components, the sizes of the model and the
origin (`circuitkit`, as in circuit.json). They hold no score of an edge outside the circuit: read
back, those are zero. Parallel edges between two components differ in what is read (q, k, v).
"""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import networkx

from circuitkit.circuits.circuit import INSIDE, Circuit
from circuitkit.circuits.file import circuit_from_json, circuit_to_json
from circuitkit.circuits.file_checks import n_edges_of, require_graph_sizes
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.circuits.units import Units, units_from_json
from circuitkit.errors import CircuitFileError, GraphError
from circuitkit.work.reading import DAMAGED, UnreadableError, parse_json, read_text_file
from circuitkit.work.text import error_text, shown

ORIGIN = "circuitkit"  # the attribute of the graph that holds the origin, as JSON
GRAPHML, CYTOSCAPE = ".graphml", ".cyjs"
SIZES = ("n_layers", "n_heads", "d_model", "parallel_attn_mlp", "has_mlps")
MAX_EDGES = 10**7  # of a graph that a file may ask for: a model of 70 billion weights has fewer


def graphml_text(circuit: Circuit) -> str:
    """Return the circuit as GraphML, as NetworkX, igraph, Gephi and yEd read it."""
    graph = _graph_of(circuit, id_key="edge_id")  # igraph has an `id` of its own
    buffer = BytesIO()
    networkx.write_graphml_xml(graph, buffer, edge_id_from_attribute="edge_id")
    return buffer.getvalue().decode()


def cytoscape_text(circuit: Circuit) -> str:
    """Return the circuit as Cytoscape JSON, as Cytoscape and Cytoscape.js read it."""
    data = networkx.cytoscape_data(_graph_of(circuit, id_key="id"))
    data["data"] = dict(data["data"])  # an object, as Cytoscape has it
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def circuit_from_exchange(path: Path) -> Circuit:
    """Return the circuit of a file that `graphml_text` or `cytoscape_text` wrote.

    Raises:
        CircuitFileError: it cannot be read, is of another graph, or an edge does not exist.
    """
    where = f"circuit file {shown(str(path))}"
    try:
        text = read_text_file(path)
        graph = _parsed(text) if path.suffix == GRAPHML else _cytoscape_graph(parse_json(text))
    except (*DAMAGED, SyntaxError, networkx.NetworkXException) as error:
        raise CircuitFileError(
            f"{where}: must be GraphML or Cytoscape JSON that `circuitkit export` wrote, got "
            f"{error_text(error)}. There is no circuit to read. Export it again."
        ) from error
    return circuit_from_json(_circuit_json(graph, where), where)


def _graph_of(circuit: Circuit, *, id_key: str) -> networkx.MultiDiGraph:
    graph = circuit.to_networkx()
    graph.graph[ORIGIN] = json.dumps(circuit_to_json(circuit)[ORIGIN])
    for number, (*_, data) in enumerate(graph.edges(data=True)):
        data[id_key] = f"e{number}"  # an id must be one of the whole file, and a plain word
    return graph


def _parsed(text: str) -> networkx.MultiDiGraph:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UnreadableError("a document type of its own: it could grow without end")
    return networkx.parse_graphml(text, force_multigraph=True)


def _cytoscape_graph(data: Any) -> networkx.MultiDiGraph:
    if not isinstance(data, dict) or not isinstance(data.get("data"), dict):
        raise UnreadableError("no graph data")
    return networkx.cytoscape_graph({**data, "data": list(data["data"].items())})


def _circuit_json(graph: networkx.MultiDiGraph, where: str) -> dict[str, Any]:
    """Return the graph in the form of circuit.json, whose reader checks every part of it."""
    told = dict(graph.graph)
    cfg = {key: told[key] for key in SIZES if key in told}
    if "mixers" in told:
        cfg["mixers"] = _layers(str(told["mixers"]), where)
    if "units" in told:
        cfg["units"] = _units(str(told["units"]), where)
    require_graph_sizes(cfg, where)
    if n_edges_of(cfg) > MAX_EDGES:
        raise CircuitFileError(
            f"{where}: must be of a graph of at most {MAX_EDGES:,} edges, got {n_edges_of(cfg):,}. "
            "Every one of them would be listed. Keep such a circuit as circuit.json."
        )
    units = _made(cfg.get("units", ()), where)
    graph_of_cfg = ComponentGraph(**cfg | {"mixers": tuple(cfg.get("mixers", ())), "units": units})
    names = graph_of_cfg.edge_names
    edges: dict[str, dict[str, Any]] = {name: {"in_graph": False, "score": 0.0} for name in names}
    for *_, data in graph.edges(data=True):
        if data.get("read") == INSIDE:
            continue
        name = str(data.get("name")).partition("@")[0]  # the columns are in the origin
        edges[name] = {"in_graph": True, "score": data.get("score")}
    return {"cfg": cfg, "nodes": {}, "edges": edges, ORIGIN: _origin(told, where)}


def _units(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except UnreadableError as error:
        raise CircuitFileError(
            f"{where}: its attribute 'units' must be JSON, got {error}. It says what MLPs are "
            "taken apart into. Export it again."
        ) from error


def _made(units: Any, where: str) -> tuple[Units, ...]:
    try:
        return units_from_json(units)
    except GraphError as error:
        raise CircuitFileError(
            f"{where}: its attribute 'units' must name units that can be, got {error!s}. Export "
            "it again."
        ) from error


def _layers(text: str, where: str) -> list[int]:
    """Return the layers of a list in text, as `0,2`."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise CircuitFileError(
            f"{where}: its attribute 'mixers' must list layers, as 0,2, got {shown(text)}. They "
            "have other components than heads. Export it again."
        )
    return [int(part) for part in parts]


def _origin(told: Mapping[str, Any], where: str) -> Any:
    try:
        return parse_json(str(told.get(ORIGIN, "")))
    except UnreadableError as error:
        raise CircuitFileError(
            f"{where}: its attribute {ORIGIN!r} must be the origin as JSON, got {error}. It says "
            "which model the circuit is of. Export it again."
        ) from error
