"""An MLP taken apart: what its units write one by one, and what is left of it.

    mlp(x)  =  sum over units u of act_u(x) direction_u  +  error(x)  +  rest(x)

Units are neurons (act: the input of the last projection; direction: a row of it), or features of a
sparse dictionary of what the MLP writes, or of a transcoder, which reads what the MLP reads. The
error is what the dictionary leaves out; neurons leave out nothing. The rest is everything else: the
units that are not named, and biases. So the parts sum to the MLP whatever is named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from circuitkit.circuits.units import NEURON, Units
from circuitkit.errors import DecompositionError
from circuitkit.model.layers import MLP, matrix_of
from circuitkit.model.subject import SubjectModel

MAX_GAP = 1e-3  # of what an MLP writes; wrong formulas miss by orders of magnitude more
COARSE_GAP = 0.05  # in half precision


@runtime_checkable
class FeatureCode(Protocol):
    """What a dictionary must give so that an MLP can be taken apart by it."""

    @property
    def directions(self) -> Float[Tensor, "feature d_model"] | None:
        """What one unit of each feature adds to the reconstruction."""

    def encode(self, x: Float[Tensor, "*place d_in"]) -> Float[Tensor, "*place feature"]:
        """Return the features."""

    def decode(
        self, features: Float[Tensor, "*place feature"], x: Float[Tensor, "*place d_in"]
    ) -> Float[Tensor, "*place d_model"]:
        """Return the reconstruction of what the MLP writes."""


@dataclass(frozen=True)
class Parts:
    """What the units of an MLP are in one run, and what they leave."""

    acts: Float[Tensor, "*place unit"]
    error: Float[Tensor, "*place d_model"] | None
    whole: Float[Tensor, "*place d_model"]  # what the MLP writes

    def map(self, function: Callable[[Tensor], Tensor]) -> "Parts":
        """Return the parts with `function` applied to each tensor."""
        error = None if self.error is None else function(self.error)
        return Parts(function(self.acts), error, function(self.whole))


@dataclass(frozen=True)
class MLPUnits:
    """The units of one MLP. `code` is their dictionary, `reads` what of the MLP it encodes.

    `reads` is "output", "input" (the residual stream that the MLP reads), "normed" (behind the
    norm) or "scaled" (behind the norm, but in front of its weight and bias).
    """

    spec: Units
    directions: Float[Tensor, "unit d_model"]
    code: FeatureCode | None = None
    reads: str = "output"
    neurons: "Neurons | None" = None  # what the units alone are computed from, where that is known

    def parts(self, mlp: MLP, x: Float[Tensor, "*place d_model"]) -> Parts:
        """Return the parts of the MLP, given the residual stream that it reads."""
        if self.code is not None:
            return self.coded(mlp, x, mlp(x))
        seen: list[Tensor] = []
        with mlp.hooked_neurons(seen.append):
            whole = mlp(x)
        return Parts(self.named(seen[0]).reshape(*x.shape[:-1], -1), None, whole)

    def acts(self, mlp: MLP, x: Float[Tensor, "*place d_model"]) -> Float[Tensor, "*place unit"]:
        """Return what the units that are named are, given the residual stream that is read."""
        if self.neurons is not None:
            return self.neurons.acts(mlp.norm(x if mlp.unit == 1 else x * mlp.unit))
        if self.code is None or self.reads == "output":
            return self.parts(mlp, x).acts
        return self.named(self.code.encode(self.read_of(mlp, x, x)))

    def named(self, values: Float[Tensor, "*place all_units"]) -> Float[Tensor, "*place unit"]:
        """Return the values of the units that are named, of those of all."""
        return values[..., list(self.spec.numbers)]

    def coded(
        self,
        mlp: MLP,
        x: Float[Tensor, "*place d_model"],
        whole: Float[Tensor, "*place d_model"],
    ) -> Parts:
        """Return the parts by the dictionary, given what the MLP reads and writes."""
        assert self.code is not None
        read = self.read_of(mlp, x, whole)
        features = self.code.encode(read)
        error = whole - self.code.decode(features, read)
        return Parts(self.named(features), error, whole)

    def read_of(
        self,
        mlp: MLP,
        x: Float[Tensor, "*place d_model"],
        whole: Float[Tensor, "*place d_model"],
    ) -> Float[Tensor, "*place d_model"]:
        """Return what the dictionary encodes, given what the MLP reads and writes."""
        if self.reads == "output":
            return whole
        if self.reads == "input":
            return x
        return mlp.norm(x) if self.reads == "normed" else mlp.norm.x_hat(x)

    def writes(
        self, parts: Parts, out: Float[Tensor, "part *place d_model"] | None = None
    ) -> Float[Tensor, "part *place d_model"]:
        """Return what each part writes: the units, the error where there is one, the rest."""
        written = [self.write_of(parts, part) for part in range(len(self.spec.names))]
        return torch.stack(written) if out is None else torch.stack(written, out=out)

    def write_of(self, parts: Parts, part: int) -> Float[Tensor, "*place d_model"]:
        """Return what one part writes, by its number among the senders that the MLP is."""
        if part < len(self.directions):
            return parts.acts[..., part, None] * self.directions[part]
        if part < len(self.spec.names) - 1:
            assert parts.error is not None
            return parts.error
        rest = parts.whole - parts.acts @ self.directions
        return rest if parts.error is None else rest - parts.error

    def writes_of(
        self, mlp: MLP, x: Float[Tensor, "*place d_model"], which: Sequence[int]
    ) -> Float[Tensor, "part *place d_model"]:
        """Return what some parts write if they read `x`, by their numbers among the senders."""
        if max(which) >= len(self.directions):
            parts = self.parts(mlp, x)
            return torch.stack([self.write_of(parts, part) for part in which])
        units = list(which)
        acts = self.only(units).acts(mlp, x).movedim(-1, 0).unsqueeze(-1)
        shape = (len(units), *(1,) * (x.ndim - 1), x.shape[-1])
        return acts * self.directions[units].view(shape)

    def only(self, units: Sequence[int]) -> "MLPUnits":
        """Return some of the units that are named, by their places among them."""
        numbers = tuple(self.spec.numbers[unit] for unit in units)
        neurons = None if self.neurons is None else self.neurons.only(units)
        spec = replace(self.spec, numbers=numbers)
        return replace(self, spec=spec, directions=self.directions[list(units)], neurons=neurons)

    def reconstruction(
        self, mlp: MLP, x: Float[Tensor, "*place d_model"]
    ) -> Float[Tensor, "*place d_model"]:
        """Return what the dictionary makes of what is read, if it is one that reads alone."""
        assert self.code is not None
        read = self.read_of(mlp, x, x)
        return self.code.decode(self.code.encode(read), read)


@dataclass(frozen=True)
class Neurons:
    """Some neurons of an MLP alone, given what stands behind its norm.

    act(x W_in + b_in)                              plain
    act(x W_gate + b_gate) (x W_in + b_in)          gated
    """

    activation: Callable[[Tensor], Tensor]
    w_in: Float[Tensor, "d_model unit"]
    b_in: Float[Tensor, " unit"]
    w_gate: Float[Tensor, "d_model unit"] | None = None
    b_gate: Float[Tensor, " unit"] | None = None

    def acts(self, x: Float[Tensor, "*place d_model"]) -> Float[Tensor, "*place unit"]:
        """Return what each neuron is."""
        read = x @ self.w_in + self.b_in
        if self.w_gate is None or self.b_gate is None:
            return self.activation(read)
        return self.activation(x @ self.w_gate + self.b_gate) * read

    def only(self, units: Sequence[int]) -> "Neurons":
        """Return some of them, by their places."""
        at = list(units)
        gate = None if self.w_gate is None else self.w_gate[:, at]
        b_gate = None if self.b_gate is None else self.b_gate[at]
        return Neurons(self.activation, self.w_in[:, at], self.b_in[at], gate, b_gate)


ACTIVATIONS = ("act", "act_fn", "activation_fn", "activation", "hidden_act")  # as families call it


def _neurons_alone(mlp: MLP) -> Neurons | None:
    """Return all neurons of an MLP of a known form, None where trying it shows another.

    The form is not read from names: input projections are found by their shapes, and what they
    make up is held against what the last projection is given.
    """
    out = matrix_of(getattr(mlp.out_module, "original_component", mlp.out_module), "out")[0]
    ways = [m for m in mlp.module.modules() if _is_linear(m, (out.shape[1], len(out)))]
    named = (getattr(mlp.module, name, None) for name in ACTIVATIONS)
    activation = next((found for found in named if callable(found)), None)
    if activation is None or len(ways) not in (1, 2):
        return None
    matrices = [matrix_of(module, "in") for module in ways]
    x = torch.randn(8, 1, out.shape[1], generator=torch.Generator().manual_seed(1)).to(out)
    seen: list[Tensor] = []
    with torch.no_grad(), mlp.hooked_neurons(seen.append):
        mlp(x)
        normed = mlp.norm(x if mlp.unit == 1 else x * mlp.unit)
        for order in (matrices, matrices[::-1]):
            found = Neurons(activation, *order[0], *(order[1] if len(order) == 2 else ()))
            gap = (found.acts(normed) - seen[0].reshape(8, 1, -1)).abs().max()
            if float(gap) <= _gap_in(out) * float(seen[0].abs().max()):
                return found
    return None


def _gap_in(like: Tensor) -> float:
    """Return the gap that rounding may make, of the largest value."""
    return MAX_GAP if like.dtype in (torch.float32, torch.float64) else COARSE_GAP


def _is_linear(module: nn.Module, shape: tuple[int, int]) -> bool:
    is_one = isinstance(module, nn.Linear | Conv1D) and module.weight.is_floating_point()
    return is_one and tuple(matrix_of(module, "in")[0].shape) == shape


def neurons_of(mlp: MLP | None, spec: Units, where: str) -> MLPUnits:
    """Return an MLP taken apart into the neurons that `spec` names.

    Raises:
        DecompositionError: it has no neurons, or what it writes is no sum over them.
    """
    mlp, weight = _written_by_neurons(mlp, where)
    if spec.numbers and max(spec.numbers) >= len(weight):
        raise DecompositionError(
            f"{where}: neurons must be from 0 to {len(weight) - 1}, got {max(spec.numbers)}. The "
            "MLP has no more. Check the numbers."
        )
    _require_sum(mlp, weight, where)
    alone = _neurons_alone(mlp)
    neurons = None if alone is None else alone.only(spec.numbers)
    return MLPUnits(spec, weight[list(spec.numbers)], neurons=neurons)


def all_neurons(mlp: MLP | None, layer: int, where: str) -> MLPUnits:
    """Return an MLP taken apart into all its neurons.

    Raises:
        DecompositionError: it has no neurons, or what it writes is no sum over them.
    """
    mlp, weight = _written_by_neurons(mlp, where)
    _require_sum(mlp, weight, where)
    return MLPUnits(Units(layer, NEURON, tuple(range(len(weight)))), weight)


def _written_by_neurons(mlp: MLP | None, where: str) -> tuple[MLP, Float[Tensor, "neuron d_model"]]:
    """Return an MLP, and what one unit of each neuron writes."""
    out = None if mlp is None else mlp.out_module
    if mlp is None or out is None or mlp.post_norm is not None:
        got = "a mixture of experts" if mlp is not None and out is None else "a norm behind it"
        raise DecompositionError(
            f"{where}: an MLP must write the sum of its neurons, got "
            f"{'no MLP' if mlp is None else got}. It does not come apart into neurons. Leave this "
            "layer whole."
        )
    weight = matrix_of(getattr(out, "original_component", out), where)[0]
    return mlp, weight * (mlp.scale / mlp.unit)


def _require_sum(mlp: MLP, weight: Float[Tensor, "neuron d_model"], where: str) -> None:
    """Refuse an MLP whose neurons' writes do not make up what changes in what it writes."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 1, weight.shape[1], generator=generator).to(weight)
    seen: list[Tensor] = []
    with torch.no_grad(), mlp.hooked_neurons(seen.append):
        whole = mlp(x)
    acts = seen[0].reshape(4, -1)
    left = whole[:, 0] - acts @ weight
    if not float((left - left[:1]).abs().max()) <= _gap_in(weight) * float(whole.abs().max()):
        raise DecompositionError(
            f"{where}: an MLP must write a constant and the sum of its neurons, got one that "
            "does not. It does not come apart into neurons. Leave this layer whole."
        )


def features_of(
    mlp: MLP | None, spec: Units, code: FeatureCode, reads: str, where: str
) -> MLPUnits:
    """Return an MLP taken apart into the features that `spec` names of a dictionary.

    Raises:
        DecompositionError: there is no MLP, or no direction belongs to a feature.
    """
    directions = code.directions
    is_scaled = mlp is not None and mlp.unit != 1
    if mlp is None or directions is None or is_scaled:
        got = "no MLP" if mlp is None else "a dictionary whose features write by what was encoded"
        got = "a residual stream that is kept in another unit" if is_scaled else got
        raise DecompositionError(
            f"{where}: features must each write along a direction of their own, got {got}. They "
            "are no senders. Use another dictionary or layer."
        )
    if spec.numbers and max(spec.numbers) >= len(directions):
        raise DecompositionError(
            f"{where}: features must be from 0 to {len(directions) - 1}, got {max(spec.numbers)}. "
            "The dictionary has no more. Check the numbers."
        )
    if spec.read_alone and reads == "output":
        raise DecompositionError(
            f"{where}: features that read alone must be those of a transcoder, got a dictionary "
            "of what the MLP writes. Its features read what the MLP reads, together."
        )
    return MLPUnits(spec, directions[list(spec.numbers)], code, reads)


def taken_apart(model: SubjectModel, units: Mapping[int, MLPUnits]) -> SubjectModel:
    """Return the same model with the MLPs of some layers taken apart.

    Its graph has their units as senders. All else is the model's own.
    """
    layers = tuple(
        replace(layer, units=units.get(index)) for index, layer in enumerate(model.layers)
    )
    found = model.computing_with(layers, model.final_norm)
    specs = sorted((each.spec for each in units.values()), key=lambda spec: spec.layer)
    vars(found)["graph"] = replace(model.graph, units=tuple(specs))
    return found
