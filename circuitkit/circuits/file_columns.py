"""The columns of a circuit's edges in its file: the key `columns` of `circuitkit`.

    {"by": "roles", "names": ["S1", "S1+1", ...], "read_at": ["END"],
     "kept": {"a3.h0->a5.h1<k>": ["S1+1"]}, "scores": {"a3.h0->a5.h1<k>": [0.0, 0.7, ...]}}

The file's own `edges` hold an edge if it is kept at any column, with the sum of its scores, so that
readers who know of no columns see the circuit of whole edges. An edge that is not among `scores`
scores zero at every column.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.file_checks import NUMBER, TABLE, TEXT, TEXTS, Rule, require, require_keys
from circuitkit.circuits.graph import EdgeScores
from circuitkit.errors import CircuitFileError
from circuitkit.work.text import shown

KEYS = ("by", "names", "read_at", "kept", "scores")
MAX_PLACES = 10**7  # edges times columns: GPT-2 small at fourteen roles has half a million


def columns_to_json(circuit: Circuit) -> dict[str, Any]:
    """Return the columns of a circuit's edges; empty where they are at all positions."""
    graph = circuit.graph
    if not isinstance(graph, ColumnGraph):
        return {}
    kept: dict[str, list[str]] = {}
    for name in circuit.edges:
        edge, _, column = name.partition("@")
        kept.setdefault(edge, []).append(column)
    at = graph.everywhere.edge_index
    rows: list[list[float]] = circuit.scores.values[:, at[:, 0], at[:, 1]].T.tolist()
    both = zip(graph.everywhere.edge_names, rows, strict=True)
    return {
        "by": graph.by,
        "names": list(graph.columns),
        "read_at": list(graph.read_at),
        "kept": kept,
        "scores": {edge: row for edge, row in both if any(row)},
    }


def at_columns(circuit: Circuit, data: Mapping[str, Any], where: str) -> Circuit:
    """Return the circuit of a file with its edges at the columns that the file says.

    Raises:
        CircuitFileError: a part is missing, of the wrong kind, or does not fit the file's edges.
        GraphError: columns without names of their own, or logits that read nowhere.
    """
    where = f"{where}: circuitkit.columns"
    _require_parts(data, circuit, where)
    names: list[str] = data["names"]
    graph = ColumnGraph.over(circuit.graph, tuple(names), data["by"], tuple(data["read_at"]))
    kept = [f"{edge}@{column}" for edge, columns in data["kept"].items() for column in columns]
    mask = graph.mask_of(kept)
    if not torch.equal(mask.any(0), circuit.edge_mask):
        raise CircuitFileError(
            f"{where}.kept: must name the edges that are in_graph and no other, got "
            f"{len(data['kept'])} names where {circuit.n_edges} are in. Readers who know of no "
            "columns would see another circuit. Write the file again."
        )
    values = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    for edge, row in data["scores"].items():
        sender, receiver = circuit.graph.edge_index[circuit.graph.edge_number(edge)].tolist()
        values[:, sender, receiver] = torch.tensor(row, dtype=torch.float64)
    return replace(circuit, graph=graph, edge_mask=mask, scores=EdgeScores(graph, values))


def _require_parts(data: Mapping[str, Any], circuit: Circuit, where: str) -> None:
    require_keys(data, KEYS, where)
    missing = [key for key in KEYS if key not in data]
    if missing:
        raise CircuitFileError(
            f"{where}: must hold {', '.join(KEYS)}, got none of {', '.join(missing)}. It says "
            "where the edges live. Write the file again."
        )
    require(data["by"], TEXT, f"{where}.by")
    require(data["names"], TEXTS, f"{where}.names")
    require(data["read_at"], TEXTS, f"{where}.read_at")
    n = len(data["names"])
    if n * circuit.graph.n_edges > MAX_PLACES:
        raise CircuitFileError(
            f"{where}.names: edges times columns must be at most {MAX_PLACES:,}, got "
            f"{n * circuit.graph.n_edges:,}. They would not fit into memory. Use fewer columns."
        )
    for key in ("kept", "scores"):
        require(data[key], TABLE, f"{where}.{key}")
    for edge, columns in data["kept"].items():
        require(columns, TEXTS, f"{where}.kept[{shown(edge)}]")
    row = Rule(
        f"a list of {n} finite numbers, one for each column",
        lambda value: isinstance(value, list) and len(value) == n and all(map(NUMBER.holds, value)),
    )
    for edge, scores in data["scores"].items():
        require(scores, row, f"{where}.scores[{shown(edge)}]")
