"""The matrix that edits change: the output projection of one layer's MLP, written as out = k W + b.

k   its input at a token, the key       [d_mlp]
v   its output at a token, the value    [d_model]
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.changed import weight_name
from circuitkit.model.layers import matrix_of
from circuitkit.prompts.batch import PromptBatch


@dataclass(frozen=True)
class Projection:
    """The output projection of a layer's MLP. `name` is that of its weight in the state dict."""

    layer: int
    name: str
    weight: Float[Tensor, "d_mlp d_model"] = field(repr=False)
    bias: Float[Tensor, " d_model"] = field(repr=False)
    module: nn.Module = field(repr=False)
    is_transposed: bool = False  # the state dict has it as [d_model, d_mlp]

    def values(self, keys: Float[Tensor, "*key d_mlp"]) -> Float[Tensor, "*key d_model"]:
        """Return what it makes of keys, in float64."""
        return keys.double() @ self.weight.double() + self.bias.double()

    def stored(self, weight: Float[Tensor, "d_mlp d_model"]) -> Tensor:
        """Return another weight as the state dict would hold it."""
        own = self.weight
        found = weight.to(dtype=own.dtype, device=own.device)
        return (found.T if self.is_transposed else found).contiguous()


def projection_of(model: SubjectModel, layer: int) -> Projection:
    """Return the output projection of a layer's MLP.

    Raises:
        MethodError: there is no such layer, or its MLP has no one output projection.
        DecompositionError: it is quantised.
    """
    n_layers = len(model.layers)
    if not 0 <= layer < n_layers:
        raise MethodError(
            f"edit of model {model.name!r}: the layer must be from 0 to {n_layers - 1}, got "
            f"{layer}. An edit changes one MLP. Choose such a layer."
        )
    mlp = model.layers[layer].mlp
    if mlp is None or mlp.out_module is None:
        got = "no MLP" if mlp is None else "several experts"
        raise MethodError(
            f"edit of model {model.name!r}: layer {layer} must have an MLP with one output "
            f"projection, got {got}. That matrix is what is edited. Choose another layer or model."
        )
    where = f"model {model.name!r}, output projection of layer {layer}"
    own: Any = getattr(mlp.out_module, "original_component", mlp.out_module)
    weight, bias = matrix_of(own, where)
    name = f"{weight_name(model, own)}.weight"
    return Projection(layer, name, weight, bias, mlp.out_module, not isinstance(own, Conv1D))


def keys_of(
    model: SubjectModel, batch: PromptBatch, layers: tuple[int, ...]
) -> list[Float[Tensor, "row pos d_mlp"]]:
    """Return what the output projections of some layers read, at every position."""
    kept: dict[int, Tensor] = {}

    def keeper(layer: int) -> Callable[[Tensor], None]:
        def keep(neurons: Tensor) -> None:
            kept[layer] = neurons.detach()

        return keep

    with torch.no_grad():
        model.run(batch, {hook_points.neurons(layer): keeper(layer) for layer in layers})
    return [kept[layer] for layer in layers]


@contextmanager
def changed_output(
    projection: Projection, change: Callable[[Tensor, Tensor], Tensor]
) -> Iterator[None]:
    """Let `change` make the projection's output of (input, output) within the block."""

    def call(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        return change(arguments[0], output)

    handle = projection.module.register_forward_hook(call)
    try:
        yield
    finally:
        handle.remove()
