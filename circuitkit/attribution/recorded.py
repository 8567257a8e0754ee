"""One run of a model on one prompt, and what its transcoders make of it.

    MLP output  =  active features + error + b_dec + W_skip x

The first position holds a beginning token of which features say little; as in the field's graphs
it has no features and no error unless it is kept, and what its MLPs write is part of the constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.attribution.transcoders import Transcoders, require_fit
from circuitkit.errors import ActivationError, DecompositionError, PromptError
from circuitkit.model import hook_points
from circuitkit.model.attention import Attention
from circuitkit.model.forward import Hook
from circuitkit.model.hook_points import Point
from circuitkit.model.subject import SubjectModel
from circuitkit.prompts.batch import PromptBatch


@dataclass(frozen=True)
class LayerRun:
    """What one layer did on the prompt. `mlp_in` is what its MLP reads, before the norm."""

    resid_pre: Float[Tensor, "pos d_model"]
    pattern: Float[Tensor, "head destination source"]
    write_scale: Float[Tensor, "pos_or_one 1 1"]  # of a norm behind attention
    mlp_in: Float[Tensor, "pos d_model"]
    mlp_out: Float[Tensor, "pos d_model"]
    pre: Float[Tensor, "pos feature"]  # pre-activations, at every position
    values: Float[Tensor, "pos feature"]  # zero where not active, and at positions left out


@dataclass(frozen=True)
class RecordedPrompt:
    """A run of a model on a prompt with its transcoders' features."""

    model: SubjectModel
    transcoders: Transcoders
    tokens: Int[Tensor, " pos"]
    embedded: Float[Tensor, "pos d_model"]  # what the tokens alone add to the stream
    layers: tuple[LayerRun, ...]
    final: Float[Tensor, " d_model"]  # what the final norm reads at the last position
    logits: Float[Tensor, " vocab"]
    first: int  # positions before it have no features and no error

    @property
    def n_pos(self) -> int:
        """How many tokens the prompt has."""
        return len(self.tokens)

    def reconstruction(self, layer: int) -> Float[Tensor, "pos d_model"]:
        """Return what the transcoders say the MLP writes, bias and skip included."""
        return self.written_by_features(layer) + self.rest_of_reconstruction(layer)

    def written_by_features(self, layer: int) -> Float[Tensor, "pos d_model"]:
        """Return what the active features of this and, cross-layer, earlier MLPs write there."""
        parts = []
        for source in range(layer + 1):
            decoder = self.transcoders.layers[source].decoder
            if layer - source < decoder.shape[1]:
                parts.append(self.layers[source].values @ decoder[:, layer - source])
        return torch.stack(parts).sum(0)

    def rest_of_reconstruction(self, layer: int) -> Float[Tensor, "pos d_model"]:
        """Return b_dec and the skip, which no feature carries."""
        own, run = self.transcoders.layers[layer], self.layers[layer]
        if own.skip is None:
            return own.decoder_bias.expand_as(run.mlp_out)
        read = self.transcoders.read(self.model, layer, run.mlp_in[None])[0]
        return own.decoder_bias + read @ own.skip.T

    def error(self, layer: int) -> Float[Tensor, "pos d_model"]:
        """Return what the MLP writes and the transcoders do not say, zero where left out."""
        found = self.layers[layer].mlp_out - self.reconstruction(layer)
        found[: self.first] = 0
        return found


def record_prompt(
    model: SubjectModel, tokens: Sequence[int], transcoders: Transcoders, *, first: int = 1
) -> RecordedPrompt:
    """Return a run of the model on a prompt, with the features of its transcoders.

    `first`: positions before it have no features and no error.

    Raises:
        ModelError: the transcoders are not of this model.
        DecompositionError: attention of this kind is not linear in what it reads, even when its
            patterns are held.
        PromptError: the prompt is empty or longer than the model's context.
        ActivationError: an activation is NaN or infinite.
    """
    require_fit(transcoders, model)
    require_linear(model)
    batch = batch_of(tokens)
    transcoders = transcoders.to(model.layers[0].attention.w_out)
    kept: dict[Point, Tensor] = {}
    with torch.no_grad():
        entering, context = model.prepare(batch)
        logits = model.run_from(entering, context, _keepers(len(model.layers), kept))[0]
        layers = tuple(
            _layer_run(model, transcoders, layer, kept, first) for layer in range(len(model.layers))
        )
    if not bool(logits.isfinite().all()):
        raise ActivationError(f"model {model.name!r}, logits", 0)
    embedded = model.token_embeddings[batch.tokens[0].to(model.device)]
    if embedded.shape != entering[0].shape:
        embedded = torch.zeros_like(entering[0])
    final = kept[hook_points.FINAL_NORM_IN][0]
    ids = batch.tokens[0]
    return RecordedPrompt(model, transcoders, ids, embedded, layers, final, logits, first)


def batch_of(tokens: Sequence[int]) -> PromptBatch:
    """Return one prompt as a batch that is read at its last position.

    Raises:
        PromptError: it has no token.
    """
    if not len(tokens):
        raise PromptError(
            "attribution: the prompt must have a token, got none. There is nothing to attribute. "
            "Give a text."
        )
    ids = torch.tensor([list(tokens)])
    return PromptBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.tensor([len(tokens) - 1]))


def require_linear(model: SubjectModel) -> None:
    """Refuse models that are not linear when patterns and norms are held.

    Raises:
        DecompositionError: naming the block and why.
    """
    for index, layer in enumerate(model.layers):
        attention = layer.attention
        why = ""
        if type(attention) is not Attention:
            why = f"attention of the kind {type(attention).__name__}"
        elif attention.v_norm is not None or attention.clip is not None:
            why = "values that are normalised or clipped"
        elif layer.mlp is None:
            why = "no MLP"
        if why:
            raise DecompositionError(
                f"attribution: model {model.name!r}, block {index}: must have plain heads and an "
                f"MLP, got {why}. With patterns and norms held it would not be linear, so edges "
                "would not sum to what a feature reads. Use another model."
            )


def _keepers(n_layers: int, kept: dict[Point, Tensor]) -> dict[Point, Hook]:
    points = [hook_points.FINAL_NORM_IN]
    for layer in range(n_layers):
        points += [
            place(layer)
            for place in (
                hook_points.resid_pre,
                hook_points.pattern,
                hook_points.z,
                hook_points.mlp_in,
                hook_points.mlp_out,
            )
        ]
    return {point: _keeper(kept, point) for point in points}


def _keeper(kept: dict[Point, Tensor], point: Point) -> Hook:
    def keep(activation: Tensor) -> Tensor:
        kept[point] = activation.detach()
        return activation

    return keep


def _layer_run(
    model: SubjectModel,
    transcoders: Transcoders,
    layer: int,
    kept: dict[Point, Tensor],
    first: int,
) -> LayerRun:
    mlp_in = kept[hook_points.mlp_in(layer)]
    own = transcoders.layers[layer]
    pre = own.pre_activations(transcoders.read(model, layer, mlp_in)[0])
    values = own.activate(pre)
    values[:first] = 0
    return LayerRun(
        resid_pre=kept[hook_points.resid_pre(layer)][0],
        pattern=kept[hook_points.pattern(layer)][0],
        write_scale=model.layers[layer].attention.write_scale(kept[hook_points.z(layer)])[0],
        mlp_in=mlp_in[0],
        mlp_out=kept[hook_points.mlp_out(layer)][0],
        pre=pre,
        values=values,
    )
