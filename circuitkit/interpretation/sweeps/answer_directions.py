"""Reading the answers off the residual stream: the direction of a pair's logit difference.

    difference  =  x_hat . d + constant
    d           =  W' (mean over answers of their columns - mean over wrong answers of theirs)

x_hat is the normalised stream, W' the unembedding with the final norm's weight and centring folded
in (model/norms.py). Where a pair has no wrong answers, the mean over the whole vocabulary stands in
their place. Unit: logits, before a soft cap if the model has one.
"""

from dataclasses import dataclass, replace

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.model import SubjectModel
from circuitkit.model.norms import Norm
from circuitkit.prompts.batch import Labels
from circuitkit.prompts.pairs import PromptPairs


@dataclass(frozen=True)
class AnswerDirections:
    """What is read from the normalised residual stream: x_hat . vector + constant, per pair."""

    vectors: Float[Tensor, "pair d_model"]
    constants: Float[Tensor, " pair"]

    def read(self, x_hat: Float[Tensor, "pair pos d_model"]) -> Float[Tensor, "pair pos"]:
        """Return the logit difference that every position's normalised stream amounts to."""
        return (
            einsum(x_hat, self.vectors, "pair pos d, pair d -> pair pos") + self.constants[:, None]
        )


def answer_directions(model: SubjectModel, labels: Labels) -> AnswerDirections:
    """Return what reads each pair's logit difference off the normalised stream, in float64."""
    weight, bias = model.unembedding
    labels = labels.to(weight.device)
    right, wrong = (
        _mean_columns(weight, bias, ids) for ids in (labels.answers, labels.wrong_answers)
    )
    vectors, constants = right[0] - wrong[0], right[1] - wrong[1]
    folded, constants = in_float64(model.final_norm).fold(vectors.T, constants)
    return AnswerDirections(folded.T, constants)


def first_token_note(pairs: PromptPairs) -> tuple[str, ...]:
    """Return a sentence where answers have several tokens or places, of which one is read."""
    if pairs.labels.spelled is None:
        return ()
    return (
        "Answers have several tokens or places: what is read off the residual stream here is their "
        "first token, at the first place.",
    )


def in_float64(norm: Norm) -> Norm:
    """Return the same norm, computed in float64."""
    return replace(norm, weight=norm.weight.double(), bias=norm.bias.double())


def _mean_columns(
    weight: Float[Tensor, "d_model vocab"],
    bias: Float[Tensor, " vocab"],
    ids: Int[Tensor, "pair entry"],
) -> tuple[Float[Tensor, "pair d_model"], Float[Tensor, " pair"]]:
    """Return the mean of some columns, of the whole vocabulary's where there are none."""
    present = (ids >= 0).double()
    share = present / present.sum(1, keepdim=True).clamp(min=1)
    picked = ids.clamp(min=0)
    vectors = einsum(share, weight.T[picked].double(), "pair entry, pair entry d -> pair d")
    constants = (share * bias[picked]).sum(1)
    absent = present.sum(1) == 0
    vectors[absent] = weight.mean(1, dtype=torch.float64)
    constants[absent] = bias.mean(dtype=torch.float64)
    return vectors, constants
