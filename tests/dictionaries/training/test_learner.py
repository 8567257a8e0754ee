"""Steps of training, against gradients and moments that are written out here, in float64."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from circuitkit.dictionaries.training.learner import Learner, without_parallel
from circuitkit.dictionaries.training.loss import auxiliary_loss, loss_of
from circuitkit.dictionaries.training.plan import Plan
from circuitkit.dictionaries.training.weights import (
    first_weights,
    kept_by_token,
    kept_over_batch,
    smallest_kept,
)

N_TOKENS, D, N_FEATURES = 7, 3, 5
ALIVE = torch.zeros(N_FEATURES, dtype=torch.bool)


def plan(kind="topk", **more):
    settings = {"n_features": N_FEATURES, "k": 2, "steps": 10, "warmup": 4, "learning_rate": 0.1}
    return Plan(kind, **(settings | more))


def activations(seed=0, d=D):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N_TOKENS, d, generator=generator, dtype=torch.float64)


def learner(kind="topk", **more):
    y = activations()
    x = activations(1, 4) if kind == "transcoder" else y
    return Learner.begin(plan(kind, **more), x, y), x, y


def chosen_by_hand(pre, kind, k):
    """Keep the k largest of each row, or k a row of all, by sorting."""
    by_row, over_all = np.sort(pre, 1)[:, -k][:, None], np.sort(pre, None)[-k * len(pre)]
    floor = by_row if kind == "topk" else over_all
    return (pre >= floor) & (pre > 0)


def gradients_by_hand(weights, kind, k, u, v):
    """Write out the chain rule of mean |v - f W_dec - b_dec|^2 / d."""
    w_enc, b_enc, w_dec, b_dec = (weights[name] for name in ("w_enc", "b_enc", "w_dec", "b_dec"))
    subtracts = kind != "transcoder"
    centred = u - b_dec if subtracts else u
    pre = centred @ w_enc + b_enc
    kept = chosen_by_hand(pre, kind, k)
    f = pre * kept
    error = v - f @ w_dec - b_dec
    by_output = -2 * error / error.size
    by_pre = (by_output @ w_dec.T) * kept
    by_b_dec = by_output.sum(0) - ((by_pre @ w_enc.T).sum(0) if subtracts else 0)
    by_w_dec = f.T @ by_output
    by_w_dec -= (by_w_dec * w_dec).sum(1, keepdims=True) * w_dec
    return {
        "w_enc": centred.T @ by_pre,
        "b_enc": by_pre.sum(0),
        "w_dec": by_w_dec,
        "b_dec": by_b_dec,
    }


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "transcoder"])
def test_two_steps_are_those_of_gradients_and_moments_written_out_by_hand(kind):
    made, x, y = learner(kind)
    values = {name: each.numpy().copy() for name, each in made.weights.trained().items()}
    scales = made.weights.scale_in, made.weights.scale_out
    u, v = (x / scales[0]).numpy(), (y / scales[1]).numpy()
    moments = {name: [0.0, 0.0] for name in values}
    for step in (1, 2):
        slopes = gradients_by_hand(values, kind, 2, u, v)
        rate = 0.1 * step / 4  # the linear rise over 4 steps
        for name, slope in slopes.items():
            moments[name][0] = 0.9 * moments[name][0] + 0.1 * slope
            moments[name][1] = 0.999 * moments[name][1] + 0.001 * slope**2
            mean = moments[name][0] / (1 - 0.9**step)
            spread = moments[name][1] / (1 - 0.999**step)
            values[name] = values[name] - rate * mean / (np.sqrt(spread) + 1e-8)
        values["w_dec"] = values["w_dec"] / np.linalg.norm(values["w_dec"], axis=1, keepdims=True)
        made.learn(x, y)
        for name, each in made.weights.trained().items():
            np.testing.assert_allclose(each.numpy(), values[name], rtol=1e-9, atol=1e-12)


def test_decoder_rows_keep_the_norm_1_through_many_steps():
    made, x, y = learner("batchtopk")
    before = made.weights.w_dec
    for _ in range(9):
        made.learn(x, y)
    norms = made.weights.w_dec.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms), rtol=0, atol=1e-12)
    assert not torch.equal(made.weights.w_dec, before)


def test_what_is_left_of_a_decoder_gradient_is_at_right_angles_to_its_row():
    rows = torch.nn.functional.normalize(activations(3), dim=1)
    left = without_parallel(activations(4), rows)
    assert (left * rows).sum(1).abs().max() < 1e-15
    assert left.norm() > 0.1


def test_the_auxiliary_loss_is_what_the_largest_dead_features_leave_of_the_error():
    made, x, _ = learner()
    weights, dead = made.weights, torch.tensor([True, False, True, False, True])
    pre = weights.pre_activations(x / weights.scale_in)
    error = activations(5)
    found = auxiliary_loss(weights, plan(aux_k=1), pre, error, dead)
    left = []
    for token in range(N_TOKENS):
        best = max([0, 2, 4], key=lambda feature: float(pre[token, feature]))
        value = max(0.0, float(pre[token, best]))
        left.append(error[token] - value * weights.w_dec[best])
    expected = torch.stack(left).pow(2).sum() / error.pow(2).sum()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_only_dead_features_get_a_gradient_from_the_auxiliary_loss():
    made, x, y = learner(aux_k=2, aux_weight=1.0)
    u, v = x / made.weights.scale_in, y / made.weights.scale_out
    dead = torch.tensor([False, True, False, False, False])
    given = {name: w.clone().requires_grad_() for name, w in made.weights.trained().items()}
    weights = made.weights.with_trained(given)

    def slope(which):
        total = loss_of(weights, made.plan, u, v, which).total
        return torch.autograd.grad(total, [given["w_dec"], given["b_dec"]])

    (rows_with, bias_with), (rows, bias) = slope(dead), slope(ALIVE)
    changed = (rows_with - rows).abs().amax(1) > 1e-12
    assert changed.tolist() == dead.tolist()
    assert float((bias_with - bias).abs().max()) >= 0.0


def test_a_feature_is_dead_once_it_was_not_active_for_so_many_tokens():
    made, x, y = learner(dead_after=2 * N_TOKENS, k=1)
    u = x / made.weights.scale_in
    fired = kept_by_token(made.weights.pre_activations(u), 1).any(0)
    assert 0 < int(fired.sum()) < N_FEATURES
    made.learn(x, y)
    assert made.idle.tolist() == [0 if each else N_TOKENS for each in fired.tolist()]
    assert not made.dead.any()
    made.idle = torch.tensor([13, 14, 15, 0, 1])
    assert made.dead.tolist() == [False, True, True, False, False]


def test_jumprelu_gives_its_threshold_the_gradient_of_a_step_smoothed_over_a_width():
    wide = plan("jumprelu", bandwidth=0.8, sparsity_weight=0.3)
    weights = replace(first_weights(plan("jumprelu"), activations(), activations()))
    t = torch.tensor([0.2, 0.5, 0.9, 0.4, 1.1], dtype=torch.float64)
    log_t = t.log().requires_grad_()
    u = activations() / weights.scale_in
    total = loss_of(replace(weights, log_threshold=log_t), wide, u, u, ALIVE).total
    (found,) = torch.autograd.grad(total, log_t)
    pre = weights.pre_activations(u).relu().numpy()
    thresholds = t.numpy()
    f = pre * (pre > thresholds)
    error = u.numpy() - f @ weights.w_dec.numpy() - weights.b_dec.numpy()
    by_f = (-2 * error / error.size) @ weights.w_dec.numpy().T
    near = np.abs(pre - thresholds) < 0.4
    l0 = (pre > thresholds).sum(1).mean()
    by_l0 = 0.3 * 2 * (l0 / 2 - 1) / 2
    by_t = (-(thresholds / 0.8) * by_f * near).sum(0) - by_l0 * (near / 0.8).mean(0) * 1.0
    assert 0 < near.sum() < near.size
    np.testing.assert_allclose(found.numpy(), by_t * thresholds, rtol=1e-9)


def test_k_features_a_token_are_kept_and_none_that_is_not_positive():
    pre = torch.tensor([[3.0, 2.0, 1.0], [-1.0, 0.0, 5.0], [-3.0, -2.0, -1.0]])
    assert kept_by_token(pre, 2).int().tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert kept_over_batch(pre, 1).int().tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert kept_over_batch(pre, 2).int().tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert float(smallest_kept(pre, kept_over_batch(pre, 1))) == 2.0
    assert float(smallest_kept(-pre.abs(), kept_over_batch(-pre.abs(), 1))) == 0.0


def test_before_the_first_step_jumprelu_has_k_features_active_on_a_token():
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    weights = first_weights(Plan("jumprelu", n_features=32, k=4), x, x)
    pre = weights.pre_activations(x / weights.scale_in)
    active = (pre > weights.log_threshold.exp()).float().sum(1).mean()
    assert 3.9 < float(active) <= 4.0


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    rates = [Plan(steps=90, warmup=10, learning_rate=1.0).learning_rate_at(s) for s in range(90)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:61] == [1.0] * 52
    assert rates[75] == pytest.approx(0.5)
    assert 0 < rates[89] < 0.04
    assert math.isclose(max(rates), 1.0)
