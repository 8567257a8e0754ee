"""What a sender's output is replaced by when it is ablated. Each choice is an object.

    zero      nothing is written
    mean      the mean over reference prompts of the same template, position by position
    resample  what the same sender writes on the pair's corrupted prompt

Values are given in the narrow form of `Activations`; a head's mean z times W_O is its mean write.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from circuitkit.errors import MethodError, PromptError
from circuitkit.model import SubjectModel
from circuitkit.model.record import Activations, record, record_run
from circuitkit.model.runs import Run, like, shared_positions
from circuitkit.prompts import PromptPairs


class Ablation(ABC):
    """Base of all ablations: gives the replacement values for a set of pairs."""

    name: ClassVar[str]
    is_corrupted_run: ClassVar[bool] = False  # whether `values` are what that run computes

    def n_shared_positions(self, model: SubjectModel, pairs: PromptPairs) -> int:
        """Return at how many first positions every ablated value is the clean one."""
        return 0

    @abstractmethod
    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        """Return what each sender writes when ablated, aligned with the pairs' positions.

        `behind` is the clean run if its shared positions were run already; they are left out.
        """


class ZeroAblation(Ablation):
    """Ablated senders write nothing. Far from what later layers expect: read with care."""

    name = "zero"

    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        rows, pos = pairs.clean.shape
        nothing = torch.zeros(1, dtype=model.dtype, device=model.device)
        wide = nothing.new_zeros(rows, pos, model.graph.d_model)
        z = nothing.new_zeros(rows, pos, model.graph.n_heads, model.d_head)
        n_layers = model.graph.n_layers
        return Activations(wide, (z,) * n_layers, (wide,) * n_layers * model.graph.has_mlps)


class ResampleAblation(Ablation):
    """Ablated senders write what they write on the corrupted prompt of the pair."""

    name = "resample"
    is_corrupted_run = True

    def n_shared_positions(self, model: SubjectModel, pairs: PromptPairs) -> int:
        return shared_positions(model, pairs)

    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        if behind is None:
            return record(model, pairs.corrupted_batch)[0]
        return record_run(model, like(behind, model, pairs.corrupted_batch))[0]


class MeanAblation(Ablation):
    """Ablated senders write their mean over the corrupted prompts of `reference`.

    Means are taken per template and position, as in Wang et al. 2022 (arXiv:2211.00593, section
    2.2), so that what a template has in common is kept and what varies within it is lost.
    """

    name = "mean"

    def __init__(self, reference: PromptPairs, batch_size: int = 256) -> None:
        self.reference = reference
        self.batch_size = batch_size
        self._means: dict[tuple[str, str, str], Activations] = {}  # of this reference, by model

    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        """Return the means of each pair's template, placed at the pair's real positions.

        Raises:
            PromptError: a template of `pairs` has no reference prompts, or another length there.
        """
        means = {name: self._known_mean(model, name) for name in sorted(set(pairs.templates))}
        starts: list[int] = pairs.mask.long().argmax(1).tolist()
        lengths: list[int] = pairs.lengths.tolist()
        width = pairs.clean.shape[1]
        rows: list[Activations] = []
        for template, start, length in zip(pairs.templates, starts, lengths, strict=True):
            mean = means[template]
            if mean.input.shape[1] != length:
                raise PromptError(
                    f"mean ablation, template {template!r}: prompts and reference prompts must "
                    f"have equally many tokens, got {length} and {mean.input.shape[1]}. Means are "
                    "taken position by position. Use one layout per template."
                )
            rows.append(mean.map(lambda x, s=start: _placed(x, s, width)))  # type: ignore[misc]
        return _stacked(rows)

    def _known_mean(self, model: SubjectModel, template: str) -> Activations:
        key = (model.digest, f"{model.dtype} {model.device}", template)
        if key not in self._means:
            self._means[key] = self._template_mean(model, template)
        return self._means[key]

    def _template_mean(self, model: SubjectModel, template: str) -> Activations:
        rows = [row for row, name in enumerate(self.reference.templates) if name == template]
        if not rows:
            raise PromptError(
                f"mean ablation: template {template!r} must occur among the reference prompts, "
                f"got {sorted(set(self.reference.templates))}. There is no mean for it. Supply "
                "reference prompts of that template."
            )
        total: Activations | None = None
        for batch in self.reference.select(rows).batches(self.batch_size):
            part = record(model, batch.corrupted_batch)[0].map(lambda x: x.sum(0, keepdim=True))
            total = part if total is None else total.minus(part.map(torch.neg))
        assert total is not None
        start = int(self.reference.mask[rows[0]].long().argmax())
        length = int(self.reference.lengths[rows[0]])
        return total.map(lambda x: x[:, start : start + length] / len(rows))


def _placed(x: Tensor, start: int, width: int) -> Tensor:
    """Return `x` ([1, length, ...]) at `start` in zeros of `width` positions."""
    out = x.new_zeros(1, width, *x.shape[2:])
    out[:, start : start + x.shape[1]] = x
    return out


def _stacked(rows: list[Activations]) -> Activations:
    return Activations(
        torch.cat([row.input for row in rows]),
        tuple(torch.cat(layer) for layer in zip(*(row.z for row in rows), strict=True)),
        tuple(torch.cat(layer) for layer in zip(*(row.mlp for row in rows), strict=True)),
    )


def ablation_named(name: str, reference: PromptPairs) -> Ablation:
    """Return the ablation of this name; `reference` supplies the means.

    Raises:
        MethodError: there is none.
    """
    choices: dict[str, Ablation] = {
        "mean": MeanAblation(reference),
        "zero": ZeroAblation(),
        "resample": ResampleAblation(),
    }
    if name not in choices:
        raise MethodError(
            f"ablation {name!r}: must be one of {', '.join(choices)}. It says what an edge "
            "outside the circuit carries. Choose one."
        )
    return choices[name]
