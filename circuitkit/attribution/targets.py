"""Which logits an attribution graph explains, and how much each counts.

target  =  unembedding column of a token - mean column, weight p, until their mass is reached
target  =  sum of signed columns of a difference named by the caller, weight 1
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.attribution.recorded import RecordedPrompt
from circuitkit.errors import MethodError

MASS, MOST = 0.95, 10


@dataclass(frozen=True)
class LogitTargets:
    """Directions behind the final norm, the weight of each, and what it is called.

    `tokens` are ids, -1 for a difference of several.
    """

    vectors: Float[Tensor, "target d_model"]
    weights: Float[Tensor, " target"]
    tokens: tuple[int, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)


def likely_tokens(run: RecordedPrompt, *, mass: float = MASS, most: int = MOST) -> LogitTargets:
    """Return the likeliest next tokens, until they hold `mass` of the probability.

    Raises:
        MethodError: the mass is no share, or no token is asked for.
    """
    if not 0 < mass <= 1 or most < 1:
        raise MethodError(
            f"attribution: mass must be above 0 and at most 1, and at least one token asked for, "
            f"got {mass} and {most}. There would be nothing to explain. Give mass=0.95, most=10."
        )
    weight, _ = run.model.unembedding
    p = run.logits.softmax(-1)
    top, ids = p.topk(min(most, len(p)))
    n = min(int((top.cumsum(0) < mass).sum()) + 1, len(top))
    top, ids = top[:n], ids[:n]
    vectors = (weight[:, ids] - weight.mean(1, keepdim=True)).T
    labels = tuple(run.model.text_of([i]) for i in ids.tolist())
    return LogitTargets(vectors, top, tuple(ids.tolist()), labels)


def token_difference(run: RecordedPrompt, right: int, wrong: int) -> LogitTargets:
    """Return one target: the logit of a token minus that of another.

    Raises:
        MethodError: one of them is no token of the model.
    """
    weight, _ = run.model.unembedding
    for token in (right, wrong):
        if not 0 <= token < weight.shape[1]:
            raise MethodError(
                f"attribution: a target must be a token id below {weight.shape[1]}, got {token}. "
                "The model has no such logit. Use an id of its vocabulary."
            )
    vector = (weight[:, right] - weight[:, wrong]).unsqueeze(0)
    label = f"{run.model.text_of([right])} - {run.model.text_of([wrong])}"
    return LogitTargets(vector, torch.ones(1).to(vector), (-1,), (label,))
