"""One sentence for every model that cannot be studied, whatever went wrong inside."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from circuitkit.errors import ActivationError, CircuitkitError, DecompositionError, ModelError

# A lack of memory says nothing of the model, and NaN in a run names its layer already.
OTHER_TROUBLE = (ActivationError, MemoryError, torch.OutOfMemoryError)
AUTO = "auto"


@contextmanager
def refusing(where: str, module: nn.Module, kind: str = "") -> Iterator[None]:
    """Let nothing but one CircuitkitError leave the block.

    Raises:
        ModelError: a weight is NaN, which is why the block failed.
        DecompositionError: something raised an error of another kind; `kind` names the model.
    """
    try:
        yield
    except OTHER_TROUBLE:
        raise
    except Exception as error:  # parts of an unknown architecture fail in many ways
        _require_numbers(module, where)
        if isinstance(error, CircuitkitError):
            raise
        raise DecompositionError(
            f"{where} ({kind or type(module).__name__}): must come apart into heads and MLPs, got "
            f"{type(error).__name__}: {first_line(error)}. Some part of this architecture is not "
            "understood. Use another model; docs/architectures.md lists those that work."
        ) from error


def checked_device(device: str) -> str:
    """Return the name of a device that computes; `auto`: a GPU where there is one, else the CPU.

    Raises:
        ModelError: there is no such device here, or it holds no values (meta).
    """
    if device == AUTO:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        float(torch.zeros(1, device=device))
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise ModelError(
            f"device {device!r}: must be available and hold values, got {first_line(error)}. The "
            "model cannot run there. Use --device cpu."
        ) from error
    return device


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, not over 300 characters."""
    return (str(error).strip() or "no message").splitlines()[0][:300].rstrip(". ")


def _require_numbers(module: nn.Module, where: str) -> None:
    """Refuse weights that are NaN: everything behind them would be, and no part recognised."""
    for name, weight in module.named_parameters():
        n_broken = int(weight.isnan().sum())
        if n_broken == 0:
            continue
        raise ModelError(
            f"{where}: weights must be numbers, got NaN first in {n_broken} of the "
            f"{weight.numel()} values of {name.replace('_original_component.', '')!r}. Every "
            "result would be NaN. Get the weights again; training may have diverged."
        )
