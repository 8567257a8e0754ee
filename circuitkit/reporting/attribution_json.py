"""Attribution graphs in the JSON of Neuronpedia and circuit-tracer, out and in.

    node_id     layer_number_position: a feature's number, -1 of an error, a token's id
    feature     of a feature, layer and number paired into one (Cantor); its number stands in the id
    layer       E for tokens, the layer's number, the number of layers + 1 for the logits

What is drawn is written: the nodes and edges that pruning keeps. Errors have an id of their own;
files in which an error's id is a feature's as well cannot be read, as links would be ambiguous.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import networkx as nx

from circuitkit.attribution.graph import (
    CONSTANT,
    ERROR,
    FEATURE,
    LOGIT,
    TOKEN,
    AttributionGraph,
    GraphNode,
)
from circuitkit.attribution.influence import EDGE_SHARE, NODE_SHARE
from circuitkit.errors import CircuitFileError
from circuitkit.work.text import error_text

TYPES = {
    FEATURE: "cross layer transcoder",
    ERROR: "mlp reconstruction error",
    TOKEN: "embedding",
    CONSTANT: "constant",
    LOGIT: "logit",
}
FIELDS = {"node_id": str, "feature": int, "layer": str, "ctx_idx": int, "feature_type": str}
LINK_FIELDS = {"source": str, "target": str, "weight": float}


def attribution_text(
    graph: AttributionGraph, *, nodes: float = NODE_SHARE, edges: float = EDGE_SHARE
) -> str:
    """Return what is drawn of a graph as a file that Neuronpedia can show."""
    data = attribution_data(graph, nodes=nodes, edges=edges)
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def attribution_data(
    graph: AttributionGraph, *, nodes: float = NODE_SHARE, edges: float = EDGE_SHARE
) -> dict[str, Any]:
    """Return what is drawn of a graph as plain data in that form."""
    drawn, matrix = graph.pruned(nodes=nodes, edges=edges), graph.matrix()
    ids = [_id(node) for node in graph.nodes]
    pairs = (drawn.edges & (matrix != 0)).nonzero().tolist()
    return {
        "metadata": _metadata(graph, nodes),
        "qParams": {
            "pinnedIds": [],
            "supernodes": [],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        "nodes": [
            _node(graph, i, float(drawn.cumulative[i]))
            for i in range(len(ids))
            if bool(drawn.nodes[i])
        ],
        "links": [
            {"source": ids[s], "target": ids[t], "weight": float(matrix[t, s])} for t, s in pairs
        ],
    }


def read_attribution(source: str | Path | Mapping[str, Any]) -> "nx.DiGraph[str]":
    """Return the nodes and links of such a file, or of its data, with all they say.

    Raises:
        CircuitFileError: it is no such file, a field is missing or of another kind, an id stands
            twice, or a link leads to no node.
    """
    where = "attribution graph" if isinstance(source, Mapping) else f"{str(source)!r}"
    data = source if isinstance(source, Mapping) else _loaded(Path(source), where)
    for name in ("metadata", "nodes", "links"):
        if not isinstance(data.get(name), dict if name == "metadata" else list):
            raise _refusal(where, f"must have {name}", "none")
    graph: nx.DiGraph[str] = nx.DiGraph(**data["metadata"])
    for place, node in enumerate(data["nodes"]):
        _require_fields(node, FIELDS, f"{where}, node {place}")
        if node["node_id"] in graph:
            raise _refusal(f"{where}, node {place}", "must have an id of its own", node["node_id"])
        graph.add_node(node["node_id"], **node)
    for place, link in enumerate(data["links"]):
        _require_fields(link, LINK_FIELDS, f"{where}, link {place}")
        for end in (link["source"], link["target"]):
            if end not in graph:
                raise _refusal(f"{where}, link {place}", "must join nodes of the file", end)
        graph.add_edge(link["source"], link["target"], weight=float(link["weight"]))
    return graph


def _loaded(path: Path, where: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise _refusal(where, "must be JSON", error_text(error)) from error
    if not isinstance(data, dict):
        raise _refusal(where, "must be an object", type(data).__name__)
    return data


def _require_fields(found: Any, fields: Mapping[str, type], where: str) -> None:
    if not isinstance(found, dict):
        raise _refusal(where, "must be an object", type(found).__name__)
    for name, kind in fields.items():
        kinds = (int, float) if kind is float else kind
        if not isinstance(found.get(name), kinds):
            raise _refusal(where, f"must have {name} as {kind.__name__}", repr(found.get(name)))


def _refusal(where: str, rule: str, got: str) -> CircuitFileError:
    return CircuitFileError(
        f"{where}: {rule}, got {got}. It is no attribution graph that can be read. Export it again."
    )


def _metadata(graph: AttributionGraph, nodes: float) -> dict[str, Any]:
    run = graph.run
    texts = list(run.model.token_texts(run.tokens.tolist()))
    prompt = run.model.text_of(run.tokens.tolist())
    return {
        "slug": "-".join("".join(c if c.isalnum() else " " for c in prompt.lower()).split()),
        "scan": run.model.name or "unknown",
        "transcoder_list": [run.transcoders.name],
        "prompt_tokens": texts,
        "prompt": prompt,
        "node_threshold": nodes,
        "schema_version": 1,
        "info": {
            "description": graph.summary(),
            "generator": {"name": "circuitkit", "version": version("circuitkit-mi")},
        },
        "generation_settings": {
            "replacement_score": graph.replacement_score,
            "completeness_score": graph.completeness_score,
            "model_digest": run.model.digest,
        },
    }


def _id(node: GraphNode) -> str:
    layer = {TOKEN: "E", CONSTANT: "C", LOGIT: str(node.layer + 1)}.get(node.kind, str(node.layer))
    number = node.label if node.kind == LOGIT and node.number < 0 else node.number
    return f"{layer}_{number}_{node.pos}"


def _node(graph: AttributionGraph, place: int, cumulative: float) -> dict[str, Any]:
    node, run = graph.nodes[place], graph.run
    is_logit = node.kind == LOGIT
    feature, label, probability, value = node.number, "", 0.0, None
    if node.kind == FEATURE:
        both = node.layer + node.number
        feature = both * (both + 1) // 2 + node.number
        value = float(graph.active.values[graph.chosen[place]])
    elif node.kind == TOKEN:
        feature, label = node.pos, node.label
    elif is_logit:
        at = place - graph.sizes.sources
        probability = float(graph.logits.weights[at])
        label = f'Output "{graph.logits.labels[at]}" (p={probability:.3f})'
    layer = {TOKEN: "E", CONSTANT: "E", LOGIT: str(len(run.layers) + 1)}.get(node.kind)
    return {
        "node_id": _id(node),
        "feature": feature,
        "layer": str(node.layer) if layer is None else layer,
        "ctx_idx": max(node.pos, 0),
        "feature_type": TYPES[node.kind],
        "token_prob": probability,
        "is_target_logit": is_logit and place == graph.sizes.sources,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": f"{'L' if is_logit else layer or node.layer}_{node.number}-{max(node.pos, 0)}",
        "clerp": label,
        "influence": None if is_logit else cumulative,
        "activation": value,
    }
