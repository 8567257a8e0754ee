"""Attention whose queries, keys and values pass through latents that the heads share (DeepSeek).

    c        =  x_hat W'_a                      the latent, of keys and values the same one
    k of h   =  [ norm(c) K_h , rotated r ]     r: part of the same projection, for all heads
    v of h   =  norm(c) V_h
    q of h   =  norm(c_q) Q_h                   or a projection of its own, where there is no c_q

What stands for q, k and v of `Attention` is the latent in front of its norm: one "group" for all
heads. So `a3.h0<k>` is the residual stream as head 0's keys read it, through a latent and a norm of
its own; only in an unchanged run are they those of all heads. What is behind the latent is part of
`attend`. The three are given the width of the widest: what is left over is zero.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitkit.model.attention import Attention, LayerContext
from circuitkit.model.norms import Norm, norm_of

Matrix = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Latent:
    """What heads make of a latent: its norm, and a matrix of each head behind it."""

    norm: Norm
    up: Float[Tensor, "head latent d_out"]

    def __call__(self, x: Float[Tensor, "row pos latent_head wide"]) -> Tensor:
        """Return [row, pos, head, d_out], of one latent for all heads or of one for each."""
        hat = self.norm(x[..., : self.up.shape[1]])
        return torch.einsum("bphl,hlo->bpho", hat.expand(-1, -1, len(self.up), -1), self.up)


@dataclass(frozen=True, kw_only=True)
class LatentAttention(Attention):
    """Multi-head latent attention."""

    q_latent: Latent | None  # None: queries have projections of their own
    k_latent: Latent
    v_latent: Latent
    n_turned: int  # of a query's and key's last dimensions

    @property
    def is_plain(self) -> bool:
        return False

    def n_read_heads(self, read: str) -> int:
        """Return how many different projections a read has: one where heads share a latent."""
        return self.n_heads if read == "q" and self.q_latent is None else 1

    def with_norms(self, function: Callable[[Norm], Norm]) -> "LatentAttention":
        """Return the same with `function` of every norm."""
        other = super().with_norms(function)
        assert isinstance(other, LatentAttention)
        k, v, q = self.k_latent, self.v_latent, self.q_latent
        return replace(
            other,
            k_latent=replace(k, norm=function(k.norm)),
            v_latent=replace(v, norm=function(v.norm)),
            q_latent=q and replace(q, norm=function(q.norm)),
        )

    def entering(
        self,
        q: Float[Tensor, "row pos q_head d_read"],
        k: Float[Tensor, "row pos k_head d_read"],
        v: Float[Tensor, "row pos v_head d_read"],
        context: LayerContext,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values as they enter the scores: [row, head, pos, width]."""
        n_latent, n_plain = self.k_latent.up.shape[1:]
        width = n_plain + self.n_turned
        q = (q[..., :width] if self.q_latent is None else self.q_latent(q)).transpose(1, 2)
        plain, values = self.k_latent(k).transpose(1, 2), self.v_latent(v).transpose(1, 2)
        turned = k[..., n_latent : n_latent + self.n_turned].transpose(1, 2)
        q_turned = q[..., n_plain:]
        if context.rotary is not None:
            q_turned, turned = context.rotary(q_turned), context.rotary(turned)
        turned = turned.expand(-1, self.n_heads, -1, -1)
        return (
            torch.cat((q[..., :n_plain], q_turned), -1),
            torch.cat((plain, turned), -1),
            values,
        )


def latent_attention(
    common: Attention,
    module: nn.Module,
    matrix: Callable[[Any], Matrix],
    where: str,
) -> LatentAttention:
    """Return a DeepSeek module's attention; `common` holds all that is no q, k or v."""
    n_heads, like = common.n_heads, common.w_out
    kv_a, kv_b = matrix(module.kv_a_proj_with_mqa), matrix(module.kv_b_proj)[0]
    n_latent, d_value = len(kv_b), common.d_head
    up = kv_b.view(n_latent, n_heads, -1).transpose(0, 1)
    kv_norm = norm_of(module.kv_a_layernorm, n_latent, like, f"{where}, norm of the latent")
    k_latent = Latent(kv_norm, up[..., :-d_value])
    q_latent, queries = None, _queries(module, matrix)
    n_queries = n_heads
    if module.q_lora_rank is not None:
        q_b, n_queries = matrix(module.q_b_proj)[0], 1
        q_norm = norm_of(module.q_a_layernorm, len(q_b), like, f"{where}, norm of q's latent")
        q_latent = Latent(q_norm, q_b.view(len(q_b), n_heads, -1).transpose(0, 1))
    values = kv_a[0][..., :n_latent], kv_a[1][:n_latent]
    read = reads_of(common.norm, [(queries, n_queries), (kv_a, 1), (values, 1)])
    return LatentAttention(
        **vars(common) | read | {"n_kv_heads": 1},
        q_latent=q_latent,
        k_latent=k_latent,
        v_latent=Latent(kv_norm, up[..., -d_value:]),
        n_turned=kv_a[0].shape[1] - n_latent,
    )


def _queries(module: Any, matrix: Callable[[Any], Matrix]) -> Matrix:
    return matrix(module.q_proj if module.q_lora_rank is None else module.q_a_proj)


def reads_of(norm: Norm, parts: list[tuple[Matrix, int]]) -> dict[str, Any]:
    """Return `reads` and `b` of an attention, from each weight, bias and number of heads.

    All heads are made equally wide; weights that are as wide already are not copied.
    """
    width = max(weight.shape[1] // n for (weight, _), n in parts)
    wide = [(_widened(weight, n, width), _widened(bias, n, width)) for (weight, bias), n in parts]
    biases = [norm.fold_bias(weight, bias) for weight, bias in wide]
    return {"reads": tuple(weight for weight, _ in wide), "b": torch.cat(biases)}


def _widened(x: Float[Tensor, "*d_model out"], n_heads: int, width: int) -> Tensor:
    missing = width - x.shape[-1] // n_heads
    if not missing:
        return x
    return nn.functional.pad(x.unflatten(-1, (n_heads, -1)), (0, missing)).flatten(-2)
