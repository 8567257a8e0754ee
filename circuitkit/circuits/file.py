"""circuit.json: the MIB benchmark's file format, plus one key `circuitkit` for the origin.

    {"cfg": {...}, "nodes": {name: {"in_graph": bool}}, "edges": {name: {"score", "in_graph"}},
     "circuitkit": {"schema": 2, "task": ..., "model": ..., "recipe": {...}, ...}}

The recipe (circuits/recipe.py) says how to find the circuit again; files of schema 1 load, and what
they cannot say of it is said to be unknown. `columns` is there where the edges live at columns of
positions (circuits/file_columns.py). Files written by EAP-IG and MIB load here (they have no
`circuitkit` key); ours load there. Their scores may have the opposite sign (positive = the metric
rises when the edge is corrupted).
"""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.file_checks import require_graph, require_keys, require_origin
from circuitkit.circuits.file_columns import at_columns, columns_to_json
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.circuits.published.catalogue import is_published, published_circuit
from circuitkit.circuits.recipe import recipe_from_json, recipe_of_schema_1, recipe_to_json
from circuitkit.circuits.units import units_from_json, units_to_json
from circuitkit.circuits.whole_edges import everywhere
from circuitkit.errors import CircuitFileError, GraphError
from circuitkit.work.files import write_whole
from circuitkit.work.hub import address_of, fetched, is_address
from circuitkit.work.reading import UnreadableError, parse_json, read_text_file
from circuitkit.work.text import shown

CIRCUIT_FILE = "circuit.json"
SCHEMA = 2
READABLE = (1, 2)


def save_circuit(circuit: Circuit, path: str | Path) -> None:
    """Write `circuit` to `path`, whole or not at all.

    Raises:
        OutputError: the place cannot be written.
    """
    write_whole(Path(path), circuit_text(circuit))


def circuit_text(circuit: Circuit) -> str:
    """Return the text of the circuit's file."""
    return json.dumps(circuit_to_json(circuit), indent=1) + "\n"


def circuit_to_json(circuit: Circuit) -> dict[str, Any]:
    """Return the circuit in the file's form."""
    columns = columns_to_json(circuit)
    circuit = everywhere(circuit)
    kept = set(circuit.edges)
    touched = set(circuit.components)
    scores: list[float] = circuit.scores.by_edge().tolist()
    cfg = asdict(circuit.graph)
    if circuit.graph.has_mlps:
        del cfg["has_mlps"]  # a key that other readers do not know; absent means true
    if not circuit.graph.mixers:
        del cfg["mixers"]  # nor this one; absent means that every layer has heads
    cfg["units"] = units_to_json(circuit.graph.units)
    if not circuit.graph.units:
        del cfg["units"]  # nor this one; absent means that every MLP is whole
    return {
        "cfg": cfg,
        "nodes": {name: {"in_graph": name in touched} for name in circuit.graph.components},
        "edges": {
            name: {"score": score, "in_graph": name in kept}
            for name, score in zip(circuit.graph.edge_names, scores, strict=True)
        },
        "circuitkit": {
            **_origin_to_json(circuit.provenance),
            **({"columns": columns} if columns else {}),
        },
    }


def load_circuit(path: str | Path) -> Circuit:
    """Return the circuit in a file written here, by EAP-IG or by MIB, or at hf://user/name.

    `published:NAME` is the circuit of a paper (circuits/published/).

    Raises:
        CircuitFileError: the file is missing, truncated, of another schema or inconsistent.
        HubError: there is no such repository, no circuit.json in it, or no way to it.
    """
    where = f"circuit file {shown(str(path))}"
    if is_published(path):
        return published_circuit(path)
    if is_address(path):
        address = address_of(path)
        where, path = f"circuit file of {address}", fetched(address, CIRCUIT_FILE)
    try:
        data = parse_json(read_text_file(Path(path)))
    except FileNotFoundError as error:
        raise CircuitFileError(
            f"{where}: must exist, got no such file. Nothing can be judged without it. "
            "Make one with `circuitkit discover TASK -o circuit.json`."
        ) from error
    except UnreadableError as error:
        raise CircuitFileError(
            f"{where}: must be complete JSON, got {error}. It may have been cut short. "
            "Write it again with `circuitkit discover`."
        ) from error
    return circuit_from_json(data, where)


def circuit_from_json(data: Any, where: str = "circuit") -> Circuit:
    """Return the circuit of the file's form.

    Raises:
        CircuitFileError: a key is missing, an edge is unknown or the schema is newer.
    """
    if not isinstance(data, dict) or not {"cfg", "nodes", "edges"} <= data.keys():
        got = shown(sorted(data)) if isinstance(data, dict) else type(data).__name__
        raise CircuitFileError(
            f"{where}: must hold the keys cfg, nodes and edges, got {got}. It is not a circuit "
            "in MIB's format. See docs/files.md for the format."
        )
    require_keys(data, ("cfg", "nodes", "edges", "circuitkit"), where)
    origin = data.get("circuitkit", {"schema": SCHEMA})
    schema = origin.get("schema") if isinstance(origin, dict) else origin
    if type(schema) is not int or schema not in READABLE:
        raise CircuitFileError(
            f"{where}: schema must be one of {READABLE}, got {shown(schema)}. A newer circuitkit "
            "may have written it. Update circuitkit or write the file again."
        )
    require_origin(origin, where)
    require_graph(data, where)
    try:
        circuit = _read(data, origin)
        columns = origin.get("columns")
        return circuit if columns is None else at_columns(circuit, columns, where)
    except (GraphError, ValueError) as error:
        raise CircuitFileError(
            f"{where}: must describe edges of its own cfg, got {error!s}. The circuit cannot be "
            "rebuilt. Write the file again, or check which model it was made for."
        ) from error


def _read(data: dict[str, Any], origin: dict[str, Any]) -> Circuit:
    cfg = data["cfg"]
    graph = ComponentGraph(
        n_layers=cfg["n_layers"],
        n_heads=cfg["n_heads"],
        d_model=cfg["d_model"],
        parallel_attn_mlp=cfg.get("parallel_attn_mlp", False),
        has_mlps=cfg.get("has_mlps", True),
        mixers=tuple(cfg.get("mixers", ())),
        units=units_from_json(cfg.get("units", ())),
    )
    unknown = sorted(data["nodes"].keys() - set(graph.components))
    if unknown:
        raise ValueError(f"the node {shown(unknown[0])}, which it does not have")
    values = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    mask = torch.zeros_like(graph.edge_mask)
    for name, edge in data["edges"].items():
        sender, receiver = graph.edge_index[graph.edge_number(name)].tolist()
        score = edge.get("score", 0.0)
        values[sender, receiver] = 0.0 if score is None else score
        mask[sender, receiver] = edge["in_graph"]
    return Circuit(graph, mask, EdgeScores(graph, values), _origin_from_json(origin))


def _origin_to_json(origin: Provenance) -> dict[str, Any]:
    recipe = {"recipe": recipe_to_json(origin.recipe)}
    return {"schema": SCHEMA, **asdict(origin), **recipe}


def _origin_from_json(origin: dict[str, Any]) -> Provenance:
    known = {field.name for field in fields(Provenance)} - {"recipe"}
    said = {key: value for key, value in origin.items() if key in known}
    if origin["schema"] == 1:
        recipe = recipe_of_schema_1(origin)
    else:
        recipe = recipe_from_json(origin.get("recipe", {}))
    prompts = tuple(said.pop("discovery_prompts", ()))
    return Provenance(**said, recipe=recipe, discovery_prompts=prompts)
