"""The weights of a dictionary that is trained, in its own units, and what its features are.

u        = x / scale_in                                   so that |u|^2 is d_in on average
pre      = (u - b_dec) W_enc + b_enc                      a transcoder's  u W_enc + b_enc
f        = relu(pre), zero but where it is kept           by topk, batchtopk or thresholds
y_hat    = scale_out (f W_dec + b_dec)                    rows of W_dec have norm 1
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.dictionaries.training.plan import Plan


@dataclass(frozen=True)
class Weights:
    """What is trained, and the two scales, which are not. `log_threshold` is jumprelu's alone."""

    w_enc: Float[Tensor, "d_in feature"]
    b_enc: Float[Tensor, " feature"]
    w_dec: Float[Tensor, "feature d_out"]
    b_dec: Float[Tensor, " d_out"]
    log_threshold: Float[Tensor, " feature"] | None
    scale_in: float
    scale_out: float
    subtracts_b_dec: bool

    def trained(self) -> dict[str, Tensor]:
        """Return what training changes, by name."""
        found = {"w_enc": self.w_enc, "b_enc": self.b_enc, "w_dec": self.w_dec}
        found["b_dec"] = self.b_dec
        return found if self.log_threshold is None else found | {"threshold": self.log_threshold}

    def with_trained(self, changed: dict[str, Tensor]) -> "Weights":
        """Return the weights with other values of what training changes."""
        other = {"log_threshold" if k == "threshold" else k: v for k, v in changed.items()}
        return replace(self, **other)  # type: ignore[arg-type]

    def pre_activations(self, u: Float[Tensor, "token d_in"]) -> Float[Tensor, "token feature"]:
        """Return what features are before any is left out, of scaled activations."""
        centred = u - self.b_dec if self.subtracts_b_dec else u
        return centred @ self.w_enc + self.b_enc

    def decode(self, f: Float[Tensor, "token feature"]) -> Float[Tensor, "token d_out"]:
        """Return the reconstruction, scaled."""
        return f @ self.w_dec + self.b_dec


def first_weights(
    plan: Plan, x: Float[Tensor, "token d_in"], y: Float[Tensor, "token d_out"]
) -> Weights:
    """Return the weights before the first step, drawn by the seed and fitted to a first batch.

    Decoder rows are random directions of norm 1, and the encoder's columns the same ones; where x
    and y differ, random ones of their own. `b_dec` is the mean of y. A threshold is where k
    features a token are active on the batch.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    scale_in, scale_out = scale_of(x), scale_of(y)
    w_dec = _unit_rows(torch.randn(plan.n_features, y.shape[1], generator=generator))
    w_enc = w_dec
    if plan.reads_mlp_input:
        w_enc = _unit_rows(torch.randn(plan.n_features, x.shape[1], generator=generator))
    weights = Weights(
        w_enc.T.contiguous().to(x),
        torch.zeros(plan.n_features).to(x),
        w_dec.to(x),
        y.mean(0) / scale_out,
        None,
        scale_in,
        scale_out,
        subtracts_b_dec=not plan.reads_mlp_input,
    )
    if plan.kind != "jumprelu":
        return weights
    pre = weights.pre_activations(x / scale_in)
    start = smallest_kept(pre, kept_over_batch(pre, plan.k)).clamp(min=1e-3).log()
    return replace(weights, log_threshold=start.repeat(plan.n_features))


def scale_of(x: Float[Tensor, "token d"]) -> float:
    """Return what x is divided by so that |x|^2 is its width on average; 1 where x is zero."""
    found = float(x.double().pow(2).mean().sqrt())
    return found if found > 0 else 1.0


def _unit_rows(x: Float[Tensor, "feature d"]) -> Float[Tensor, "feature d"]:
    lengths: Tensor = x.norm(dim=1, keepdim=True)
    return x / lengths


def kept_by_token(pre: Float[Tensor, "token feature"], k: int) -> Bool[Tensor, "token feature"]:
    """Return which features are kept: the k largest of each token, as far as they are positive."""
    kept = torch.zeros_like(pre, dtype=torch.bool)
    kept.scatter_(1, pre.topk(k, dim=1).indices, True)
    return kept & (pre > 0)


def kept_over_batch(pre: Float[Tensor, "token feature"], k: int) -> Bool[Tensor, "token feature"]:
    """Return which features are kept: the k a token that are largest over all, if positive."""
    flat = pre.flatten()
    positive = (flat > 0).nonzero().squeeze(1)
    n_kept = min(k * len(pre), len(positive))
    kept = torch.zeros_like(flat, dtype=torch.bool)
    kept[positive[flat[positive].topk(n_kept, sorted=False).indices]] = True
    return kept.reshape(pre.shape)


def smallest_kept(
    pre: Float[Tensor, "token feature"], kept: Bool[Tensor, "token feature"]
) -> Float[Tensor, ""]:
    """Return the smallest feature that is kept; 0 where none is."""
    chosen: Tensor = pre[kept]
    return chosen.amin() if len(chosen) else pre.new_zeros(())
