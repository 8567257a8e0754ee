"""The padded tensors that one forward pass reads, and what is expected of each of its rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.prompts.answers import Branches, Spelled
from circuitkit.work.devices import sent
from circuitkit.work.text import brief


@dataclass(frozen=True)
class Labels:
    """What is expected of each pair. Answers are token ids, filled up with -1.

    `spelled` says the same of answers of several tokens, or at several places; `answers` and
    `wrong_answers` are then the first token of each, at the first place. `clean_logits` are those
    of the clean run, for metrics that compare with it (None: not needed).
    """

    answers: Int[Tensor, "pair answer"]
    wrong_answers: Int[Tensor, "pair wrong_answer"]
    clean_logits: Float[Tensor, "pair *label vocab"] | None = None
    spelled: Spelled | None = None

    def __repr__(self) -> str:
        return brief(f"Labels({len(self.answers)} pairs)")

    def ids_alone(self) -> "Labels":
        """Return the labels without the clean run's logits."""
        return replace(self, clean_logits=None)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Labels":
        """Return the labels with `function` applied to each tensor."""
        logits = self.clean_logits
        return Labels(
            function(self.answers),
            function(self.wrong_answers),
            None if logits is None else function(logits),
            None if self.spelled is None else self.spelled.map(function),
        )

    def repeated(self, n: int) -> "Labels":
        """Return the labels of the pairs, `n` times one after the other."""
        return self.map(lambda x: x.repeat(n, *[1] * (x.ndim - 1)))

    def to(self, device: torch.device) -> "Labels":
        """Return the labels on another device."""
        return self.map(lambda x: sent(x, device))


@dataclass(frozen=True)
class PromptBatch:
    """Padded prompts that one forward pass reads, and where each one's answer is read.

    The answer is read at `label_pos`, and at the columns `further` where there are several places
    or tokens (prompts/answers.py). `labels` are there for the model to check that it has such
    answers; a run does not need them. `stand_ins` are there if the clean prompts have other
    lengths: how much of each position here stands for each position of theirs.
    """

    tokens: Int[Tensor, "row pos"]
    mask: Bool[Tensor, "row pos"]
    label_pos: Int[Tensor, " row"]
    labels: Labels | None = None
    further: Int[Tensor, "row further"] | None = None
    branches: Branches | None = None
    stand_ins: Float[Tensor, "row pos pos"] | None = None

    def __repr__(self) -> str:
        n_rows, n_pos = self.tokens.shape
        return brief(f"PromptBatch({n_rows} prompts, {n_pos} positions)")

    @property
    def labelled(self) -> Int[Tensor, "row label"]:
        """The columns of each row that logits are read at, no two the same."""
        return labelled_columns(self.label_pos, self.further)

    @property
    def position_ids(self) -> Int[Tensor, "row pos"]:
        """The place of each token among the real tokens it follows, 0 for padding."""
        if self.branches is not None:
            return self.branches.positions
        return (self.mask.long().cumsum(1) - 1).clamp(min=0)

    def columns(self, part: slice) -> "PromptBatch":
        """Return some columns of the rows, to be embedded; `label_pos` then means nothing."""
        branches = self.branches and self.branches.map(lambda x: x[:, part])
        return PromptBatch(
            self.tokens[:, part], self.mask[:, part], self.label_pos, branches=branches
        )

    def repeated(self, n: int) -> "PromptBatch":
        """Return the prompts `n` times, one whole set after the other."""
        return PromptBatch(
            self.tokens.repeat(n, 1),
            self.mask.repeat(n, 1),
            self.label_pos.repeat(n),
            None if self.labels is None else self.labels.repeated(n),
            None if self.further is None else self.further.repeat(n, 1),
            None if self.branches is None else self.branches.map(lambda x: x.repeat(n, 1)),
            None if self.stand_ins is None else self.stand_ins.repeat(n, 1, 1),
        )


def labelled_columns(
    label_pos: Int[Tensor, " row"], further: Int[Tensor, "row further"] | None
) -> Int[Tensor, "row label"]:
    """Return the columns of each row that logits are read at, the answer's place first."""
    first = label_pos.unsqueeze(1)
    return first if further is None else torch.cat([first, further], 1)
