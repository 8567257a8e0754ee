"""Nothing odd in a circuit file is taken for something: each part has its kind and its bounds."""

import json

import pytest

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import circuit_from_json, circuit_to_json, load_circuit
from circuitkit.circuits.file_checks import n_edges_of
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import CircuitFileError

TOY = ComponentGraph(n_layers=2, n_heads=3, d_model=8)
EDGE = "a0.h1->a1.h2<q>"


@pytest.fixture
def data():
    return json.loads(json.dumps(circuit_to_json(Circuit.of_edges(TOY, [EDGE]))))


def refused(data):
    with pytest.raises(CircuitFileError) as caught:
        circuit_from_json(data, "circuit file 'c.json'")
    message = str(caught.value)
    assert message.startswith("circuit file 'c.json'")
    assert len(message) < 1000
    return message


@pytest.mark.parametrize("value", [7, 0, 1.0, "true", None, [], {}])
def test_in_graph_is_true_or_false_and_nothing_else(data, value):
    data["edges"][EDGE]["in_graph"] = value
    assert f"edges['{EDGE}'].in_graph must be true or false, got {value!r}" in refused(data)
    data["edges"][EDGE]["in_graph"] = True
    data["nodes"]["m0"]["in_graph"] = value
    assert "nodes['m0'].in_graph must be true or false" in refused(data)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), "1", True, [1], 10**400]
)
def test_a_score_is_a_finite_number_or_null(data, value):
    data["edges"][EDGE]["score"] = value
    assert "].score must be a finite number or null" in refused(data)


def test_a_score_of_null_is_no_score(data):
    data["edges"][EDGE]["score"] = None
    assert circuit_from_json(data).edges == (EDGE,)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_file_with_a_score_that_is_no_number_is_refused(data, tmp_path, text):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(data).replace('"score": 0.0', f'"score": {text}', 1))
    with pytest.raises(CircuitFileError, match="which is not a finite number"):
        load_circuit(path)


def test_a_key_that_is_given_twice_is_refused(data, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(data).replace('"n_layers": 2', '"n_layers": 2, "n_layers": 2'))
    with pytest.raises(CircuitFileError, match="the key 'n_layers' more than once"):
        load_circuit(path)


def test_a_file_with_edges_missing_is_refused_with_both_numbers(data):
    for name in list(data["edges"])[5:]:
        if name != EDGE:
            del data["edges"][name]
    n = len(data["edges"])
    assert f"must hold all {TOY.n_edges} edges of its cfg, got {n}" in refused(data)


@pytest.mark.parametrize("n_layers", [1, 2, 5])
@pytest.mark.parametrize("n_heads", [1, 4])
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("has_mlps", [False, True])
def test_edges_are_counted_without_building_the_graph(n_layers, n_heads, parallel, has_mlps):
    cfg = {"n_layers": n_layers, "n_heads": n_heads, "d_model": 8}
    cfg |= {"parallel_attn_mlp": parallel, "has_mlps": has_mlps}
    assert n_edges_of(cfg) == ComponentGraph(**cfg).n_edges


@pytest.mark.parametrize("size", [3000, 10**9, 10**12])
@pytest.mark.parametrize("key", ["n_layers", "n_heads"])
def test_a_graph_larger_than_its_edges_is_refused_before_it_is_built(data, key, size):
    data["cfg"][key] = size
    assert "must hold all" in refused(data)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", None, [], 10**400])
@pytest.mark.parametrize("key", ["n_layers", "n_heads", "d_model"])
def test_a_size_is_a_whole_number(data, key, value):
    data["cfg"][key] = value
    assert f"cfg.{key} must be a whole number from 1" in refused(data)


@pytest.mark.parametrize("key", ["cfg", "nodes", "edges"])
@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_each_part_is_an_object(data, key, value):
    data[key] = value
    assert f"{key} must be an object" in refused(data)


@pytest.mark.parametrize("value", [[], None, "x", 3])
def test_the_origin_is_an_object(data, value):
    data["circuitkit"] = value
    assert f"schema must be one of (1, 2), got {value!r}" in refused(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": 5}, "circuitkit.task must be text without control characters, got 5"),
        ({"task": "a\x1b[31m"}, r"circuitkit.task must be text .* got 'a\\x1b\[31m'"),
        ({"model": ["pico"]}, "circuitkit.model must be text"),
        ({"model_digest": {"a": {"b": 1}}}, "circuitkit.model_digest must be text"),
        ({"verdict": None}, "circuitkit.verdict must be text"),
        ({"discovery_prompts": "0588deaee46a"}, "discovery_prompts must be a list of texts"),
        ({"discovery_prompts": [1]}, "discovery_prompts must be a list of texts"),
        ({"versions": {"torch": None}}, r"\['torch'\] must be text, a finite number"),
        ({"versions": []}, "versions must be an object"),
    ],
)
def test_every_part_of_the_origin_has_its_kind(data, change, message):
    data["circuitkit"].update(change)
    with pytest.raises(CircuitFileError, match=message):
        circuit_from_json(data)


SCHEMA_1 = {"schema": 1, "task": "ioi", "method": "eap", "seed": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "x"}, r"\['seed'\] must be a whole number from 0 to 9007199254740992, got 'x'"),
        ({"seed": 10**26}, r"\['seed'\] must be a whole number"),
        ({"seed": True}, r"\['seed'\] must be a whole number"),
        ({"settings": None}, "settings must be an object, got None"),
        ({"settings": {"n_discovery": "abc"}}, r"\['n_discovery'\] must be a whole number from 1"),
        ({"settings": {"n_edges": -1}}, r"\['n_edges'\] must be a whole number"),
        ({"settings": {"threshold": "x"}}, r"\['threshold'\] must be a finite number"),
        ({"settings": {"signed": 1}}, r"\['signed'\] must be true or false"),
        ({"settings": {"steps": None}}, r"\['steps'\] must be text, a finite number"),
        ({"settings": {"metric": 3}}, r"\['metric'\] must be text"),
    ],
)
def test_every_setting_of_schema_1_has_its_kind(data, change, message):
    data["circuitkit"] = SCHEMA_1 | change
    with pytest.raises(CircuitFileError, match=message):
        circuit_from_json(data)


def test_deep_nesting_is_refused(data, tmp_path):
    nested = {}
    for _ in range(50):
        nested = {"a": nested}
    data["circuitkit"]["settings"] = nested
    assert "nested less deeply" in refused(data)
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(CircuitFileError, match="RecursionError"):
        load_circuit(tmp_path / "c.json")


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_a_device_is_no_circuit_file(path):
    with pytest.raises(CircuitFileError, match="a folder or a device"):
        load_circuit(path)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ((), "circuit file 'c.json'"),
        (("cfg",), "cfg"),
        (("nodes", "m0"), "nodes['m0']"),
        (("edges", EDGE), f"edges['{EDGE}']"),
    ],
)
def test_a_key_that_no_writer_of_the_format_writes_is_refused_wherever_it_stands(data, path, where):
    part = data
    for key in path:
        part = part[key]
    part["in_grpah"] = True
    message = refused(data)
    assert f"{where}: keys must be among" in message
    assert "got ['in_grpah']" in message


def test_a_node_that_the_graph_does_not_have_is_refused(data):
    data["nodes"]["a7.h0"] = {"in_graph": False}
    assert "the node 'a7.h0', which it does not have" in refused(data)


def test_a_file_of_whole_components_with_neurons_is_what_eap_ig_writes(data):
    for part in data["nodes"].values():
        neurons = [part["in_graph"]] * 8  # of a component left out, none is there
        part |= {"score": 0.5, "neurons": neurons, "neurons_scores": [0.1] * 8}
    del data["cfg"]["parallel_attn_mlp"], data["circuitkit"]
    assert circuit_from_json(data).edges == (EDGE,)


@pytest.mark.parametrize("neurons", [[True, False], [1.0, 0.0], [0.5], "all", {"0": True}])
def test_a_circuit_of_single_neurons_is_not_read_as_one_of_whole_components(data, neurons):
    data["nodes"]["a0.h1"]["neurons"] = neurons
    assert "nodes['a0.h1'].neurons must be absent or all true" in refused(data)


def test_what_a_recipe_holds_is_shown_as_text(data):
    data["circuitkit"]["recipe"] = {"\x1f\x1b[31m": False}
    message = refused(data)
    assert r"\x1f\x1b[31m" in message
    assert message.isprintable()
