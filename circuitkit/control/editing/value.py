"""The value that a layer is to write at a fact's subject, found by descent (Meng et al. 2022).

    loss   mean over prompts of -log P(target), the fact bare and behind prefixes
           + kl_weight KL(edited || model) behind the subject alone, at its last token
           + decay |delta| / |v0|^2
    v* = v0 + delta, where |delta| is kept at or below clamp |v0|

`delta` is added where the fact names its subject, at its last token. Two details are those of the
authors' code rather than of their paper: the KL is read at the last token of the subject, and the
decay is of the norm and not of its square.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.control.editing.facts import SUBJECT, Fact, PlainPrompt, read_facts
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel
from circuitkit.prompts.batch import PromptBatch


@dataclass(frozen=True)
class Descent:
    """How a value is looked for. The defaults are those of ROME."""

    steps: int = 20
    learning_rate: float = 0.5
    enough: float = 0.05  # loss at which it stops
    kl_weight: float = 0.0625
    decay: float = 0.5
    clamp: float = 4.0  # |delta| at most, in norms of what is written unedited

    def __post_init__(self) -> None:
        """Require numbers that a descent can have."""
        for name, least in (("steps", 1), ("learning_rate", 1e-12), ("clamp", 1e-12)):
            if not getattr(self, name) >= least:
                raise MethodError(
                    f"edit: {name} must be at least {least:g}, got {getattr(self, name)}. No value "
                    "would be found. Raise it."
                )


@dataclass(frozen=True)
class Readings:
    """A fact as it is read: bare, then behind prefixes, and in the last row its subject alone.

    `at` is the column of the subject's last token in each row, `target` the new answer's token.
    """

    batch: PromptBatch
    at: Int[Tensor, " row"]
    target: int


def readings(model: SubjectModel, fact: Fact, before: Sequence[PlainPrompt]) -> Readings:
    """Return a fact read bare, behind each of some prefixes, and its subject alone."""
    alone = Fact(fact.subject_text, (0, len(fact.subject_text)), fact.target, fact.true)
    rows = [fact, *(fact.behind(prefix) for prefix in before), alone]
    pairs = read_facts(rows, model.tokenizer)
    model.require_vocabulary(pairs)
    return Readings(
        pairs.clean_batch,
        torch.tensor([roles[SUBJECT][1] - 1 for roles in pairs.roles]),
        int(pairs.labels.answers[0, 0]),
    )


Runner = Callable[[PromptBatch, Tensor, Tensor], Tensor]


def find_delta(
    read: Readings, written: Float[Tensor, " d_model"], run: Runner, descent: Descent
) -> tuple[Float[Tensor, " d_model"], list[float]]:
    """Return what is to be added to what is `written` at the subject, and the loss at every step.

    `run` returns the logits of a batch where a delta is added at one column of each row.
    """
    size = float(written.norm())
    delta = torch.zeros_like(written, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=descent.learning_rate)
    losses: list[float] = []
    before = torch.zeros(())
    with torch.enable_grad():
        for step in range(descent.steps):
            optimizer.zero_grad()
            logs = run(read.batch, read.at, delta).log_softmax(-1)
            if step == 0:  # delta is zero: the model unedited
                before = logs[-1].detach()
            kl = (logs[-1].exp() * (logs[-1] - before)).sum()
            loss = descent.kl_weight * kl - logs[:-1, read.target].mean()
            loss = loss + descent.decay * delta.norm() / size**2
            losses.append(float(loss.detach()))
            if losses[-1] < descent.enough or step == descent.steps - 1:
                break
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                delta.mul_(min(1.0, descent.clamp * size / max(float(delta.norm()), 1e-30)))
    return delta.detach(), losses


def require_within_clamp(
    change: Float[Tensor, " d_model"], written: Float[Tensor, " d_model"], clamp: float
) -> None:
    """Refuse a value too far from what is written unedited.

    Raises:
        MethodError: it is further than the clamp allows.
    """
    share = float(change.double().norm() / written.double().norm())
    rounding = 4 * torch.finfo(written.dtype).eps  # of the type that was clamped in
    if not share <= clamp * (1 + max(1e-6, rounding)):
        raise MethodError(
            f"edit: a value must be at most {clamp:g} norms from what is written unedited, got "
            f"{share:.3g}. Larger ones break whatever else is read there. Give a nearer value, or "
            "raise the clamp."
        )
