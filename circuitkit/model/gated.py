"""Attention whose heads are gated where they write (Qwen3-Next, Qwen3.5).

    write  =  (pattern v) sigmoid(g) W_O          [q, g]: both read by the query's projection

The gate is read at the destination, as the query is, through the same projection: `a3.h0<q>` is
what head 0's query and gate read. Keys and values are given the width of both; what is left over is
zero.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.model.attention import Attention, KeysValues, LayerContext, PatternHook


@dataclass(frozen=True, kw_only=True)
class GatedAttention(Attention):
    """Attention with a gate for every entry of what a head writes."""

    holds_gate: bool = False  # gates are constants to gradients

    @property
    def is_plain(self) -> bool:
        return False

    def gate_of(
        self, q: Float[Tensor, "row pos head d_read"]
    ) -> Float[Tensor, "row pos head d_head"]:
        """Return what the sum over sources is multiplied with, by destination."""
        return torch.sigmoid(q[..., self.d_head :])

    def attend(
        self,
        q: Float[Tensor, "row pos head d_read"],
        k: Float[Tensor, "row pos k_head d_read"],
        v: Float[Tensor, "row pos v_head d_read"],
        context: LayerContext,
        *,
        past: KeysValues | None = None,
        on_pattern: PatternHook | None = None,
    ) -> tuple[Float[Tensor, "row pos head d_head"], KeysValues]:
        """Return gated z, and the keys and values of these positions for later ones."""
        n, gate = self.d_head, self.gate_of(q)
        q, k, v = q[..., :n], k[..., :n], v[..., :n]
        z, fresh = super().attend(q, k, v, context, past=past, on_pattern=on_pattern)
        return z * (gate.detach() if self.holds_gate else gate), fresh
