import numpy as np
import pytest
import torch

from circuitkit import assert_faithful
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import save_circuit
from circuitkit.contracts.asserting import worst_pairs
from circuitkit.errors import CircuitFileError, CircuitkitError
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import sample_splits
from circuitkit.task import find_task
from circuitkit.zoo.planted import planted
from tests.contracts.conftest import edit_origin

TASK = "planted-induction"


@pytest.fixture(scope="module")
def model():
    return planted(TASK).model(device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def truth(model):
    return planted(TASK).truth(model)


def test_the_true_circuit_passes_and_its_faithfulness_is_returned(truth, model):
    value = assert_faithful(truth, TASK, model, min=0.8, n=20)
    assert value.value == pytest.approx(1, abs=0.05)
    assert value.n == 20


def test_names_and_paths_do_as_well_as_what_they_stand_for(truth, model, tmp_path):
    save_circuit(truth, tmp_path / "truth.json")
    by_name = assert_faithful(tmp_path / "truth.json", TASK, TASK, min=0.8, n=20, seed=3)
    assert by_name == assert_faithful(truth, find_task(TASK), model, min=0.8, n=20, seed=3)


def test_a_failure_shows_the_interval_and_the_worst_prompts(truth, model):
    empty = Circuit.empty(model.graph)
    with pytest.raises(AssertionError) as failed:
        assert_faithful(empty, TASK, model, min=0.8, n=20, seed=1)
    first, second, *rows = str(failed.value).splitlines()
    assert first.startswith("faithfulness must be at least 0.8, got 0 [0, 0], n = 20")
    assert second == "Pairs of which the circuit keeps least (logit-difference, in logits):"
    assert len(rows) == 5
    drawn = sample_splits(find_task(TASK), model.tokenizer, n=20, seed=1).validation
    prompts = {repr(pair.clean) for pair in drawn.pairs}
    for row in rows:
        assert row.startswith("  0% kept: circuit ")
        assert row.partition(": circuit ")[2].partition(": ")[2] in prompts


def test_the_worst_pairs_come_first_and_those_without_a_share_are_left_out():
    pairs = [PromptPair([i], [i], [0]) for i in range(4)]
    full, empty = np.array([4.0, 2.0, 1.0, -3.0]), np.array([0.0, 0.0, 1.0, 0.0])
    kept = np.array([3.0, 0.5, 9.0, -3.0])
    found = worst_pairs(pairs, kept, full, empty)
    assert [(worst.pair, worst.share) for worst in found] == [(pairs[1], 0.25), (pairs[0], 0.75)]
    assert (found[0].circuit, found[0].model) == (0.5, 2.0)
    turned = worst_pairs(pairs, -kept, -full, -empty)  # as where less is better
    assert [worst.pair for worst in turned] == [pairs[1], pairs[0]]
    assert len(worst_pairs(pairs, kept, full, empty, n=1)) == 1


def test_an_interval_that_holds_the_bound_is_a_failure(truth, model):
    part = Circuit.of_edges(model.graph, [e for e in truth.edges if e != "input->a0.h0<v>"])
    value = assert_faithful(part, TASK, model, min=-9.0, n=20)
    assert value.low < value.value < value.high
    with pytest.raises(AssertionError, match="undecided"):
        assert_faithful(part, TASK, model, min=value.value, n=20)
    assert assert_faithful(part, TASK, model, min=value.low, n=20) == value


def test_too_few_pairs_are_a_failure(truth, model):
    with pytest.raises(AssertionError, match="could not be judged: too few pairs"):
        assert_faithful(truth, TASK, model, min=0.1, n=5)


def test_what_does_not_belong_together_is_an_error_not_a_failure(truth, model, tmp_path):
    save_circuit(truth, tmp_path / "truth.json")
    edit_origin(tmp_path / "truth.json", tokenizer_digest="0" * 16)
    with pytest.raises(CircuitFileError, match="with the tokenizer it was found with"):
        assert_faithful(tmp_path / "truth.json", TASK, model, min=0.9)
    with pytest.raises(CircuitkitError, match="assert_faithful: ablation: must be one of"):
        assert_faithful(truth, TASK, model, min=0.9, ablation="none")
