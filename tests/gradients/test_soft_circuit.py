import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import eap
from circuitkit.errors import MemoryBudgetError
from circuitkit.gradients.soft_circuit import SoftCircuits, require_memory
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import LogitDifference
from circuitkit.model.recording import record
from tests.conftest import fingerprint
from tests.families import make_family

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
METRIC = LogitDifference()
# layer norm; grouped queries; parallel blocks; norms behind; no MLPs; later positions seen
SOME = (
    "gpt2",
    "llama",
    "gpt-neox",
    "gpt-j",
    "gemma-2",
    "olmo-2",
    "mixtral",
    "native-attention-only",
    "native-bidirectional",
)


@pytest.fixture(scope="module", params=SOME)
def family(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


def soft_gain(model, pairs, weights, ablation=None):
    circuits = SoftCircuits.of(PairRuns(model, pairs, ablation or ResampleAblation(), METRIC))
    logits = circuits.logits(weights)
    labels = pairs.labels.repeated(len(weights))
    return METRIC.gain(logits.flatten(0, 1), labels).reshape(len(weights), -1)


def some_circuits(graph, n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    full = Circuit.full(graph)
    drawn = torch.rand(n, *graph.edge_mask.shape, generator=generator)
    return [full.with_edges((row < 0.6) & graph.edge_mask) for row in drawn]


def weights_of(circuits):
    return torch.stack([circuit.edge_mask for circuit in circuits]).double()


def test_weights_of_one_give_the_clean_run_and_of_zero_the_corrupted_one(family, pairs):
    expected = torch.stack(
        [
            METRIC.gain(record(family, batch)[1], pairs.labels)
            for batch in (pairs.clean_batch, pairs.corrupted_batch)
        ]
    )
    shape = family.graph.edge_mask.shape
    weights = torch.stack([torch.ones(shape), torch.zeros(shape)]).double()
    torch.testing.assert_close(soft_gain(family, pairs, weights), expected, **CLOSE)


@pytest.mark.parametrize("kind", ["resample", "mean", "zero"])
def test_weights_of_zero_and_one_give_the_values_of_circuits(family, pairs, kind):
    choices = {
        "resample": ResampleAblation(),
        "mean": MeanAblation(pairs),
        "zero": ZeroAblation(),
    }
    graph, ablation = family.graph, choices[kind]
    circuits = [Circuit.empty(graph), *some_circuits(graph)]
    expected = evaluate_circuits(family, pairs, circuits, ablation=ablation, metric=METRIC)
    found = soft_gain(family, pairs, weights_of(circuits), ablation)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_the_slope_at_weights_of_one_is_the_score_of_edge_attribution(family, pairs):
    for ablation in (ResampleAblation(), MeanAblation(pairs)):
        weights = torch.ones(1, *family.graph.edge_mask.shape).double().requires_grad_()
        gain = soft_gain(family, pairs, weights, ablation).sum()
        [slope] = torch.autograd.grad(gain, [weights])
        scores = eap.score_edges(family, pairs, METRIC, ablation=ablation)
        torch.testing.assert_close(slope[0] / len(pairs), scores.values, **CLOSE)


def test_slopes_between_are_those_of_finite_differences(toy, pairs):
    generator = torch.Generator().manual_seed(1)
    shape = toy.graph.edge_mask.shape
    weights = torch.rand(1, *shape, generator=generator).double().requires_grad_()
    [slope] = torch.autograd.grad(soft_gain(toy, pairs, weights).sum(), [weights])
    for s, r in [(0, 3), (2, 20), (0, -1), (9, -1), (4, 12)]:
        step = torch.zeros(1, *shape).double()
        step[0, s, r] = 1e-5
        with torch.no_grad():
            up, down = (soft_gain(toy, pairs, weights + sign * step).sum() for sign in (1, -1))
        assert float(slope[0, s, r]) == pytest.approx(float(up - down) / 2e-5, rel=1e-5, abs=1e-8)


def test_weights_outside_the_graph_are_not_read(toy, pairs):
    weights = weights_of(some_circuits(toy.graph))
    other = torch.where(toy.graph.edge_mask, weights, 7.0)
    assert torch.equal(soft_gain(toy, pairs, other), soft_gain(toy, pairs, weights))


def test_ablated_values_may_be_differentiated(toy, pairs):
    circuits = SoftCircuits.of(PairRuns(toy, pairs, ZeroAblation(), METRIC))
    weights = weights_of(some_circuits(toy.graph, n=1))
    ablated = circuits.ablated.clone().requires_grad_()

    def gain(values):
        logits = SoftCircuits(toy, circuits.run, values).logits(weights)[0]
        return METRIC.gain(logits, pairs.labels).sum()

    [slope] = torch.autograd.grad(gain(ablated), [ablated])
    place = 3 * pairs.clean.shape[1] - 1  # the last token of the third prompt
    for sender in (0, 3, 5, 10):
        step = torch.zeros_like(ablated)
        step[sender, place, 2] = 1e-5
        with torch.no_grad():
            change = float(gain(ablated + step) - gain(ablated - step)) / 2e-5
        assert float(slope[sender, place, 2]) == pytest.approx(change, rel=1e-5, abs=1e-8)
    assert slope[:, place].abs().sum() > 0


def test_the_model_comes_back_as_it_was(toy, pairs):
    before = fingerprint(toy)
    weights = weights_of(some_circuits(toy.graph)).requires_grad_()
    soft_gain(toy, pairs, weights).sum().backward()
    assert fingerprint(toy) == before


def test_no_more_pairs_than_fit_are_accepted(toy, pairs):
    require_memory(toy, pairs, 4, memory=100_000_000)
    with pytest.raises(MemoryBudgetError, match="4 pairs of 9 tokens.*fewer pairs per step"):
        require_memory(toy, pairs, 4, memory=100_000)
