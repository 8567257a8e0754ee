"""A circuit as an attribution graph in the JSON of Neuronpedia and circuit-tracer.

Their graphs are of one prompt: a node is a feature at a token position. Ours are of a behaviour:
an edge joins components, its score is summed over positions and averaged over prompts. So there is
one column, "all positions" (behind an empty one, for the viewers' layout), a node for each
component (a head or an MLP, not a feature), and a link for each two components that edges join. Its
weight is the sum of the edges' scores in the metric's unit, positive where the behaviour is
supported; the scores of q, k and v stand beside it in `reads`.

    node_id     layer_index_position: a head's index is its number, an MLP's the number of heads
    layer       E for the input, the layer's number, the number of layers + 1 for the logits
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from circuitkit.circuits.circuit import Circuit, kind_of, layer_of
from circuitkit.circuits.graph import INPUT, LOGITS, ComponentGraph, read_of
from circuitkit.circuits.units import KINDS as UNIT_KINDS

COLUMNS = ("", "all positions")
POSITION = 1  # viewers lay out columns from the second on, and drop what is in all of them
LOGITS_LABEL = 'Output "logits" (p=?)'  # viewers look for a token and p; ours are all tokens
FEATURE_TYPES = {
    "input": "embedding",
    "head": "attention head",
    "mixer": "mixer",
    "mlp": "mlp",
    "neuron": "neuron",
    "feature": "feature",
    "error": "mlp reconstruction error",
    "rest": "mlp",
    "logits": "logit",
}
GENERATOR = "circuitkit"


def neuronpedia_text(circuit: Circuit) -> str:
    """Return the circuit as an attribution graph that Neuronpedia and circuit-tracer can show."""
    return json.dumps(attribution_graph(circuit), indent=1, allow_nan=False) + "\n"


def attribution_graph(circuit: Circuit) -> dict[str, Any]:
    """Return the circuit as plain data in that form."""
    return {
        "metadata": _metadata(circuit),
        "qParams": {
            "pinnedIds": [],
            "supernodes": [],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        "nodes": [_node(name, circuit.graph) for name in circuit.components],
        "links": _links(circuit),
    }


def _metadata(circuit: Circuit) -> dict[str, Any]:
    origin = circuit.provenance
    task = origin.task or "circuit"
    about = f"{task} in {origin.model or 'a model'}"
    return {
        "slug": "-".join("".join(c if c.isalnum() else " " for c in about.lower()).split()),
        "scan": origin.model or "unknown",
        "transcoder_list": [],
        "prompt_tokens": list(COLUMNS),
        "prompt": f"{about}: all prompts, all positions",
        "schema_version": 1,
        "info": {
            "description": f"A circuit of {circuit.n_edges} edges between components of {about}. "
            "Scores are summed over positions and averaged over prompts; nodes are heads and MLPs, "
            "not features.",
            "generator": {"name": GENERATOR, "version": version("circuitkit-mi")},
        },
        "generation_settings": {
            "method": origin.method,
            "seed": origin.seed,
            "verdict": origin.verdict,
            "model_digest": origin.model_digest,
        },
    }


def _place(name: str, graph: ComponentGraph) -> tuple[str, int]:
    """Return the layer that a component is shown in, and its number there."""
    kind = kind_of(name)
    if kind == "head":
        layer, head = graph.place_of_head(name)
        return str(layer), head
    if kind in ("mlp", "mixer"):
        return str(layer_of(name, graph)), graph.n_heads if kind == "mlp" else 0
    if kind in UNIT_KINDS:
        layer = layer_of(name, graph)
        units = graph.units_in(layer)
        assert units is not None
        return str(layer), graph.n_heads + 1 + units.names.index(name)
    return ("E" if name == INPUT else str(graph.n_layers + 1)), 0


def node_id(name: str, graph: ComponentGraph) -> str:
    """Return the id of a component's node."""
    layer, index = _place(name, graph)
    return f"{layer}_{index}_{POSITION}"


def _node(name: str, graph: ComponentGraph) -> dict[str, Any]:
    layer, index = _place(name, graph)
    return {
        "node_id": node_id(name, graph),
        "feature": index,
        "layer": layer,
        "ctx_idx": POSITION,
        "feature_type": FEATURE_TYPES[kind_of(name)],
        "is_target_logit": name == LOGITS,
        "jsNodeId": f"{'L' if name == LOGITS else layer}_{index}-0",
        "clerp": LOGITS_LABEL if name == LOGITS else name,
        "influence": None,
        "activation": None,
    }


def _links(circuit: Circuit) -> list[dict[str, Any]]:
    joined: Mapping[tuple[str, str], dict[str, float]] = defaultdict(dict)
    scores: list[float] = circuit.scores.by_edge().tolist()
    for edge in circuit.edges:
        read = read_of(edge.partition("->")[2])
        reads = joined[circuit.ends(edge)]
        reads[read] = reads.get(read, 0.0) + scores[circuit.graph.edge_number(edge)]
    return [
        {
            "source": node_id(sender, circuit.graph),
            "target": node_id(component, circuit.graph),
            "weight": sum(reads.values()),
            "reads": reads,
        }
        for (sender, component), reads in joined.items()
    ]
