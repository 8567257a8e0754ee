"""A layer that mixes positions without heads: linear attention, as in Qwen3-Next and Qwen3.5.

It is one component `r3`, with one receiver in front of its norm and one sender behind it, as an MLP
that reads other positions too. What is inside is the family's own code. To the engine it is
attention of one head, as wide as the residual stream, whose query is x_hat W' with W' diagonal, and
which has no keys and values: none can be lent, so a run begins with the first position.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitkit.model.attention import Attention, KeysValues, LayerContext, PatternHook
from circuitkit.model.norms import Norm
from circuitkit.model.precision import own_type


@dataclass(frozen=True, kw_only=True)
class Mixer(Attention):
    """A layer's mixing of positions, as one component."""

    module: nn.Module

    @property
    def is_plain(self) -> bool:
        return False

    @property
    def is_opaque(self) -> bool:
        return True

    def n_read_heads(self, read: str) -> int:
        """Return one for what is read, which is called its query; there are no keys and values."""
        return int(read == "q")

    def attend(
        self,
        q: Float[Tensor, "row pos 1 d_model"],
        k: Float[Tensor, "row pos 0 d_model"],
        v: Float[Tensor, "row pos 0 d_model"],
        context: LayerContext,
        *,
        past: KeysValues | None = None,
        on_pattern: PatternHook | None = None,
    ) -> tuple[Float[Tensor, "row pos 1 d_model"], KeysValues]:
        """Return what is written, and no keys and values. Padding is read as zeros."""
        assert past is None or past.keys.shape[2] == 0
        assert context.real is not None
        x = q[:, :, 0] * context.real.unsqueeze(-1).to(q.dtype)
        with own_type(x.dtype):
            out = self.module(hidden_states=x)
        out = out[0] if isinstance(out, tuple) else out
        return out.unsqueeze(2), KeysValues(k.transpose(1, 2), v.transpose(1, 2))


def mixer_of(module: nn.Module, norm: Norm, like: Tensor) -> Mixer:
    """Return the component of a module that maps [row, pos, d_model] to the same shape."""
    d_model = norm.weight.shape[0]
    eye = torch.eye(d_model, dtype=like.dtype, device=like.device)
    nothing = eye.new_zeros(d_model)
    return Mixer(
        norm=norm,
        reads=(eye, eye[:, :0], eye[:, :0]),
        b=norm.fold_bias(eye, nothing),
        w_out=eye.unsqueeze(0),
        b_out=nothing,
        n_kv_heads=0,
        scale=1.0,
        module=module,
    )
