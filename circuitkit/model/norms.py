"""LayerNorm and RMSNorm, split into the part that depends on the input and the rest.

    norm(x)  =  x_hat w + b                      (w, b: the norm's own weight and bias)
    x_hat    =  (x - mean x) / s                 s = sqrt(mean (x - mean x)^2 + eps)     LayerNorm
    x_hat    =  x / s                            s = sqrt(mean x^2 + eps)                RMSNorm

A projection W, c of the norm is folded into one of x_hat:  x_hat W' + c', with W' = w * W (centred
over d_model for LayerNorm) and c' = c + b W. A gradient g at the projection's output goes back as

    (W' g - x_hat (g . p) / d_model) / s         p = x_hat W'

For LayerNorm the mean of x_hat is zero, so centring W' changes no product and centres W' g as it
must be. A model without norms has x_hat = x, and only W' g remains.

Everything is computed in the model's own type, where Hugging Face computes RMSNorm in float32
even for a float64 model; half precision is normalised in float32, as there.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitkit.errors import DecompositionError

EPS_NAMES = ("eps", "variance_epsilon", "epsilon")
USUAL_EPS = (1e-5, 1e-6, 1e-8, 1e-12, 0.0)  # of norms that do not state theirs
SMALL = 3e-3
HALF = (torch.float16, torch.bfloat16)
PROBE_GAP = 1e-5  # of norms computed in float32; half precision is coarser
COARSE_PROBE_GAP = 2e-2


@dataclass(frozen=True)
class Norm:
    """A norm over the last axis. `is_centred`: LayerNorm; else RMSNorm, or none at all."""

    weight: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    eps: float
    is_centred: bool
    is_identity: bool = False

    @property
    def has_live_scale(self) -> bool:
        """Whether gradients see that the scale depends on the input."""
        return not self.is_identity

    def x_hat(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """Return the normalised input, before the norm's own weight and bias."""
        if self.is_identity:
            return x
        wide = x.float() if x.dtype in HALF else x
        normalise = nn.functional.layer_norm if self.is_centred else nn.functional.rms_norm
        return normalise(wide, x.shape[-1:], eps=self.eps).to(x.dtype)

    def inverse_scale(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any 1"]:
        """Return 1 / s, and ones where there is no norm."""
        if self.is_identity:
            return x.new_ones(*x.shape[:-1], 1)
        wide = x.float() if x.dtype in HALF else x
        if self.is_centred:
            wide = wide - wide.mean(-1, keepdim=True)
        return (wide.pow(2).mean(-1, keepdim=True) + self.eps).rsqrt().to(x.dtype)

    def __call__(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """Return the whole norm of `x`."""
        if self.is_identity:
            return x
        wide = x.float() if x.dtype in HALF else x
        if self.is_centred:
            weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
            out = nn.functional.layer_norm(wide, x.shape[-1:], weight, bias, self.eps)
        else:
            weight = self.weight.to(wide.dtype)
            out = nn.functional.rms_norm(wide, x.shape[-1:], weight, self.eps) + self.bias
        return out.to(x.dtype)

    def fold(
        self, weight: Float[Tensor, "d_model out"], bias: Float[Tensor, " out"]
    ) -> tuple[Float[Tensor, "d_model out"], Float[Tensor, " out"]]:
        """Return W' and c': a projection of x_hat that equals this projection of the norm."""
        return self.fold_weight(weight), self.fold_bias(weight, bias)

    def fold_weight(self, weight: Float[Tensor, "d_model out"]) -> Float[Tensor, "d_model out"]:
        """Return W' alone."""
        if self.is_identity:
            return weight
        folded = weight * self.weight[:, None]
        if self.is_centred:
            folded -= folded.mean(0, keepdim=True)
        return folded

    def fold_bias(
        self, weight: Float[Tensor, "d_model out"], bias: Float[Tensor, " out"]
    ) -> Float[Tensor, " out"]:
        """Return c' alone."""
        return bias if self.is_identity else bias + self.bias @ weight

    def weighted(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """Return x_hat w: times W it is x_hat W', and no W' need be made."""
        return x if self.is_identity else self.x_hat(x) * self.weight


def identity(d_model: int, like: Tensor) -> Norm:
    """Return the norm of a model that has none there."""
    return Norm(like.new_ones(d_model), like.new_zeros(d_model), 0.0, False, True)


def norm_of(module: Any, width: int, like: Tensor, where: str) -> Norm:
    """Return the norm that a module computes, found by trying it on one input.

    Families store an RMSNorm's weight as w or as w - 1, and some norms have none; what the module
    does decides. `module` None stands for no norm.

    Raises:
        DecompositionError: it is neither LayerNorm nor RMSNorm.
    """
    if module is None or isinstance(module, nn.Identity):
        return identity(width, like)
    probes = _probes(width, like)
    with torch.no_grad():
        try:
            expected = [module(x) for x in probes]
        except (RuntimeError, TypeError, ValueError):
            expected = []
    gap = COARSE_PROBE_GAP if like.dtype in HALF else PROBE_GAP
    for norm in _candidates(module, width, like) if expected else []:
        pairs = zip(probes, expected, strict=True)
        if all(torch.allclose(norm(x), y, rtol=gap, atol=gap) for x, y in pairs):
            return norm
    raise DecompositionError(
        f"{where}: must be a LayerNorm or an RMSNorm, got {type(module).__name__} that is neither. "
        "Edge scores are pulled back through it in closed form. This architecture is not supported."
    )


def _probes(width: int, like: Tensor) -> list[Tensor]:
    """Return two inputs: one of ordinary size, one so small that eps matters."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(width, generator=generator, dtype=torch.float64) + 0.5
    return [x.to(like), (x * SMALL).to(like)]


def _candidates(module: Any, width: int, like: Tensor) -> list[Norm]:
    stated = [float(getattr(module, name)) for name in EPS_NAMES if hasattr(module, name)]
    found = getattr(module, "weight", None)
    weights = [like.new_ones(width)]
    if found is not None and found.numel() != width:
        return []
    if found is not None:
        weight = found.detach().to(like.dtype).reshape(-1)
        weights = [weight, 1 + weight]
    given = getattr(module, "bias", None)
    bias = like.new_zeros(width) if given is None else given.detach()
    return [
        Norm(weight, bias, eps, is_centred)
        for is_centred in (True, False)
        for weight in weights
        for eps in stated or USUAL_EPS
    ]
