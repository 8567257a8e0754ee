"""Distributed alignment search (DAS): the subspace of a place in which a variable is.

    x_base  <-  x_base + (x_source - x_base) R R^T      R = qr(A), d x k, orthonormal columns
    A minimises the mean cross-entropy of the expected answers over discovery interchanges

Adam on A from a random start; R is judged on interchanges of other prompts. Geiger et al. 2023,
arXiv:2303.02536. A subspace of k dimensions that was trained is always better than a random one on
what trained it, so it stands beside a random one of the same size, and one that the same training
finds in random weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.abstraction.alignment import Alignment
from circuitkit.abstraction.exchange import Exchanger, width_of
from circuitkit.abstraction.interchanges import Interchange, Interchanges
from circuitkit.errors import HypothesisError
from circuitkit.work.devices import sent


@dataclass(frozen=True)
class Training:
    """How a rotation is trained."""

    k: int
    steps: int = 100
    batch: int = 32
    learning_rate: float = 0.02
    seed: int = 0


def require_subspace(exchanger: Exchanger, alignment: Alignment, k: int) -> int:
    """Return how many dimensions the place has that a subspace of `k` is looked for in.

    Raises:
        HypothesisError: it is several places, or `k` is not below its width.
    """
    places = [place for spot in alignment.spots for place in spot.places]
    if len(places) != 1:
        raise HypothesisError(
            f"subspace: a variable must be at one place, got {len(places)}: {alignment}. A "
            "rotation turns the dimensions of one. Give one with --align, or leave --subspace out."
        )
    width = width_of(exchanger, places[0])
    if not 1 <= k < width:
        raise HypothesisError(
            f"subspace: its size must be from 1 to {width - 1} at {alignment}, got {k}. The whole "
            "place has no subspace to find. Choose a smaller one."
        )
    return width


def random_subspace(d: int, k: int, seed: int) -> Float[Tensor, "d k"]:
    """Return `k` random orthonormal directions."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(d, k, generator=generator, dtype=torch.float64)
    found: Tensor = torch.linalg.qr(drawn)[0]
    return found


def train_subspace(
    exchanger: Exchanger, interchanges: Interchanges, alignment: Alignment, training: Training
) -> Float[Tensor, "d k"]:
    """Return the subspace of a place whose exchange gives the expected answers most often.

    Raises:
        HypothesisError: the variable is at several places, or the subspace is too large.
    """
    width = require_subspace(exchanger, alignment, training.k)
    weights = random_subspace(width, training.k, training.seed).requires_grad_(True)
    optimizer = torch.optim.Adam([weights], lr=training.learning_rate)
    generator = torch.Generator().manual_seed(training.seed)
    items = interchanges.items
    with exchanger.model.frozen():
        for _ in range(training.steps):
            chosen = torch.randperm(len(items), generator=generator)[: training.batch]
            batch = [items[i] for i in chosen.tolist()]
            rotation = torch.linalg.qr(weights)[0]
            logits = exchanger.logits_of(batch, interchanges.readings, alignment, rotation)
            loss = _loss(logits, batch, interchanges.candidates)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found: Tensor = torch.linalg.qr(weights.detach())[0]
    return found


def _loss(
    logits: Float[Tensor, "row vocab"],
    items: Sequence[Interchange],
    candidates: Int[Tensor, " token"],
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the expected answers among all that could be given."""
    expected = torch.tensor([item.expected for item in items])
    targets = sent(torch.searchsorted(candidates, expected), logits.device)  # they are sorted
    among = logits[:, sent(candidates, logits.device)]
    return torch.nn.functional.cross_entropy(among, targets)
