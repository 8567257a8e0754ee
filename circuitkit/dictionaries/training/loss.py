"""The loss of a batch, and the features that were active.

    e        = y - y_hat                                     in scaled units
    loss     = mean |e|^2 / d_out
             + aux_weight  mean |e - e_dead|^2 / mean |e|^2             e held fixed; dead features
             + sparsity_weight  (L0 / k - 1)^2                          jumprelu alone

e_dead is what the `aux_k` largest dead features of each token, decoded without a bias, make of e.

Jumprelu has no gradient of its own in its threshold t. It is given that of a step smoothed over a
width w of the pre-activation (Rajamanoharan et al. 2024, arXiv:2407.14435, equations 11 and 12):

    d f / d t    = -(t / w) K        d L0 / d t = -(1 / w) K        K = 1 where |pre - t| < w / 2
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.dictionaries.training.plan import Plan
from circuitkit.dictionaries.training.weights import Weights, kept_by_token, kept_over_batch


@dataclass(frozen=True)
class Loss:
    """The loss of a batch, what is left of y, and which features were active on each token."""

    total: Float[Tensor, ""]
    left_over: float  # mean |e|^2 / d_out, as a share of mean |y|^2 / d_out that is 1 in all
    active: Bool[Tensor, "token feature"]


class _JumpReLU(torch.autograd.Function):
    """pre where it is above the threshold, else 0."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.width = width
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        (gradient,) = given
        is_near = (pre - threshold).abs() < ctx.width / 2
        by_threshold = -(threshold / ctx.width) * (gradient * is_near).sum(0)
        return gradient * (pre > threshold), by_threshold, None


class _Steps(torch.autograd.Function):
    """1 where pre is above the threshold, else 0."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.width = width
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[None, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        (gradient,) = given
        is_near = (pre - threshold).abs() < ctx.width / 2
        return None, -(gradient * is_near).sum(0) / ctx.width, None


_jump_relu: Callable[[Tensor, Tensor, float], Tensor] = _JumpReLU.apply
_steps: Callable[[Tensor, Tensor, float], Tensor] = _Steps.apply


def loss_of(
    weights: Weights,
    plan: Plan,
    u: Float[Tensor, "token d_in"],
    v: Float[Tensor, "token d_out"],
    dead: Bool[Tensor, " feature"],
) -> Loss:
    """Return the loss of scaled activations: `u` is read, and `v` is to be written."""
    pre = weights.pre_activations(u)
    f, sparsity = _features(weights, plan, pre)
    error = v - weights.decode(f)
    left_over = error.pow(2).mean()
    total = left_over + sparsity
    if plan.aux_k > 0 and bool(dead.any()):
        total = total + plan.aux_weight * auxiliary_loss(weights, plan, pre, error.detach(), dead)
    return Loss(total, float(left_over.detach()), f.detach() > 0)


def _features(
    weights: Weights, plan: Plan, pre: Float[Tensor, "token feature"]
) -> tuple[Float[Tensor, "token feature"], Float[Tensor, ""]]:
    """Return the features, and what of the loss is for being many."""
    none = pre.new_zeros(())
    if weights.log_threshold is None:
        choose = kept_by_token if plan.kind == "topk" else kept_over_batch
        return pre * choose(pre.detach(), plan.k), none
    threshold = weights.log_threshold.exp()
    rectified = pre.relu()
    many = _steps(rectified, threshold, plan.bandwidth).sum(1).mean()
    features = _jump_relu(rectified, threshold, plan.bandwidth)
    return features, plan.sparsity_weight * (many / plan.k - 1).pow(2)


def auxiliary_loss(
    weights: Weights,
    plan: Plan,
    pre: Float[Tensor, "token feature"],
    error: Float[Tensor, "token d_out"],
    dead: Bool[Tensor, " feature"],
) -> Float[Tensor, ""]:
    """Return how much of the error the largest dead features of each token leave, as a share."""
    of_dead = pre[:, dead]
    kept = kept_by_token(of_dead.detach(), min(plan.aux_k, of_dead.shape[1]))
    rest = error - (of_dead * kept) @ weights.w_dec[dead]
    return rest.pow(2).mean() / error.pow(2).mean().clamp(min=1e-12)
