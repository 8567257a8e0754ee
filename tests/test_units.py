"""MLPs taken apart into neurons and features: exact identities, in float64 on padded batches."""

from dataclasses import dataclass, replace

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.circuits.units import Units
from circuitkit.discovery import eap
from circuitkit.discovery.eap import EAP
from circuitkit.discovery.eap_ig import EAPIG, ActivationsEAPIG
from circuitkit.discovery.relp import RelP
from circuitkit.errors import DecompositionError, GraphError, MethodError
from circuitkit.gradients.circuit_slopes import edge_slopes
from circuitkit.gradients.soft_circuit import SoftCircuits
from circuitkit.gradients.terms import score_edges_by_terms
from circuitkit.interventions.ablation import (
    MeanAblation,
    ResampleAblation,
    TokenMeanAblation,
    ZeroAblation,
)
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.metrics import KLDivergence, LogitDifference
from circuitkit.model.layers import matrix_of
from circuitkit.model.recording import record, sender_outputs
from circuitkit.model.units import all_neurons, features_of, neurons_of, taken_apart
from tests.families import make_family

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
SOME = ("gpt2", "llama", "gpt-j")  # plain, gated, parallel to the heads


@dataclass(frozen=True)
class Code:
    """A dictionary as small as can be: a ReLU code with a bias on either side."""

    w_enc: torch.Tensor
    directions: torch.Tensor
    bias: torch.Tensor

    def encode(self, x):
        return torch.relu(x @ self.w_enc - 0.1)

    def decode(self, features, x):
        return features @ self.directions + self.bias


def random_code(d_model, n_features=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    w_enc = torch.randn(d_model, n_features, generator=generator, dtype=torch.float64)
    w_dec = torch.randn(n_features, d_model, generator=generator, dtype=torch.float64)
    bias = torch.randn(d_model, generator=generator, dtype=torch.float64)
    return Code(w_enc, w_dec, bias)


def neurons(model, layer, *, read_alone, numbers=(3, 0, 7)):
    spec = Units(layer, "neuron", numbers, read_alone)
    return neurons_of(model.layers[layer].mlp, spec, f"m{layer}")


def features(model, layer, *, reads="output", read_alone=False, numbers=(4, 1)):
    spec = Units(layer, "feature", numbers, read_alone, "random code")
    code = random_code(model.graph.d_model)
    return features_of(model.layers[layer].mlp, spec, code, reads, f"m{layer}")


def apart(model, kind):
    """The model with two of its MLPs taken apart, one the last."""
    last = model.graph.n_layers - 1
    made = {
        "neurons": lambda layer: neurons(model, layer, read_alone=False),
        "neurons alone": lambda layer: neurons(model, layer, read_alone=True),
        "features": lambda layer: features(model, layer),
        "transcoder": lambda layer: features(model, layer, reads="normed", read_alone=True),
        "transcoder together": lambda layer: features(model, layer, reads="input"),
    }[kind]
    return taken_apart(model, {layer: made(layer) for layer in (0, last)})


KINDS = ("neurons", "neurons alone", "features", "transcoder", "transcoder together")
ABLATIONS = ("resample", "mean", "zero", "token-mean")


def ablation_of(name, pairs):
    made = (MeanAblation(pairs), ZeroAblation(), ResampleAblation(), TokenMeanAblation(pairs))
    return next(each for each in made if each.name == name)


@pytest.fixture(scope="module", params=SOME)
def whole(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(params=KINDS)
def fine(request, whole):
    return apart(whole, request.param)


def evaluate(model, pairs, circuits, ablation, metric=None):
    metric = metric or LogitDifference()
    return evaluate_circuits(model, pairs, circuits, ablation=ablation, metric=metric)


def whole_name(name):
    """The MLP that a unit is of, and any other name as it is."""
    return name.partition(".")[0] if name.startswith("m") else name


def refined(circuit, graph):
    """The circuit whose edges are all those between parts of what the edges of another join."""
    kept = set(circuit.edges)
    names = [
        name for name in graph.edge_names if "->".join(map(whole_name, name.split("->"))) in kept
    ]
    return Circuit.of_edges(graph, names)


def some_circuits(graph, n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(n, *graph.edge_mask.shape, generator=generator) < 0.5
    return [Circuit.full(graph).with_edges(graph.edge_mask & mask) for mask in drawn]


def test_parts_sum_to_what_the_mlp_writes(fine, whole, pairs):
    parts = sender_outputs(fine, record(fine, pairs.clean_batch)[0])
    mlps = sender_outputs(whole, record(whole, pairs.clean_batch)[0])
    for layer in range(whole.graph.n_layers):
        total = parts[fine.graph.mlp_senders(layer)].sum(0)
        torch.testing.assert_close(total, mlps[whole.graph.mlp_sender(layer)], **CLOSE)


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_full_circuit_is_the_clean_run_and_the_empty_one_the_ablated_run(
    fine, whole, pairs, name
):
    ablation = ablation_of(name, pairs)
    ends = [Circuit.full(fine.graph), Circuit.empty(fine.graph)]
    expected = [Circuit.full(whole.graph), Circuit.empty(whole.graph)]
    torch.testing.assert_close(
        evaluate(fine, pairs, ends, ablation), evaluate(whole, pairs, expected, ablation), **CLOSE
    )


@pytest.mark.parametrize("name", ABLATIONS)
def test_all_parts_of_an_edge_together_are_the_edge(fine, whole, pairs, name):
    ablation, circuits = ablation_of(name, pairs), some_circuits(whole.graph)
    found = evaluate(fine, pairs, [refined(c, fine.graph) for c in circuits], ablation)
    torch.testing.assert_close(found, evaluate(whole, pairs, circuits, ablation), **CLOSE)


def summed(scores, graph):
    """Scores of the parts' edges, added up by the edge of the whole graph that they are part of."""
    total = dict.fromkeys(graph.edge_names, 0.0)
    for name, value in zip(scores.graph.edge_names, scores.by_edge().tolist(), strict=True):
        total["->".join(map(whole_name, name.split("->")))] += value
    return torch.tensor(list(total.values()), dtype=torch.float64)


def score(method, model, pairs):
    work = Work(ResampleAblation())
    usable = method.prepared(model, LogitDifference(), work)
    return score_edges_by_terms(usable, pairs, LogitDifference(), method.terms(), work)


def reads_alone(model):
    return any(units.read_alone for units in model.graph.units)


@pytest.mark.parametrize("method", [EAP(), EAPIG(), RelP()], ids=lambda method: method.name)
def test_scores_of_parts_sum_to_the_score_of_the_whole(fine, whole, pairs, method):
    if method.name == "relp" and reads_alone(fine):
        with pytest.raises(MethodError, match="units must read together"):
            score(method, fine, pairs)
        return
    found = summed(score(method, fine, pairs), whole.graph)
    expected = score(method, whole, pairs).by_edge()
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, **CLOSE)


def test_where_every_neuron_has_a_name_the_rest_is_a_constant_and_scores_nothing(toy, pairs):
    every = all_neurons(toy.layers[1].mlp, 1, "m1")
    alone = replace(every, spec=replace(every.spec, read_alone=True))
    model = taken_apart(toy, {1: alone})
    for method in (EAP(), EAPIG()):
        scores = score(method, model, pairs)
        by_name = dict(zip(scores.graph.edge_names, scores.by_edge().tolist(), strict=True))
        rest = [value for name, value in by_name.items() if "m1.rest" in name]
        assert rest
        assert max(map(abs, rest)) < 1e-12
        assert max(abs(value) for name, value in by_name.items() if ".n" in name) > 1e-3
    with pytest.raises(MethodError, match="units must read together"):
        ActivationsEAPIG().require_usable(model, LogitDifference(), Work())


def test_the_score_of_every_part_is_its_slope_in_the_whole_model(fine, pairs):
    for ablation in (ResampleAblation(), MeanAblation(pairs)):
        full = Circuit.full(fine.graph)
        [slopes] = edge_slopes(fine, pairs, [full], LogitDifference(), Work(ablation))
        scores = eap.score_edges(fine, pairs, LogitDifference(), ablation=ablation)
        torch.testing.assert_close(slopes, scores.by_edge().double(), **CLOSE)


def test_the_exact_effect_of_an_edge_of_a_part_is_that_of_leaving_it_out(fine, pairs):
    metric, full = KLDivergence(), Circuit.full(fine.graph)
    touching = [name for name in fine.graph.edge_names if "." in name.partition("->")[2]]
    touching += [name for name in fine.graph.edge_names if name.startswith("m")]
    chosen = list(dict.fromkeys(touching))[::3]
    effects = measure_edges(fine, pairs, chosen, metric).effects
    without = [full.without_edges([name]) for name in chosen]
    values = evaluate(fine, pairs, [full, *without], ResampleAblation(), metric)
    torch.testing.assert_close(effects, values[1:] - values[:1], **CLOSE)
    assert float(effects.abs().max()) > 1e-4


def test_circuits_of_parts_run_together_are_each_alone(fine, pairs):
    circuits = [*some_circuits(fine.graph, 4), Circuit.full(fine.graph)]
    for ablation in (MeanAblation(pairs), ResampleAblation()):
        together = evaluate(fine, pairs, circuits, ablation)
        alone = [evaluate(fine, pairs, [circuit], ablation) for circuit in circuits]
        torch.testing.assert_close(together, torch.cat(alone), **CLOSE)


def test_weights_of_one_and_zero_are_the_circuit(fine, pairs):
    """The soft circuit, which computes each part alone, and the plan that groups them agree."""
    circuits = some_circuits(fine.graph)
    for ablation in (ZeroAblation(), ResampleAblation()):
        runs = PairRuns(fine, pairs, ablation, LogitDifference())
        weights = torch.stack([circuit.edge_mask.double() for circuit in circuits])
        logits = SoftCircuits.of(runs).logits(weights)
        values = LogitDifference().values(logits.flatten(0, 1), pairs.labels.repeated(3))
        found = evaluate(fine, pairs, circuits, ablation)
        torch.testing.assert_close(values.view(3, -1), found, **CLOSE)


def test_a_relu_mlp_through_its_own_weights_has_no_error_and_its_features_are_its_neurons(
    relu_model, pairs
):
    mlp = relu_model.layers[1].mlp
    bridge = relu_model.bridge.blocks[1].mlp
    w_in, b_in = matrix_of(getattr(bridge, "in").original_component, "in")
    w_out, b_out = matrix_of(mlp.out_module.original_component, "out")
    own = OwnWeights(w_in, b_in, w_out, b_out)
    numbers = (5, 2, 11)
    spec = Units(1, "feature", numbers, True, "own weights")
    as_features = taken_apart(relu_model, {1: features_of(mlp, spec, own, "normed", "m1")})
    as_neurons = taken_apart(
        relu_model, {1: neurons(relu_model, 1, read_alone=True, numbers=numbers)}
    )
    seen, expected = (record(m, pairs.clean_batch)[0] for m in (as_features, as_neurons))
    torch.testing.assert_close(seen.units, expected.units, **CLOSE)
    torch.testing.assert_close(seen.errors[0], torch.zeros_like(seen.errors[0]), **CLOSE)
    first, second = (
        eap.score_edges(m, pairs, LogitDifference()) for m in (as_features, as_neurons)
    )
    by_name = dict(zip(second.graph.edge_names, second.by_edge().tolist(), strict=True))
    for name, value in zip(first.graph.edge_names, first.by_edge().tolist(), strict=True):
        expected_value = by_name.get(name.replace("m1.f", "m1.n"), 0.0)  # an error: nothing
        assert value == pytest.approx(expected_value, rel=1e-9, abs=1e-10), name


@dataclass(frozen=True)
class OwnWeights:
    """A ReLU MLP's own weights, as a transcoder of what stands behind the norm."""

    w_in: torch.Tensor
    b_in: torch.Tensor
    directions: torch.Tensor
    b_out: torch.Tensor

    def encode(self, x):
        return torch.relu(x @ self.w_in + self.b_in)

    def decode(self, features, x):
        return features @ self.directions + self.b_out


@pytest.fixture(scope="module")
def relu_model(tmp_path_factory):
    return make_family("opt", tmp_path_factory.mktemp("opt"))


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (lambda: Units(0, "neurone", (1,)), "kind must be one of"),
        (lambda: Units(0, "neuron", (1, 1)), "different"),
        (lambda: Units(0, "neuron", (-1,)), "not negative"),
        (lambda: Units(0, "feature", (1,)), "must have a dictionary"),
        (lambda: Units(0, "neuron", (1,), dictionary="x"), "must have a dictionary"),
        (lambda: ComponentGraph(2, 2, 8, units=(Units(2, "neuron", ()),)), "taken apart once"),
        (lambda: ComponentGraph(2, 2, 8, units=(Units(1, "neuron", ()),) * 2), "once"),
    ],
)
def test_units_that_cannot_be_are_refused(spec, match):
    with pytest.raises(GraphError, match=match):
        spec()


def test_units_that_an_mlp_does_not_have_are_refused(toy, tmp_path):
    with pytest.raises(DecompositionError, match="neurons must be from 0 to"):
        neurons(toy, 0, read_alone=False, numbers=(10_000,))
    with pytest.raises(DecompositionError, match="features must be from 0 to 8, got 9"):
        features(toy, 0, numbers=(9,))
    with pytest.raises(DecompositionError, match="those of a transcoder"):
        features(toy, 0, read_alone=True)
    without = replace(random_code(toy.graph.d_model), directions=None)
    with pytest.raises(DecompositionError, match="along a direction of their own"):
        features_of(toy.layers[0].mlp, Units(0, "feature", (), False, "x"), without, "output", "m0")
    with pytest.raises(DecompositionError, match="got no MLP"):
        neurons_of(None, Units(0, "neuron", ()), "m0")
    experts = make_family("qwen3-moe", tmp_path)
    with pytest.raises(DecompositionError, match="mixture of experts"):
        neurons(experts, 0, read_alone=False)
