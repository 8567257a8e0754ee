import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.interventions.run_circuit import CircuitRunner
from circuitkit.validation.divergence import KL, TopAnswerAgreement


@pytest.fixture(scope="module")
def distributions(case):
    """Of the model, the circuit and the empty circuit."""
    runner = CircuitRunner(case.model, case.validation, case.ablations["resample"])
    graph = case.model.graph
    circuits = (Circuit.full(graph), case.circuit, Circuit.empty(graph))
    return runner.logits(torch.stack([c.edge_mask for c in circuits])).softmax(-1)


def test_kl_is_the_sum_over_the_vocabulary_from_model_to_circuit(case, distributions):
    model, circuit, empty = distributions
    by_hand = (model * (model / circuit).log()).sum(-1).mean()
    finding = KL().measure(case)
    assert finding.value.value == pytest.approx(float(by_hand))
    of_empty = float((model * (model / empty).log()).sum(-1).mean())
    assert finding.note.startswith(f"of the empty circuit: {of_empty:.3g} [")


def test_agreement_is_the_share_of_pairs_with_the_same_most_likely_token(case, distributions):
    model, circuit, empty = distributions.argmax(-1)
    finding = TopAnswerAgreement().measure(case)
    assert finding.value.value == pytest.approx(float((model == circuit).double().mean()))
    assert 0 < finding.value.value < 1
    assert finding.note == f"of the empty circuit: {float((model == empty).double().mean()):.3g}"
