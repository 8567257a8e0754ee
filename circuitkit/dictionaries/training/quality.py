"""How good a dictionary is on prompts that it was not trained on.

    explained variance = 1 - sum |y - y_hat|^2 / sum |y - mean y|^2            over all tokens
    loss recovered     = (loss without - loss with) / (loss without - loss)    of the next token

`loss with` is the model's loss where the reconstruction takes the place of what is written, at the
tokens that the dictionary is for; `without`, where zeros or the mean of y do. Intervals are over
prompts. L0 is how many features are active on a token, on average; a feature is dead that is active
on no token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.dictionaries.training.places import (
    TrainedPlace,
    read_by_mlp,
    trained_positions,
)
from circuitkit.dictionaries.training.prompts import TokenIds, batch_of
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.forward import Hook, Start, run_layers
from circuitkit.model.hook_points import Point
from circuitkit.prompts.batch import PromptBatch
from circuitkit.statistics.bootstrap import Estimate, share_of_whole

ROWS = 32  # prompts that are run at once
Replace = Callable[[Float[Tensor, "token d_in"], Float[Tensor, "token d_out"]], Tensor]


@runtime_checkable
class Coder(Protocol):
    """What reads features off activations, and writes a reconstruction."""

    def encode(self, x: Tensor) -> Tensor:
        """Return the features of activations."""

    def decode(self, f: Tensor) -> Tensor:
        """Return the reconstruction that features make."""


@dataclass(frozen=True)
class Quality:
    """What a dictionary is worth on held-out prompts. Losses are in nats per token.

    No share is recovered (None) of a place without which the model loses nothing.
    """

    explained_variance: Estimate
    l0: float
    dead_share: float
    n_tokens: int
    loss: float
    loss_with: float
    loss_of_zeros: float
    loss_of_mean: float
    recovered_from_zeros: Estimate | None
    recovered_from_mean: Estimate | None


def measure_quality(
    model: SubjectModel,
    place: TrainedPlace,
    coder: Coder,
    prompts: Sequence[TokenIds],
    positions: str = "content",
) -> Quality:
    """Return how good a dictionary is on prompts.

    Raises:
        ActivationError, PromptError: the model cannot run a prompt.
        CriterionError: there are too few prompts for an interval.
    """
    batches = [batch_of(prompts[i : i + ROWS]) for i in range(0, len(prompts), ROWS)]
    swaps = [_Swap(model, place, positions, batch) for batch in batches]
    mean = _mean_written(swaps)
    fits = [swap.fit(coder, mean) for swap in swaps]
    left, whole, active, fired = (torch.cat(part) for part in zip(*fits, strict=True))
    plain, with_it, zeros, of_mean = _losses(swaps, coder, mean)
    n_tokens = sum(int(swap.chosen.sum()) for swap in swaps)
    n_read = sum(int(swap.n_read) for swap in swaps)

    def recovered(without: Tensor) -> Estimate | None:
        if not float((without - plain).sum()) > 0:
            return None
        return share_of_whole((without - with_it).numpy(), (without - plain).numpy())

    return Quality(
        explained_variance=share_of_whole((whole - left).numpy(), whole.numpy()),
        l0=float(active.sum()) / n_tokens,
        dead_share=float((fired.sum(0) == 0).double().mean()),
        n_tokens=n_tokens,
        loss=float(plain.sum()) / n_read,
        loss_with=float(with_it.sum()) / n_read,
        loss_of_zeros=float(zeros.sum()) / n_read,
        loss_of_mean=float(of_mean.sum()) / n_read,
        recovered_from_zeros=recovered(zeros),
        recovered_from_mean=recovered(of_mean),
    )


def _losses(swaps: Sequence["_Swap"], coder: Coder, mean: Tensor) -> list[Tensor]:
    """Return each prompt's loss as it is, with the reconstruction, with zeros and with the mean."""
    ways: tuple[Replace, ...] = (
        lambda x, y: y,
        lambda x, y: coder.decode(coder.encode(x)),
        lambda x, y: torch.zeros_like(y),
        lambda x, y: mean.expand_as(y),
    )
    return [torch.cat([swap.losses(way) for swap in swaps]) for way in ways]


def _mean_written(swaps: Sequence["_Swap"]) -> Float[Tensor, " d_out"]:
    written = torch.cat([swap.y for swap in swaps])
    return written.mean(0)


class _Swap:
    """Runs of a batch of prompts in which something else takes the place of what is written."""

    def __init__(
        self, model: SubjectModel, place: TrainedPlace, positions: str, batch: PromptBatch
    ) -> None:
        self.model, self.place = model, place
        with torch.no_grad():
            self.entering, self.context = model.prepare(batch)
        self.tokens = batch.tokens.to(model.device)
        self.mask = batch.mask.to(model.device)
        self.chosen: Bool[Tensor, "row pos"] = trained_positions(batch, positions).to(model.device)
        self.n_read = (self.mask[:, :-1] & self.mask[:, 1:]).sum()
        self.x = self.y = torch.empty(0)
        self.losses(self._look)

    def _look(self, x: Tensor, y: Tensor) -> Tensor:
        self.x, self.y = x, y
        return y

    def fit(self, coder: Coder, mean: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return sums over each prompt: of what is left over, of all there is, of features."""
        with torch.no_grad():
            features = coder.encode(self.x)
            left = (self.y - coder.decode(features)).double().pow(2).sum(1)
        whole = (self.y - mean).double().pow(2).sum(1)
        rows = self.chosen.nonzero()[:, 0]

        def by_prompt(values: Tensor) -> Tensor:
            found = torch.zeros(len(self.chosen), dtype=torch.float64, device=values.device)
            return found.index_add(0, rows, values.double()).cpu()

        active = (features > 0).sum(1)
        fired = (features > 0).any(0, keepdim=True).long().cpu()
        return by_prompt(left), by_prompt(whole), by_prompt(active), fired

    def losses(self, way: Replace) -> Float[Tensor, " row"]:
        """Return the summed loss of each prompt with another thing written."""
        read: list[Tensor] = []

        def see(x: Tensor) -> None:
            read.append(read_by_mlp(self.model, self.place.layer, x)[self.chosen])

        def swap(y: Tensor) -> Tensor:
            own = y[self.chosen].float()
            other = y.clone()
            other[self.chosen] = way(read[0] if read else own, own).to(y.dtype)
            return other

        hooks: dict[Point, Hook] = {self.place.point: swap}
        if self.place.reads_mlp_input:
            hooks[hook_points.mlp_in(self.place.layer)] = see
        with torch.no_grad():
            stream = run_layers(
                self.model.layers, self.context.layers, self.entering, Start(), hooks=hooks
            )
            chances = self.model.unembed(stream)[:, :-1].float().log_softmax(-1)
        told = chances.gather(-1, self.tokens[:, 1:].unsqueeze(-1)).squeeze(-1).double()
        is_read = self.mask[:, :-1] & self.mask[:, 1:]
        return (-told * is_read).sum(1).cpu()
