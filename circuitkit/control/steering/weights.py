"""Directions in the weights: taken out of all that writes, or added to a bias.

    Orthogonalised   W <- W (1 - u u^T), b <- b (1 - u u^T)    for every matrix W and bias b that
                     writes to the residual stream: token and positional embeddings, the output
                     projection of attention and of the MLP
    AddedEverywhere  b <- b + dose d                           for the bias in front of the place

The first equals ablation at every write, exactly: a projection is linear and so are these parts. It
does not where something stands between the last matrix and the residual stream:

    a norm behind attention or MLP (Gemma 2, OLMo 2), a norm behind the embedding (BLOOM): it is not
    linear, so the direction comes back. Refused by name.
    experts, or a block without heads: no single matrix writes. Refused by name.
    tied embeddings: the unembedding is the same matrix, but reads. It is untied, and stays.
    parts that are not known here: found by comparing both on random tokens, and refused.

Arditi et al. 2024 (arXiv:2406.11717, appendix E) leave the positional embeddings and biases out of
the formula; without them the two differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from circuitkit.control.steering.uses import ablated, without
from circuitkit.control.steering.vector import SteeringVector
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel
from circuitkit.model.changed import weight_name, with_weights
from circuitkit.model.check import COARSE_GAP, RELATIVE_GAP, probe
from circuitkit.model.layers import Layer, part

LINEAR_GAP = 1e-2  # of an embedding that is rows of a table, as a share of the largest


@dataclass(frozen=True)
class Orthogonalised:
    """The model that cannot write a direction."""

    vector: SteeringVector
    kind: ClassVar[str] = "orthogonalised weights"

    @property
    def name(self) -> str:
        """What the change is called."""
        return f"without {self.vector.origin}"

    def made(self, model: SubjectModel) -> SubjectModel:
        """Return the model with the direction taken out of all that writes.

        Raises:
            MethodError: it would not equal ablation at every write, with the reason.
        """
        self.vector.require_fits(model)
        reason = why_unequal(model)
        if reason:
            raise MethodError(
                f"orthogonalisation of {model.name!r}: all that writes to the residual stream must "
                f"be a matrix or a bias, got {reason}. The weights would not do what ablation "
                "does. Ablate with hooks instead."
            )
        weights = orthogonal_weights(model, self.vector)
        changed = with_weights(model, weights, name=f"{model.name}, {self.name}")
        _require_equal(model, changed, self.vector)
        return changed


@dataclass(frozen=True)
class AddedEverywhere:
    """The model whose residual stream has `dose` times a direction more, at every position."""

    vector: SteeringVector
    dose: float
    kind: ClassVar[str] = "changed bias"

    @property
    def name(self) -> str:
        """What the change is called."""
        return f"{self.dose:g} times {self.vector.origin}"

    def made(self, model: SubjectModel) -> SubjectModel:
        """Return the model with another bias.

        Raises:
            MethodError: no bias stands in front of the place.
        """
        self.vector.require_fits(model)
        name, weight, scale = _bias_before(model, self.vector)
        step = self.dose / scale * self.vector.direction.double()
        changed = (weight.double() + step.to(weight.device)).to(weight)
        return with_weights(model, {name: changed}, name=f"{model.name}, {self.name}")


def why_unequal(model: SubjectModel) -> str:
    """Return why orthogonalised weights would not equal ablation; empty where they do."""
    for number, layer in enumerate(model.layers):
        if layer.attention.is_opaque:
            return f"a block without heads at layer {number}"
        norms = {"attention": layer.attention.post_norm}
        norms |= {} if layer.mlp is None else {"the MLP": layer.mlp.post_norm}
        for name, norm in norms.items():
            if norm is not None and not norm.is_identity:
                return f"a norm behind {name} at layer {number}: it is not linear"
        if layer.mlp is not None and _out_of(layer) is None:
            return f"an MLP without one output projection at layer {number}"
        if layer.unit_behind != 1:
            return f"a residual stream that is scaled behind layer {number}"
    return _why_embedding(model)


def _why_embedding(model: SubjectModel) -> str:
    """Return why what enters block 0 is no sum of rows of the embeddings."""
    batch = probe(len(model.token_embeddings), model.n_ctx)
    with torch.no_grad():
        entering, _ = model.prepare(batch)
    rows = model.token_embeddings[batch.tokens.to(model.device)]
    if rows.shape != entering.shape:
        return "an embedding of another width than the residual stream"
    positions = _positional(model)
    if positions is not None:
        return ""  # compared as a whole when the weights are made
    ratio = float((entering * rows).sum() / (rows * rows).sum())  # Gemma scales its rows
    off = float((entering - ratio * rows).abs().max() / entering.abs().max())
    return "" if off < LINEAR_GAP else "a norm or more behind the embedding: it is not linear"


def orthogonal_weights(model: SubjectModel, vector: SteeringVector) -> dict[str, Tensor]:
    """Return every weight that writes, by its name, without the direction."""
    embedding = model.bridge.embed.original_component
    found = {f"{weight_name(model, embedding)}.weight": without_rows(embedding.weight, vector)}
    positions = _positional(model)
    if positions is not None:
        found[f"{weight_name(model, positions)}.weight"] = without_rows(positions.weight, vector)
    for number, layer in enumerate(model.layers):
        outputs = [part(model.bridge.blocks[number]._modules["attn"], "o")]
        outputs += [] if layer.mlp is None else [_out_of(layer)]
        for module in outputs:
            name = weight_name(model, module)
            is_stored_in_out = isinstance(module, Conv1D)  # rows are what is written
            weight = module.weight if is_stored_in_out else module.weight.T
            changed = without_rows(weight, vector)
            found[f"{name}.weight"] = changed if is_stored_in_out else changed.T.contiguous()
            if getattr(module, "bias", None) is not None:
                found[f"{name}.bias"] = without_rows(module.bias, vector)
    return found | _untied(model, found)


def _untied(model: SubjectModel, changed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the unembedding as it is, where it would follow the embedding."""
    module = model.bridge.unembed.original_component
    tied = module.weight.data_ptr() == model.token_embeddings.data_ptr()
    name = f"{weight_name(model, module)}.weight"
    return {name: module.weight.detach().clone()} if tied and name not in changed else {}


def without_rows(
    weight: Float[Tensor, "*in d_model"], vector: SteeringVector
) -> Float[Tensor, "*in d_model"]:
    """Return what is written, row by row, without the direction; computed in float64."""
    wide = weight.detach().double()
    return without(wide, vector.unit.to(wide.device)).to(weight.dtype)


def _out_of(layer: Layer) -> Any:
    """Return the MLP's last projection, None where no single matrix writes."""
    assert layer.mlp is not None
    module = layer.mlp.out_module
    module = getattr(module, "original_component", module)
    weight = getattr(module, "weight", None)
    return module if isinstance(weight, Tensor) and weight.ndim == 2 else None


def _positional(model: SubjectModel) -> Any:
    """Return the table of positional embeddings, None where there is none."""
    found = part(model.bridge, "pos_embed")
    return found if getattr(found, "weight", None) is not None else None


def _bias_before(model: SubjectModel, vector: SteeringVector) -> tuple[str, Tensor, float]:
    """Return the weight that adds in front of a place, its name, and what it is scaled by."""
    site, number = vector.point
    if site == "resid pre":
        site, number = "mlp out", number - 1
    where = f"addition at {vector.point.site} {vector.point.layer} of {model.name!r}"
    if number < 0:
        positions = _positional(model)
        if positions is None:
            raise MethodError(
                f"{where}: a bias must stand in front of the place, got token embeddings alone. "
                "Nothing there adds the same at every position. Add with hooks instead."
            )
        return f"{weight_name(model, positions)}.weight", positions.weight.detach(), 1.0
    layer = model.layers[number]
    mlp = layer.mlp if site in ("mlp out", "resid post") else None
    post_norm = layer.attention.post_norm if mlp is None else mlp.post_norm
    attention = model.bridge.blocks[number]._modules.get("attn")
    module = (attention and part(attention, "o")) if mlp is None else _out_of(layer)
    bias = getattr(module, "bias", None)
    if bias is None or (post_norm is not None and not post_norm.is_identity):
        got = "none" if bias is None else "one with a norm behind it"
        raise MethodError(
            f"{where}: {'attention' if mlp is None else 'the MLP'} of layer {number} must have an "
            f"output bias that is added as it is, got {got}. Only a bias adds the same at every "
            "position. Add with hooks instead."
        )
    scale = 1.0 if layer.mlp is None else layer.mlp.scale  # of both parts, in such families
    return f"{weight_name(model, module)}.bias", bias.detach(), scale


def _require_equal(model: SubjectModel, changed: SubjectModel, vector: SteeringVector) -> None:
    """Refuse weights that do not do on random tokens what ablation does."""
    batch = probe(len(model.token_embeddings), model.n_ctx)
    with torch.no_grad():
        expected = model.run(batch, ablated(model, vector))
        found = changed.run(batch)
    gap = float((found - expected).abs().max() / expected.abs().max())
    limit = RELATIVE_GAP.get(model.dtype, COARSE_GAP)
    if not gap <= limit:
        raise MethodError(
            f"orthogonalisation of {model.name!r}: logits must equal those under ablation, got a "
            f"difference of {gap:.1e} of the largest. Some part writes that is no known matrix. "
            "Ablate with hooks instead."
        )
