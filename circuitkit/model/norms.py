"""LayerNorm and its vector-Jacobian product, in closed form.

y = w * x_hat + b,   x_hat = (x - mean x) / s,   s = sqrt(mean (x - mean x)^2 + eps)
pulled back: (u - mean u - x_hat * mean(u * x_hat)) / s   with u = w * gradient at y
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitkit.errors import DecompositionError


@dataclass(frozen=True)
class Norm:
    """A LayerNorm: [..., d_model] to the same shape."""

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

    def __call__(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        return nn.functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)

    def pull_back(
        self,
        x: Float[Tensor, "place d_model"],
        weight: Float[Tensor, "receiver d_model d_head"],
        grad: Float[Tensor, "receiver place d_head"],
    ) -> Float[Tensor, "receiver place d_model"]:
        """Return the gradients at `x`, given those at the outputs of `weight` applied to the norm.

        The norm's own weight and the centring are folded into `weight`, and the scale into
        `grad`, both narrow: only one pass over the wide result remains after the product.
        """
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        x_hat = centred / scale
        folded = weight * self.weight[:, None]
        folded -= folded.mean(1, keepdim=True)
        u = torch.bmm(grad / scale, folded.transpose(1, 2))
        along = torch.einsum("rpd,pd->rp", u, x_hat).unsqueeze(-1) / x.shape[-1]
        return u.addcmul_(along, x_hat, value=-1)
