"""One dictionary while it is trained: its weights, Adam's moments, and when features last fired.

A step:

1. the loss of a batch, and its gradient
2. what of the decoder's gradient is parallel to each row is removed, as it would only change norms
3. Adam (Kingma and Ba 2015), betas 0.9 and 0.999
4. each row of the decoder is divided by its norm
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.dictionaries.training.loss import loss_of
from circuitkit.dictionaries.training.plan import Plan
from circuitkit.dictionaries.training.weights import Weights, first_weights

BETAS = (0.9, 0.999)
EPS = 1e-8
MOMENTS = ("first", "second")


@dataclass
class Learner:
    """A dictionary that is trained, made by `begin` or read by `from_tensors`.

    `idle` counts the tokens since each feature was last active.
    """

    plan: Plan
    weights: Weights
    moments: dict[str, dict[str, Tensor]]
    idle: Tensor
    step: int = 0

    @classmethod
    def begin(
        cls, plan: Plan, x: Float[Tensor, "token d_in"], y: Float[Tensor, "token d_out"]
    ) -> "Learner":
        """Return one before its first step, fitted to a first batch."""
        weights = first_weights(plan, x, y)
        zeros = {name: torch.zeros_like(value) for name, value in weights.trained().items()}
        moments = {which: {k: v.clone() for k, v in zeros.items()} for which in MOMENTS}
        idle = torch.zeros(plan.n_features, dtype=torch.int64, device=x.device)
        return cls(plan, weights, moments, idle)

    def learn(self, x: Float[Tensor, "token d_in"], y: Float[Tensor, "token d_out"]) -> float:
        """Take one step on a batch. Return the share of |y|^2 that was left over before it."""
        u, v = x / self.weights.scale_in, y / self.weights.scale_out
        given = {k: w.detach().requires_grad_() for k, w in self.weights.trained().items()}
        with torch.enable_grad():
            loss = loss_of(self.weights.with_trained(given), self.plan, u, v, self.dead)
            slopes = torch.autograd.grad(loss.total, list(given.values()))
        gradients = dict(zip(given, slopes, strict=True))
        gradients["w_dec"] = without_parallel(gradients["w_dec"], self.weights.w_dec)
        changed = {k: self._moved(k, w.detach(), gradients[k]) for k, w in given.items()}
        changed["w_dec"] = changed["w_dec"] / changed["w_dec"].norm(dim=1, keepdim=True)
        self.weights = self.weights.with_trained(changed)
        self.idle = torch.where(loss.active.any(0), 0, self.idle + len(x))
        self.step += 1
        return loss.left_over

    @property
    def dead(self) -> Tensor:
        """Which features were not active for so long that they count as dead."""
        return self.idle >= self.plan.dead_after

    def _moved(self, name: str, weight: Tensor, gradient: Tensor) -> Tensor:
        """Return a weight after Adam's step, and keep its moments."""
        first, second = (self.moments[which] for which in MOMENTS)
        first[name] = BETAS[0] * first[name] + (1 - BETAS[0]) * gradient
        second[name] = BETAS[1] * second[name] + (1 - BETAS[1]) * gradient.pow(2)
        mean = first[name] / (1 - BETAS[0] ** (self.step + 1))
        spread = second[name] / (1 - BETAS[1] ** (self.step + 1))
        return weight - self.plan.learning_rate_at(self.step) * mean / (spread.sqrt() + EPS)

    def tensors(self) -> dict[str, Tensor]:
        """Return all that the next step depends on, beside the plan."""
        found = {f"weights.{name}": value for name, value in self.weights.trained().items()}
        for which, values in self.moments.items():
            found |= {f"{which}.{name}": value for name, value in values.items()}
        scales = [self.weights.scale_in, self.weights.scale_out]
        found["scales"] = torch.tensor(scales, dtype=torch.float64)
        return found | {"idle": self.idle, "step": torch.tensor(self.step)}

    @classmethod
    def from_tensors(cls, plan: Plan, tensors: dict[str, Tensor]) -> "Learner":
        """Return one as it was when `tensors` were taken of it."""

        def under(start: str) -> dict[str, Tensor]:
            parts = ((name.partition("."), value) for name, value in tensors.items())
            return {name: value for (first, _, name), value in parts if first == start}

        values = under("weights")
        threshold = values.pop("threshold", None)
        scale_in, scale_out = tensors["scales"].tolist()
        weights = Weights(
            **values,
            log_threshold=threshold,
            scale_in=scale_in,
            scale_out=scale_out,
            subtracts_b_dec=not plan.reads_mlp_input,
        )
        moments = {which: under(which) for which in MOMENTS}
        return cls(plan, weights, moments, tensors["idle"], int(tensors["step"]))


def without_parallel(
    gradient: Float[Tensor, "feature d_out"], rows: Float[Tensor, "feature d_out"]
) -> Float[Tensor, "feature d_out"]:
    """Return the gradient of rows of norm 1 without what would change their norms."""
    return gradient - (gradient * rows).sum(1, keepdim=True) * rows
