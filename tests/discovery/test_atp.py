import pytest
import torch

from circuitkit.discovery import atp, eap
from circuitkit.errors import MethodError
from circuitkit.interventions.ablation import MeanAblation
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.sites import site_named
from circuitkit.interventions.work import Work
from circuitkit.model import hook_points
from circuitkit.model.attention import per_head
from circuitkit.model.runs import whole_run
from circuitkit.prompts.columns import all_positions, by_position
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs
from tests.families import make_family, make_native

FIX = atp.Corrections(qk_fix=True)
DROP = atp.Corrections(grad_drop=True)


@pytest.fixture(scope="module")
def attention_only():
    """A model without norms and MLPs: past the last pattern, everything is linear."""
    return make_native("native-attention-only")


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    return make_family("gemma-2", tmp_path_factory.mktemp("gemma-2"))


@pytest.mark.parametrize("name", ["toy", "grouped", "attention_only"])
def test_a_component_scores_the_sum_of_its_out_edges(name, request, pairs, metric):
    model = request.getfixturevalue(name)
    by_edge = eap.score_edges(model, pairs, metric).values.sum(1)
    scores = atp.score_nodes(model, pairs, metric).by_name()
    for sender, total in zip(model.graph.senders, by_edge.tolist(), strict=True):
        assert scores[sender] == pytest.approx(total, abs=1e-10)


def gradients(model, pairs, metric, points, held=None):
    """Return values and gradients at some places of the clean run, by plain autograd."""
    run = whole_run(model, pairs.clean_batch)
    leaves = {}

    def mark(point):
        def hook(x):
            leaves[point] = per_head(x, 4).view_as(per_head(x, 4)) if x.ndim == 4 else x.view_as(x)
            return leaves[point]

        return hook

    hooks = {point: mark(point) for point in points}
    if held is not None:
        for point in (hook_points.attn_out(held), hook_points.mlp_out(held)):
            inner = hooks.get(point)
            hooks[point] = lambda x, inner=inner: (inner(x) if inner else x).detach()
    logits = model.run_from(run.entering.clone().requires_grad_(), run.context, hooks)
    gain = metric.gain(logits, pairs.labels).sum()
    found = torch.autograd.grad(gain, list(leaves.values()), allow_unused=True)
    zeros = {p: torch.zeros_like(x) for p, x in leaves.items()}
    grads = {p: zeros[p] if g is None else g for p, g in zip(leaves, found, strict=True)}
    return {p: x.detach() for p, x in leaves.items()}, grads


def test_queries_keys_and_values_score_change_times_gradient(toy, pairs, metric):
    scores = atp.score_nodes(toy, pairs, metric).by_name()
    for read in "qkv":
        point = hook_points.projection(1, read)
        clean, grads = gradients(toy, pairs, metric, [point])
        kept = {}
        toy.run(pairs.corrupted_batch, {point: lambda x, kept=kept: kept.update(x=x.detach())})
        by_head = ((clean[point] - kept["x"]) * grads[point] * pairs.mask[..., None, None]).sum(
            (0, 1, 3)
        )
        for head in range(4):
            expected = float(by_head[head]) / len(pairs)
            assert scores[f"a1.h{head}<{read}>"] == pytest.approx(expected, abs=1e-11)


def test_the_qk_fix_is_exact_where_all_behind_the_pattern_is_linear(attention_only, pairs, metric):
    last = attention_only.graph.n_layers - 1
    scores = {
        name: atp.score_nodes(attention_only, pairs, metric, corrections=which).by_name()
        for name, which in (("fixed", FIX), ("plain", atp.PLAIN))
    }
    worst = 0.0
    for read in "qk":
        exact = patch_activations(
            attention_only, pairs, site_named(read), all_positions(pairs), metric=metric
        )
        effects = dict(zip(exact.rows, exact.effects[:, 0].mean(-1).tolist(), strict=True))
        for head in range(4):
            name = f"a{last}.h{head}<{read}>"
            assert scores["fixed"][name] == pytest.approx(effects[name], abs=1e-10)
            worst = max(worst, abs(scores["plain"][name] - effects[name]))
    assert worst > 0.01


def test_the_qk_fix_is_closer_to_the_exact_effects(toy, pairs, metric):
    errors = {}
    for name, which in (("fixed", FIX), ("plain", atp.PLAIN)):
        scores = atp.score_nodes(toy, pairs, metric, corrections=which).by_name()
        errors[name] = 0.0
        for read in "qk":
            exact = patch_activations(
                toy, pairs, site_named(read), all_positions(pairs), metric=metric
            )
            for row, effect in zip(exact.rows, exact.effects[:, 0].mean(-1), strict=True):
                errors[name] += abs(scores[row] - float(effect))
    assert errors["fixed"] < 0.8 * errors["plain"]


def test_the_qk_fix_leaves_everything_else_as_it_was(toy, pairs, metric):
    plain = atp.score_nodes(toy, pairs, metric).by_name()
    fixed = atp.score_nodes(toy, pairs, metric, corrections=FIX).by_name()
    for name, value in plain.items():
        same = fixed[name] == pytest.approx(value, abs=1e-12)
        assert same != name.endswith(("<q>", "<k>"))


def test_grad_drop_is_the_mean_magnitude_with_each_other_layer_held(toy, pairs, metric):
    scores = atp.score_nodes(toy, pairs, metric, corrections=DROP).by_name()
    point = hook_points.mlp_out(1)
    kept = {}
    toy.run(pairs.corrupted_batch, {point: lambda x: kept.update(x=x.detach())})
    total = torch.zeros(len(pairs), dtype=torch.float64)
    for held in (0, 2):
        clean, grads = gradients(toy, pairs, metric, [point], held)
        products = (clean[point] - kept["x"]) * grads[point]
        total += (products.sum(-1) * pairs.mask).sum(1).abs()
    assert scores["m1"] == pytest.approx(float(total.mean()) / 2, abs=1e-11)
    assert min(scores.values()) >= 0


def test_grad_drop_of_the_input_counts_every_layer(toy, pairs, metric):
    scores = atp.score_nodes(toy, pairs, metric, corrections=DROP).by_name()
    point = hook_points.resid_pre(0)
    kept = {}
    toy.run(pairs.corrupted_batch, {point: lambda x: kept.update(x=x.detach())})
    total = torch.zeros(len(pairs), dtype=torch.float64)
    for held in range(3):
        clean, grads = gradients(toy, pairs, metric, [point], held)
        products = (clean[point] - kept["x"]) * grads[point]
        total += (products.sum(-1) * pairs.mask).sum(1).abs()
    assert scores["input"] == pytest.approx(float(total.mean()) / 3, abs=1e-11)


@pytest.mark.parametrize("corrections", [atp.PLAIN, FIX, atp.ATP_STAR])
def test_scores_do_not_depend_on_batches_or_padding(grouped, metric, corrections):
    raw = random_pairs()
    whole = atp.score_nodes(grouped, tokenize_pairs(raw), metric, corrections=corrections).values
    parts = atp.score_nodes(
        grouped,
        tokenize_pairs(raw, padding_side="right"),
        metric,
        corrections=corrections,
        work=Work(batch_size=4),
    ).values
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-11)


def test_positions_add_up_where_nothing_is_corrected(grouped, pairs, metric):
    columns = by_position(pairs)
    parts = atp.score_node_columns(grouped, pairs, metric, columns)
    total = torch.stack([part.values for part in parts]).sum(0)
    torch.testing.assert_close(total, atp.score_nodes(grouped, pairs, metric).values)


def test_other_ablations_and_single_layers_are_refused(toy, pairs, metric):
    with pytest.raises(MethodError, match="ablation must be resample, got 'mean'"):
        atp.score_nodes(toy, pairs, metric, work=Work(ablation=MeanAblation(pairs)))


def test_identical_prompts_score_zero(toy, metric):
    same = tokenize_pairs(
        [PromptPair(p.clean, p.clean, p.answers, p.wrong_answers) for p in random_pairs()]
    )
    for corrections in (atp.PLAIN, atp.ATP_STAR):
        scores = atp.score_nodes(toy, same, metric, corrections=corrections)
        assert scores.values.abs().max() < 1e-12
