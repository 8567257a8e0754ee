"""LayerNorm, split into the part that depends on the input and the part that can be folded away.

    norm(x) W + b  =  x_hat W' + b'
    x_hat = (x - mean x) / s     s = sqrt(mean (x - mean x)^2 + eps)
    W' = w * W, centred over d_model     b' = b + (norm bias) W

A gradient g at the projection's output, pulled back to x, with p = x_hat W':

    (W' g - x_hat * (g . p) / d_model) / s

The mean of x_hat is zero, so centring W' changes no product and centres W' g as it must be.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitkit.errors import DecompositionError


@dataclass(frozen=True)
class Norm:
    """A LayerNorm over the last axis."""

    weight: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    eps: float

    @staticmethod
    def of_module(module: nn.Module, where: str) -> "Norm":
        """Return the norm that a module computes.

        Raises:
            DecompositionError: it is of a kind that is not supported.
        """
        if not isinstance(module, nn.LayerNorm) or module.weight is None:
            raise DecompositionError(
                f"{where}: must be a LayerNorm with weights, got {type(module).__name__}. Edge "
                "scores are pulled back through it. This architecture is not supported yet."
            )
        bias = torch.zeros_like(module.weight) if module.bias is None else module.bias
        return Norm(module.weight.detach(), bias.detach(), module.eps)

    def fold(
        self,
        weight: Float[Tensor, "receiver d_model d_head"],
        bias: Float[Tensor, "receiver d_head"],
    ) -> tuple[Float[Tensor, "receiver d_model d_head"], Float[Tensor, "receiver d_head"]]:
        """Return W' and b': projections of x_hat that equal these projections of the norm."""
        folded = weight * self.weight[:, None]
        folded -= folded.mean(1, keepdim=True)
        return folded, bias + torch.einsum("d,rde->re", self.bias, weight)

    def x_hat(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """Return the normalised input, before the norm's own weight and bias."""
        return nn.functional.layer_norm(x, x.shape[-1:], eps=self.eps)

    def pull_back(
        self,
        x: Float[Tensor, "place d_model"],
        folded: Float[Tensor, "receiver d_model d_head"],
        *,
        grad: Float[Tensor, "receiver place d_head"],
        projected: Float[Tensor, "receiver place d_head"],
        out: Float[Tensor, "receiver place d_model"],
    ) -> None:
        """Write to `out` the gradients at `x`, given those at the folded projections of it.

        `projected` is x_hat W', known from the run. Two passes over the wide `out`, no more.
        """
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        scaled = grad / scale
        torch.bmm(scaled, folded.transpose(1, 2), out=out)
        along = (scaled * projected).sum(-1, keepdim=True) / x.shape[-1]
        out.addcmul_(along, centred / scale, value=-1)
