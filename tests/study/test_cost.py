"""What a model is, and what work on it will take."""

import pytest

from circuitkit.discovery import time_estimate
from circuitkit.errors import PromptError
from circuitkit.interventions.budget import bytes_per_pair
from circuitkit.metrics import Accuracy
from circuitkit.study import cost
from circuitkit.study.cost import cost_of, random_pairs


@pytest.fixture
def timed(monkeypatch):
    """A forward pass of one pair takes a tenth of a second, and a call of EAP two."""
    monkeypatch.setattr(cost, "seconds_per_pass", lambda *_: 0.1)
    monkeypatch.setattr(time_estimate, "seconds_per_pass", lambda *_: 0.1)
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))


def test_a_cost_says_the_models_sizes_and_scales_with_the_pairs(toy, timed):
    pairs = random_pairs(toy, 9)
    found, more = cost_of(toy, pairs, n_pairs=50), cost_of(toy, pairs, n_pairs=100)
    assert found.n_parameters == sum(p.numel() for p in own_weights(toy))
    assert found.weight_bytes == 8 * found.n_parameters
    assert (found.n_edges, found.n_layers, found.n_heads) == (toy.graph.n_edges, 3, 4)
    assert (found.n_tokens, found.pair_bytes) == (9, bytes_per_pair(toy, 9))
    assert (found.family, found.dtype, found.device) == ("gpt2", "float64", "cpu")
    assert found.run_seconds == pytest.approx(5)
    assert found.seconds["acdc"] == pytest.approx(0.1 * toy.graph.n_edges * 50)
    assert found.seconds["eap"] == pytest.approx(2 * 50 / 2)  # two pairs take CALIBRATION
    assert found.seconds["exact"] < found.seconds["acdc"]
    assert more.seconds["eap"] == 2 * found.seconds["eap"]
    assert more.seconds["exact"] == pytest.approx(2 * found.seconds["exact"])


def own_weights(model):
    """Return every weight once: the embedding is the unembedding, and q, k, v are split copies."""
    found = {p.data_ptr(): p for p in model.bridge.original_model.parameters()}
    return found.values()


def test_methods_that_cannot_work_are_left_out(toy, timed):
    found = cost_of(toy, random_pairs(toy, 9), Accuracy(), n_pairs=10)
    assert set(found.seconds) == {"exact", "acdc"}


def test_a_calibration_takes_as_many_pairs_as_are_quick(toy, monkeypatch):
    taken = []
    monkeypatch.setattr(cost, "_seconds", lambda name, model, few, metric: taken.append(len(few)))
    for one, n in ((1.0, 1), (0.05, 4), (1e-6, 32)):
        monkeypatch.setattr(cost, "seconds_per_pass", lambda *_, one=one: one)
        cost_of(toy, random_pairs(toy, 5), n_pairs=1, methods=("eap",))
        assert taken.pop() == n


def test_prompts_that_the_model_has_no_positions_for_are_refused(toy):
    with pytest.raises(PromptError, match="at most 16 tokens"):
        random_pairs(toy, 17)
