"""Quantised weights, made dense layer by layer once the model's own kernels have been asked.

The values that a quantised weight stands for are what is taken apart: W of bitsandbytes, torchao,
GPTQ, AWQ or FP8 as numbers of the type that the model computes in. A tensor that can say them is
asked; else a module is given the identity, row by row, and what it answers is W. (Packages move
4-bit weights about when they first run, and then say other values than they compute with.) What
the kernels compute beside, as with rounded activations, is no part of it: the check measures it.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from circuitkit.errors import DecompositionError
from circuitkit.model.refusals import first_line

ROWS = 512  # of the identity at a time
DENSE = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def is_quantised(hf_model: PreTrainedModel) -> bool:
    """Whether some weight is not the numbers that it stands for."""
    return getattr(hf_model, "hf_quantizer", None) is not None or bool(_quantised(hf_model))


def make_dense(hf_model: PreTrainedModel, dtype: torch.dtype, where: str) -> None:
    """Replace every quantised projection by one of plain numbers.

    Raises:
        DecompositionError: some weight cannot be had as numbers here.
    """
    try:
        for name in _quantised(hf_model):
            owner, _, last = name.rpartition(".")
            module = hf_model.get_submodule(name)
            setattr(hf_model.get_submodule(owner), last, _dense(module, dtype))
    except Exception as error:  # packages and kernels raise many kinds
        raise DecompositionError(
            f"{where}: its quantised weights must be had as numbers, got {type(error).__name__}: "
            f"{first_line(error)}. Heads are read off them. Try --device cuda, where their kernels "
            "run, or use weights in bfloat16."
        ) from error
    left = [n for n, p in hf_model.named_parameters() if not is_plain(p)]
    if left:
        raise DecompositionError(
            f"{where}: every quantised weight must be of a projection, got {left[0]!r} of another "
            "kind. It cannot be taken apart. Use weights in bfloat16."
        )


def _quantised(hf_model: nn.Module) -> list[str]:
    """Return the names of the projections whose weight is not plain numbers."""
    found = []
    for name, module in hf_model.named_modules():
        is_linear = hasattr(module, "in_features") and hasattr(module, "out_features")
        weight = getattr(module, "weight", None)
        if is_linear and not (isinstance(weight, Tensor) and is_plain(weight)):
            found.append(name)
    return found


def _numbers_of(tensor: Tensor) -> Tensor:
    """Return a tensor as numbers, if it can say them."""
    said = getattr(tensor, "dequantize", None)
    values: Tensor = tensor if type(tensor.data) is Tensor or said is None else said()
    return values


def is_plain(weight: Tensor) -> bool:
    """Whether a weight is the numbers that it stands for."""
    return type(weight.data) is Tensor and weight.dtype in DENSE


def _dense(module: Any, dtype: torch.dtype) -> nn.Linear:
    bias = getattr(module, "bias", None)
    with torch.no_grad():
        values = _numbers_of(getattr(module, "weight", torch.empty(0)))
        if not is_plain(values) or values.numel() == 0:
            values = _answered(module, dtype)
    new = nn.Linear(
        module.in_features, module.out_features, bias is not None, device="meta", dtype=dtype
    )
    new.weight = nn.Parameter(values.to(dtype), requires_grad=False)
    if bias is not None:
        new.bias = nn.Parameter(bias.detach().to(dtype), requires_grad=False)
    return new.eval()


def _answered(module: Any, dtype: torch.dtype) -> Float[Tensor, "out in_"]:
    """Return what a module makes of the identity, less its bias."""
    held = [*module.parameters(), *module.buffers()]
    device = held[0].device if held else torch.device("cpu")
    columns = []
    for first in range(0, module.in_features, ROWS):
        n_rows = min(ROWS, module.in_features - first)
        rows = torch.zeros(n_rows, module.in_features, dtype=dtype, device=device)
        rows[torch.arange(n_rows), first + torch.arange(n_rows)] = 1
        columns.append(module(rows) - (0 if module.bias is None else module.bias))
    return torch.cat(columns).T.contiguous()
