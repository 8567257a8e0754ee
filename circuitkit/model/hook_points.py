"""The names of the places where a TransformerBridge can be read or written.

No other file spells a hook name. Shapes are those that a hook sees.
"""

from typing import Any

from torch import Tensor

FINAL_NORM_IN = "ln_final.hook_in"  # [row, pos, d_model]
UNEMBED_IN = "unembed.hook_in"  # [row, pos, d_model]


def resid_pre(layer: int) -> str:
    """Residual stream entering a block: [row, pos, d_model]."""
    return f"blocks.{layer}.hook_in"


def resid_post(layer: int) -> str:
    """Residual stream leaving a block: [row, pos, d_model]."""
    return f"blocks.{layer}.hook_out"


def attn_norm_in(layer: int) -> str:
    """Input of the norm before attention: [row, pos, d_model]."""
    return f"blocks.{layer}.ln1.hook_in"


def mlp_norm_in(layer: int) -> str:
    """Input of the norm before the MLP: [row, pos, d_model]."""
    return f"blocks.{layer}.ln2.hook_in"


def projection(layer: int, read: str) -> str:
    """Output of the q, k or v projection, before any rotation: [row, pos, head, d_head]."""
    return f"blocks.{layer}.attn.{read}.hook_out"


def z(layer: int) -> str:
    """What each head passes to the output projection: [row, pos, head, d_head]."""
    return f"blocks.{layer}.attn.o.hook_in"


def attn_out(layer: int) -> str:
    """What attention adds to the residual stream, bias included: [row, pos, d_model]."""
    return f"blocks.{layer}.attn.hook_out"


def mlp_out(layer: int) -> str:
    """What the MLP adds to the residual stream: [row, pos, d_model]."""
    return f"blocks.{layer}.mlp.hook_out"


def native_norm(norm: Any, x: Tensor) -> Any:
    """Return what the module wrapped by `norm` makes of `x`, with the hooks at both ends."""
    return norm.hook_out(norm.original_component(norm.hook_in(x)))
