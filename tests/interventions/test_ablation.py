import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import GraphError, MethodError, PromptError
from circuitkit.interventions.ablation import (
    MeanAblation,
    NoiseAblation,
    ResampleAblation,
    SuppliedAblation,
    TokenMeanAblation,
    ZeroAblation,
    ablation_named,
)
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.sites import site_named
from circuitkit.metrics import KLDivergence
from circuitkit.model.recording import record
from circuitkit.model.runs import whole_run
from circuitkit.prompts.columns import all_positions
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs


def test_means_are_taken_per_template_and_position_over_corrupted_prompts(toy):
    reference = tokenize_pairs(random_pairs(10, seed=5))
    target = tokenize_pairs(random_pairs(3, lengths=(7,)), padding_side="right")
    means = MeanAblation(reference, batch_size=3).values(toy, target)
    rows = [i for i, name in enumerate(reference.templates) if name == "length 7"]
    alone = tokenize_pairs([random_pairs(10, seed=5)[i] for i in rows])  # no padding
    expected, _ = record(toy, alone.corrupted_batch)
    for row in range(3):
        torch.testing.assert_close(means.input[row], expected.input.mean(0))
        torch.testing.assert_close(means.z[2][row], expected.z[2].mean(0))
        torch.testing.assert_close(means.mlp[1][row], expected.mlp[1].mean(0))


def test_means_land_on_the_real_positions_of_left_padded_prompts(toy):
    reference = tokenize_pairs(random_pairs(10, seed=5))
    target = tokenize_pairs(random_pairs(2))  # lengths 7 and 9: the first is padded by 2
    means = MeanAblation(reference).values(toy, target)
    assert means.input[0, :2].abs().max() == 0
    assert means.input[0, 2:].abs().min() > 0


def test_a_template_without_reference_is_refused(toy):
    reference = tokenize_pairs(random_pairs(4, lengths=(7,)))
    with pytest.raises(PromptError, match="template 'length 9' must occur among"):
        MeanAblation(reference).values(toy, tokenize_pairs(random_pairs(2)))


def test_a_template_of_another_length_in_the_reference_is_refused(toy):
    reference = [PromptPair([1, 2], [3, 4], [5], template="length 7")]
    with pytest.raises(PromptError, match="equally many tokens, got 7 and 2"):
        MeanAblation(tokenize_pairs(reference)).values(
            toy, tokenize_pairs(random_pairs(2, lengths=(7,)))
        )


def test_zero_ablation_writes_nothing(toy, pairs):
    zero = ZeroAblation().values(toy, pairs)
    assert zero.input.shape == (6, 9, 20)
    assert zero.z[0].shape == (6, 9, 4, 5)
    assert sum(float(x.abs().sum()) for x in (zero.input, *zero.z, *zero.mlp)) == 0


def test_an_unknown_ablation_names_the_known_ones(pairs):
    with pytest.raises(
        MethodError, match="'noise': must be one of mean, token-mean, zero, resample"
    ):
        ablation_named("noise", pairs)


def test_a_circuit_of_another_architecture_is_refused(toy, pairs, metric):
    other = ComponentGraph(n_layers=2, n_heads=4, d_model=20)
    with pytest.raises(GraphError, match="must be of the architecture of model"):
        evaluate_circuits(toy, pairs, [Circuit.full(other)], ablation=ZeroAblation(), metric=metric)


def test_evaluating_a_circuit_never_changes_it(toy, pairs, metric):
    circuit = Circuit.of_edges(toy.graph, ["input->m0", "m0->logits"])
    before = circuit.edge_mask.clone()
    evaluate_circuits(toy, pairs, [circuit], ablation=MeanAblation(pairs), metric=metric)
    assert torch.equal(circuit.edge_mask, before)


def test_many_circuits_in_one_batch_equal_one_at_a_time(toy, pairs):
    generator = torch.Generator().manual_seed(0)
    full = Circuit.full(toy.graph)
    circuits = [
        full.with_edges(
            full.edge_mask & (torch.rand(full.edge_mask.shape, generator=generator) < share)
        )
        for share in (0.2, 0.5, 0.9)
    ]
    metric = KLDivergence()
    together = evaluate_circuits(toy, pairs, circuits, ablation=MeanAblation(pairs), metric=metric)
    for row, circuit in zip(together, circuits, strict=True):
        [alone] = evaluate_circuits(
            toy, pairs, [circuit], ablation=MeanAblation(pairs), metric=metric
        )
        torch.testing.assert_close(row, alone, rtol=1e-10, atol=1e-11)
        assert alone.min() > 0


def test_token_means_are_means_over_all_real_tokens(toy):
    raw = random_pairs(10, seed=5)
    target = tokenize_pairs(random_pairs(3))
    found = TokenMeanAblation(tokenize_pairs(raw), batch_size=4).values(toy, target)
    alone = [record(toy, tokenize_pairs([pair]).corrupted_batch)[0] for pair in raw]
    expected = torch.cat([one.mlp[1][0] for one in alone]).mean(0)
    assert found.mlp[1].shape == (3, 9, 20)
    torch.testing.assert_close(found.mlp[1][2, 4], expected)
    torch.testing.assert_close(found.z[2][0, 0], torch.cat([x.z[2][0] for x in alone]).mean(0))


def test_noise_blurs_the_embeddings_of_its_roles_alone(toy, pairs):
    run = NoiseAblation(["B"], factor=2.0).run(toy, pairs)
    change = run.entering - whole_run(toy, pairs.clean_batch).entering
    changed = (change != 0).any(-1)
    for row, roles in enumerate(pairs.roles):
        assert changed[row].nonzero()[:, 0].tolist() == list(range(*roles["B"]))
    drawn = change[changed]
    assert float(drawn.std() / toy.token_embeddings.std()) == pytest.approx(2.0, rel=0.1)


def test_noise_depends_on_the_prompt_and_the_seed_alone(toy):
    raw = random_pairs()
    values = NoiseAblation(["A"]).values(toy, tokenize_pairs(raw))
    last = NoiseAblation(["A"]).values(toy, tokenize_pairs([raw[5]]))
    torch.testing.assert_close(values.mlp[2][5:, -9:], last.mlp[2])
    other = NoiseAblation(["A"], seed=1).values(toy, tokenize_pairs([raw[5]]))
    assert (other.mlp[2] - last.mlp[2]).abs().max() > 0.01


def test_noise_without_its_role_is_refused(toy, pairs):
    with pytest.raises(PromptError, match="must have one of the roles .'S1'."):
        NoiseAblation(["S1"]).run(toy, pairs)


def test_causal_tracing_restores_clean_values_in_the_blurred_run(toy, pairs, metric):
    noise = NoiseAblation(["A", "B"])
    sweep = patch_activations(
        toy,
        pairs,
        site_named("resid"),
        all_positions(pairs),
        metric=metric,
        direction=Direction.DENOISING,
        corruption=noise,
    )
    run = noise.run(toy, pairs)
    with torch.no_grad():
        blurred = metric.values(toy.run_from(run.entering, run.context), pairs.labels)
        clean = metric.values(toy.run(pairs.clean_batch), pairs.labels)
    torch.testing.assert_close(sweep.gap, clean - blurred)
    torch.testing.assert_close(sweep.effects[0, 0], sweep.gap)
    assert sweep.gap.abs().min() > 1e-4


def test_supplied_values_replace_what_named_senders_write(toy, pairs):
    given = {
        "m1": torch.arange(20.0),
        "a0.h2": torch.ones(9, 5),
        "input": torch.zeros(20),
    }
    values = SuppliedAblation(given, ResampleAblation()).values(toy, pairs)
    rest = ResampleAblation().values(toy, pairs)
    assert torch.equal(values.mlp[1][4, 3], torch.arange(20.0, dtype=torch.float64))
    assert torch.equal(values.z[0][:, :, 2], torch.ones(6, 9, 5, dtype=torch.float64))
    assert values.input.abs().max() == 0
    assert torch.equal(values.z[0][:, :, 1], rest.z[0][:, :, 1])
    assert torch.equal(values.mlp[2], rest.mlp[2])
    with pytest.raises(GraphError, match="names must be senders"):
        SuppliedAblation({"logits": torch.zeros(20)}, ZeroAblation()).values(toy, pairs)
    with pytest.raises(GraphError, match=r"must have the shape \(5,\), or \(9, 5\)"):
        SuppliedAblation({"a0.h2": torch.zeros(20)}, ZeroAblation()).values(toy, pairs)
