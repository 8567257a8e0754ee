"""Attribution graphs as Neuronpedia's JSON: what is written is what is drawn, and is read back."""

import json

import pytest
import torch

from circuitkit.attribution.attribute import GraphSettings, attribute
from circuitkit.attribution.transcoders import Transcoder, Transcoders
from circuitkit.errors import CircuitFileError
from circuitkit.reporting.attribution_json import (
    attribution_data,
    attribution_text,
    read_attribution,
)
from circuitkit.zoo import load_model

# the fields that viewers of such files ask for, by the published data model
METADATA = {"slug": str, "scan": str, "transcoder_list": list, "prompt_tokens": list, "prompt": str}
NODE = {"node_id": str, "feature": int, "layer": str, "ctx_idx": int, "feature_type": str,
        "token_prob": float, "is_target_logit": bool, "run_idx": int, "reverse_ctx_idx": int,
        "jsNodeId": str, "clerp": str}  # fmt: skip
QUERY = {"pinnedIds": list, "supernodes": list, "linkType": str, "clickedId": str, "sg_pos": str}


@pytest.fixture(scope="module")
def graph():
    model = load_model("pico")
    generator = torch.Generator().manual_seed(0)
    width = model.layers[0].attention.w_out.shape[-1]

    def drawn(*shape):
        return torch.randn(*shape, generator=generator) / width**0.5

    n_layers = len(model.layers)
    layers = [
        Transcoder(
            drawn(40, width), drawn(40), 5 * drawn(40, n_layers - i, width), drawn(width), k=4
        )
        for i in range(n_layers)
    ]
    settings = GraphSettings(with_constant=True)
    return attribute(model, [1, 5, 9, 7, 3], Transcoders(tuple(layers), "mlp", "drawn"), settings)


def test_the_file_has_the_fields_that_viewers_ask_for(graph):
    data = json.loads(attribution_text(graph))
    for found, fields in [(data["metadata"], METADATA), (data["qParams"], QUERY)]:
        assert all(isinstance(found[name], kind) for name, kind in fields.items())
    for node in data["nodes"]:
        assert all(isinstance(node[name], kind) for name, kind in NODE.items()), node
    assert len({node["node_id"] for node in data["nodes"]}) == len(data["nodes"])
    assert len(data["metadata"]["prompt_tokens"]) == graph.run.n_pos
    assert [n["is_target_logit"] for n in data["nodes"]].count(True) == 1


def test_what_is_written_is_what_is_drawn_and_is_read_back(graph, tmp_path):
    path = tmp_path / "graph.json"
    path.write_text(attribution_text(graph))
    found, drawn = read_attribution(path), graph.to_networkx(drawn=graph.pruned())
    assert found.number_of_nodes() == drawn.number_of_nodes()
    weights = sorted(weight for _, _, weight in found.edges(data="weight"))
    assert weights == sorted(weight for _, _, weight in drawn.edges(data="weight"))
    assert len(weights) > 10
    kinds = [kind for _, kind in found.nodes(data="feature_type")]
    assert {"logit", "embedding", "mlp reconstruction error", "constant"} <= {*kinds}
    feature = next(n for n, t in found.nodes(data="feature_type") if t.startswith("cross"))
    layer, number, pos = map(int, feature.split("_"))
    assert f"L{layer}.p{pos}.f{number}" in drawn


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("links"), "must have links, got none"),
        (lambda d: d["nodes"][2].pop("layer"), "node 2: must have layer as str"),
        (lambda d: d["nodes"].append(d["nodes"][0]), "must have an id of its own"),
        (lambda d: d["links"].append({"source": "x", "target": "y", "weight": 1.0}), "got x"),
        (lambda d: d["links"][0].update(weight="1"), "link 0: must have weight as float"),
    ],
)
def test_a_damaged_file_is_refused_by_what_is_wrong_in_it(graph, change, message):
    data = attribution_data(graph)
    change(data)
    with pytest.raises(CircuitFileError, match=message):
        read_attribution(data)


def test_what_is_no_json_is_refused(tmp_path):
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(CircuitFileError, match="must be JSON, got"):
        read_attribution(tmp_path / "no.json")
