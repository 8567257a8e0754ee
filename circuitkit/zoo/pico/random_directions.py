"""A control for features: random directions that are active just as often.

    f_i     = r_i . (x - mean x), zero where it is not above t_i          r_i random, of norm 1
    y_hat   = f D + b            D and b by least squares

t_i is such that direction i is active on as many tokens as feature i is. So L0 is the same, and so
is every feature's chance to match a frequent category.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class RandomDirections:
    """Random directions, their thresholds, and the reconstruction that fits them best."""

    directions: Float[Tensor, "feature d"]
    mean: Float[Tensor, " d"]
    thresholds: Float[Tensor, " feature"]
    w_dec: Float[Tensor, "feature d"]
    b_dec: Float[Tensor, " d"]

    def encode(self, x: Float[Tensor, "token d"]) -> Float[Tensor, "token feature"]:
        """Return how far tokens lie along each direction, where that is enough."""
        along = (x - self.mean) @ self.directions.T
        return along * (along > self.thresholds)

    def decode(self, f: Float[Tensor, "token feature"]) -> Float[Tensor, "token d"]:
        """Return the reconstruction."""
        return f @ self.w_dec + self.b_dec


def random_like(
    x: Float[Tensor, "token d"], active: Bool[Tensor, "token feature"], *, seed: int
) -> RandomDirections:
    """Return random directions that are active on as many tokens of `x` as features are."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(active.shape[1], x.shape[1], generator=generator).to(x)
    directions = drawn / drawn.norm(dim=1, keepdim=True)
    mean = x.mean(0)
    along = (x - mean) @ directions.T
    descending = along.sort(dim=0, descending=True).values
    n_active = active.sum(0).clamp(max=len(x) - 1)
    thresholds = descending.gather(0, n_active.unsqueeze(0)).squeeze(0).clamp(min=0)
    f = along * (along > thresholds)
    ones = torch.ones(len(x), 1, dtype=x.dtype, device=x.device)
    solved = _least_squares(torch.cat([f, ones], 1), x)
    return RandomDirections(directions, mean, thresholds, solved[:-1], solved[-1])


def _least_squares(
    f: Float[Tensor, "token column"], y: Float[Tensor, "token d"]
) -> Float[Tensor, "column d"]:
    """Return the solution of the normal equations, in double precision with a small ridge."""
    wide = f.double()
    gram = wide.T @ wide
    ridge = 1e-8 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    found: Tensor = torch.linalg.solve(gram + ridge, wide.T @ y.double())
    return found.to(y.dtype)
