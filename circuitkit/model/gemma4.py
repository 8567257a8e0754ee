"""What is particular to blocks of Gemma 4: a scalar behind the block, and experts beside the MLP.

    resid post  =  l (resid mid + mlp(resid mid))            l: one number for the whole block

The residual stream is kept in the units of what enters block 0: over the product c of the scalars
so far. So it is a sum of writes here too, each of them over c; a norm of c x with eps is one of x
with eps / c^2. (A model whose scalars are one is as it was.)
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitkit.errors import DecompositionError


class MLPAndExperts(nn.Module):
    """The sum of a block's MLP and of its experts, each behind norms of its own."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = (block,)  # not a child: its parameters are the model's

    @property
    def experts(self) -> nn.Module:
        """Those that a router chooses from."""
        found: nn.Module = self.block[0].experts
        return found

    def forward(self, x: Float[Tensor, "row pos d_model"]) -> Float[Tensor, "row pos d_model"]:
        """Return what both write, in front of the last norm."""
        [block] = self.block
        dense = block.mlp(block.pre_feedforward_layernorm(x))
        flat = x.flatten(0, -2)
        _, weights, chosen = block.router(flat)
        sparse = block.experts(block.pre_feedforward_layernorm_2(flat), chosen, weights)
        sparse = block.post_feedforward_layernorm_2(sparse.view(x.shape))
        out: Tensor = block.post_feedforward_layernorm_1(dense) + sparse
        return out


def mlp_and_experts(block: Any) -> MLPAndExperts | None:
    """Return both of a block of the bridge, None where it has no experts beside its MLP."""
    module = block.original_component
    return MLPAndExperts(module) if getattr(module, "enable_moe_block", False) else None


def scalar_behind(block: Any, where: str) -> float:
    """Return the number that a block multiplies the residual stream with.

    Raises:
        DecompositionError: it is not above zero, or the block adds what is no function of the
            residual stream.
    """
    module = block.original_component
    kind = type(module).__name__
    if getattr(module, "hidden_size_per_layer_input", 0):
        raise DecompositionError(
            f"{where} ({kind}): a block must read the residual stream alone, got one that is given "
            "an embedding of the tokens besides, in every layer. What it adds would come from no "
            "component. Use a size of Gemma 4 without embeddings by layer."
        )
    scalar = getattr(module, "layer_scalar", None)
    found = 1.0 if scalar is None else float(torch.as_tensor(scalar).double())
    if found <= 0:
        raise DecompositionError(
            f"{where} ({kind}): the scalar behind a block must be above zero, got {found:g}. "
            "Nothing before it would be left. Get the weights again."
        )
    return found
