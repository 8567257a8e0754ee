"""Transcoders of every MLP of a model: what a feature reads, when it is active, what it writes.

    pre-activation  =  W_enc x + b_enc            x: what the MLP reads (`reads`)
    value           =  pre-activation where active, else 0
    MLP output      ~  sum of values * W_dec + b_dec + W_skip x

Per-layer transcoders write to the output of their own MLP, cross-layer ones to those of all later
MLPs as well. Activity is as the files' own tool has it: circuit-tracer's jump ReLU and top-k keep
raw values, negative ones too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.errors import ModelError
from circuitkit.model.subject import SubjectModel

READS = ("resid mid", "normalised", "mlp")


@dataclass(frozen=True)
class Transcoder:
    """The features of one MLP. `decoder[i, j]` is what feature i writes to the MLP j layers on."""

    encoder: Float[Tensor, "feature d_model"]
    encoder_bias: Float[Tensor, " feature"]
    decoder: Float[Tensor, "feature written d_model"]
    decoder_bias: Float[Tensor, " d_model"]
    skip: Float[Tensor, "d_model d_model"] | None = None  # out, in
    threshold: Float[Tensor, " feature"] | None = None  # of a jump ReLU
    k: int | None = None  # of a top-k
    is_rectified: bool = False  # a top-k of which negative values become zero

    @property
    def n_features(self) -> int:
        """How many features it has."""
        return self.encoder.shape[0]

    def pre_activations(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any feature"]:
        """Return W_enc x + b_enc."""
        return x @ self.encoder.T + self.encoder_bias

    def activate(self, pre: Float[Tensor, "*any feature"]) -> Float[Tensor, "*any feature"]:
        """Return the value of each feature, zero where it is not active."""
        if self.k is not None:
            pre = pre.relu() if self.is_rectified else pre
            values, chosen = pre.topk(min(self.k, pre.shape[-1]), dim=-1)
            return torch.zeros_like(pre).scatter(-1, chosen, values)
        if self.threshold is not None:
            return pre * (pre > self.threshold)
        return pre.relu()

    def map(self, function: Callable[[Tensor], Tensor]) -> "Transcoder":
        """Return it with `function` applied to each tensor."""
        tensors = vars(self).items()
        found: dict[str, Any] = {n: function(x) for n, x in tensors if isinstance(x, Tensor)}
        return replace(self, **found)


@dataclass(frozen=True)
class Transcoders:
    """Those of all MLPs of a model, and where they read: `READS`, with the norm or without."""

    layers: tuple[Transcoder, ...]
    reads: str
    name: str = ""
    model_name: str = ""

    def __repr__(self) -> str:
        return f"Transcoders({self.name!r}, {self.n_layers} layers of {self.layers[0].n_features})"

    @property
    def n_layers(self) -> int:
        """How many MLPs they stand for."""
        return len(self.layers)

    @property
    def is_cross_layer(self) -> bool:
        """Whether a feature writes to later MLPs than its own."""
        return any(each.decoder.shape[1] > 1 for each in self.layers)

    def to(self, like: Tensor) -> "Transcoders":
        """Return them in the type, and on the device, of a tensor."""
        return replace(self, layers=tuple(each.map(lambda x: x.to(like)) for each in self.layers))

    def folded_encoder(
        self, model: SubjectModel, layer: int, features: Int[Tensor, " some"]
    ) -> Float[Tensor, "some d_model"]:
        """Return rows of W_enc as they read the residual stream over the norm's scale."""
        return self._folded(model, layer, self.layers[layer].encoder[features])

    def folded_skip(self, model: SubjectModel, layer: int) -> Float[Tensor, "out in"] | None:
        """Return W_skip as it reads the residual stream over the norm's scale."""
        skip = self.layers[layer].skip
        return None if skip is None else self._folded(model, layer, skip)

    def read(
        self, model: SubjectModel, layer: int, x: Float[Tensor, "row pos d_model"]
    ) -> Float[Tensor, "row pos d_model"]:
        """Return what the features read, given the residual stream in front of the MLP's norm."""
        mlp = model.layers[layer].mlp
        assert mlp is not None
        if self.reads == "resid mid":
            return x
        return mlp.norm.x_hat(x) if self.reads == "normalised" else mlp.norm(x)

    def inverse_scale(
        self, model: SubjectModel, layer: int, x: Float[Tensor, "*place d_model"]
    ) -> Float[Tensor, "*place 1"]:
        """Return 1 / s of the norm that they read through, ones where there is none."""
        mlp = model.layers[layer].mlp
        assert mlp is not None
        if self.reads == "resid mid":
            return x.new_ones(*x.shape[:-1], 1)
        return mlp.norm.inverse_scale(x)

    def _folded(self, model: SubjectModel, layer: int, rows: Tensor) -> Tensor:
        mlp = model.layers[layer].mlp
        assert mlp is not None
        norm = mlp.norm
        if self.reads == "resid mid" or norm.is_identity:
            return rows
        rows = rows * norm.weight if self.reads == "mlp" else rows
        return rows - rows.mean(-1, keepdim=True) if norm.is_centred else rows


def require_fit(transcoders: Transcoders, model: SubjectModel) -> None:
    """Refuse transcoders of another model.

    Raises:
        ModelError: naming the layer and the width that differs.
    """
    where, layers = f"transcoders {transcoders.name!r}", model.layers
    if transcoders.n_layers != len(layers):
        raise ModelError(
            f"{where}: must have one for each of the {len(layers)} layers of model "
            f"{model.name!r}, got {transcoders.n_layers}. MLPs without one would have no nodes. "
            "Use those of this model."
        )
    width = model.layers[0].attention.w_out.shape[-1]
    for index, each in enumerate(transcoders.layers):
        widths = {each.encoder.shape[1], each.decoder.shape[2], each.decoder_bias.shape[0]}
        if widths != {width}:
            raise ModelError(
                f"{where}, layer {index}: must read and write {width} dimensions, as model "
                f"{model.name!r} has, got {sorted(widths)}. They are of another model. Use those "
                "of this one."
            )
        numbers = [x for x in vars(each).values() if isinstance(x, Tensor)]
        if not all(bool(x.isfinite().all()) for x in numbers):
            raise ModelError(
                f"{where}, layer {index}: weights must be finite, got NaN or infinity. Every edge "
                "would be NaN. Download the file again."
            )
