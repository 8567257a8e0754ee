"""Sending to a device without waiting for it."""

import torch
from torch import Tensor


def sent(x: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, to which the host goes on while it is under way.

    CUDA takes the bytes of ordinary memory before the call returns, so they may change behind it.
    Of other devices this is not known: there it waits.
    """
    return x.to(device, non_blocking=device.type in ("cpu", "cuda"))
