"""Edges of a fine-tuned model that carry what the base model writes: its changes are taken back.

    live     sender s writes what it writes in the tuned model, in this very run
    ablated  it writes what the sender of that name writes in the base model, on the same prompt

A head writes z W_O, and both z and W_O were tuned. So that both writes have one narrow form, the
heads of the joined model have the rows of both matrices,

    W_O  =  [W_O tuned; W_O base; b_O base - b_O tuned]     z tuned = [z, 0, 0]   z base = [0, z, 1]

the last row in the first head of each layer alone, as the bias belongs to no head. So with every
edge ablated the residual stream is that of the base model, exactly; what reads it (norms, queries,
the unembedding) is still the tuned model's.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from circuitkit.errors import GraphError, ModelError
from circuitkit.interventions.ablation import Ablation
from circuitkit.model import SubjectModel
from circuitkit.model.attention import Attention
from circuitkit.model.digests import joined_digest
from circuitkit.model.recording import Activations, record
from circuitkit.model.runs import Run
from circuitkit.prompts.pairs import PromptPairs


class FromBase(Ablation):
    """Ablated senders write what they write in the base model, on the clean prompt of the pair.

    For the model that `joined` makes of the tuned and this base model, and for no other.
    """

    name: ClassVar[str] = "base"

    def __init__(self, base: SubjectModel) -> None:
        self.base = base

    @property
    def identity(self) -> str:
        return f"{self.name} {self.base.digest}"

    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        own = record(self.base, pairs.clean_batch)[0]
        z = [_own_rows(z, layer.attention) for z, layer in zip(own.z, model.layers, strict=True)]
        return replace(own, z=tuple(z))


def joined(tuned: SubjectModel, base: SubjectModel) -> SubjectModel:
    """Return the tuned model, computing the same, whose heads can write what the base's do.

    Raises:
        GraphError: the two are of different architectures, or MLPs are taken apart.
        ModelError: they are of different number types, or on different devices.
    """
    require_comparable(tuned, base)
    layers = tuple(
        replace(ours, attention=_widened(ours.attention, theirs.attention))
        for ours, theirs in zip(tuned.layers, base.layers, strict=True)
    )
    digest = joined_digest(tuned.digest, base.digest)
    return tuned.computing_with(layers, tuned.final_norm, digest=digest)


def require_comparable(tuned: SubjectModel, base: SubjectModel) -> None:
    """Refuse two models that are not the same but for their weights.

    Raises:
        GraphError: they are of different architectures, or MLPs are taken apart.
        ModelError: they are of different number types or vocabularies, or on different devices.
    """
    where = f"base model {base.name!r} and tuned model {tuned.name!r}"
    if tuned.graph != base.graph or tuned.graph.units:
        raise GraphError(
            f"{where}: must be of one architecture, with whole MLPs, got ({base.graph}) and "
            f"({tuned.graph}). Every component is held against that of the same name. Give the "
            "model from which the tuned one was made."
        )
    for what, ours, theirs in (
        ("number type", tuned.dtype, base.dtype),
        ("device", tuned.device, base.device),
        ("size of the vocabulary", len(tuned.token_embeddings), len(base.token_embeddings)),
    ):
        if ours != theirs:
            raise ModelError(
                f"{where}: must be of one {what}, got {theirs} and {ours}. What they write is put "
                "into one sum. Load both with the same --dtype and --device, and take care that "
                "no tokens were added."
            )


def _widened(tuned: Attention, base: Attention) -> Attention:
    """Return the tuned attention with rows for what the base's heads write, and for its bias."""
    if tuned.is_opaque:
        return tuned
    n_heads, _, d_model = tuned.w_out.shape
    bias = tuned.w_out.new_zeros(n_heads, 1, d_model)
    bias[0, 0] = base.b_out - tuned.b_out
    w_out = torch.cat((tuned.w_out, base.w_out, bias), 1)
    return replace(tuned, w_out=w_out, n_other=w_out.shape[1] - tuned.w_out.shape[1])


def _own_rows(z: Tensor, attention: Attention) -> Tensor:
    """Return z of the base model in the rows that the joined model has for it."""
    if attention.is_opaque:
        return z
    wide = pad(z, (attention.d_head, 1))
    wide[:, :, 0, -1] = 1.0
    return wide
