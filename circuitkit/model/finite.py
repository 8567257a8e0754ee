"""Whether activations are finite: read back from a device once, however many they are."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.errors import ActivationError


class Finite:
    """Tensors that must be finite, kept until somebody reads them all at once."""

    def __init__(self) -> None:
        self.named: list[tuple[str, Tensor]] = []
        self.sums: list[Tensor] = []

    def add(self, where: str, tensor: Float[Tensor, "row ..."]) -> None:
        """Take a tensor to be looked at later."""
        self.named.append((where, tensor))
        self.sums.append(tensor.sum())

    def flags(self) -> Bool[Tensor, " tensor"]:
        """Return which sums are finite, where the tensors are. A finite sum proves finite terms."""
        return torch.isfinite(torch.stack(self.sums))

    def require(self, flags: Bool[Tensor, " tensor"]) -> None:
        """Refuse tensors with NaN or infinity, given the flags on the host; forget all others.

        Raises:
            ActivationError: there is one, naming the first and its first row.
        """
        named, self.named, self.sums = self.named, [], []
        if bool(flags.all()):
            return
        for where, tensor in named:
            require_finite_tensor(tensor, where)


def require_finite_tensor(tensor: Float[Tensor, "row ..."], where: str) -> None:
    """Refuse a tensor with NaN or infinity, naming the first row.

    Raises:
        ActivationError: there is one.
    """
    # a finite sum proves finite terms, and reads the tensor only once
    if bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all()):
        return
    row = int((~torch.isfinite(tensor)).flatten(1).any(1).nonzero()[0])
    raise ActivationError(where, row)
