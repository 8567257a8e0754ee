"""Logit lens: what the residual stream says of the answer, layer by layer and position by position.

    difference  =  norm(x) . (answers' columns of W_U - wrong answers')     logits, mean over pairs
    on top      =  is the most likely token of the whole vocabulary an answer?

x is the stream at one place of the clean run, and the final norm takes its own scale there: the
prediction if the model stopped. Away from the labelled position it says whether the answer is
already written there. A column's positions are averaged within each pair; pairs that lack them are
left out. Early layers need not write in the unembedding's terms, so a low value is no proof of
absence. nostalgebraist 2020; the columns are those of readout.py, before any soft cap.

TransformerLens 4.3 has `logit_lens`: one run of the bridge's own code, one position for all prompts
or all of them, targets that are single tokens. Where both apply they agree
(tests/interpretation/test_logit_lens.py).
"""

from collections import Counter
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.errors import CriterionError
from circuitkit.interpretation.findings import Matrix, Sweep
from circuitkit.interpretation.sweeps.answer_directions import answer_directions, in_float64
from circuitkit.interventions.budget import COMFORTABLE, pairs_per_batch
from circuitkit.interventions.recorded import RecordedRun
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import counted_from
from circuitkit.model.runs import whole_run
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import MIN_PAIRS, Estimate, mean_estimate

WIDTHS = 3  # tensors [row, vocab] that finding the top token keeps at once


@dataclass(frozen=True)
class TopToken:
    """The token that is most often the most likely one at a place, and how often, from 0 to 1."""

    token: str
    share: float


@dataclass(frozen=True)
class LogitLens:
    """The two sweeps over places and positions, and the token most often on top in each cell."""

    difference: Sweep
    answer_on_top: Sweep
    top: tuple[tuple[TopToken, ...], ...]


@dataclass(frozen=True)
class _Readings:
    """What one place says at every position, `place` axis first."""

    difference: Float[Tensor, "place pair pos"]
    top: Int[Tensor, "place pair pos"]


def logit_lens(
    model: SubjectModel, pairs: PromptPairs, columns: Columns, *, memory: int | None = None
) -> LogitLens:
    """Return the lens at every place of the residual stream, for each column of positions.

    Columns that fewer than MIN_PAIRS pairs have are left out, and named in the sweeps.

    Raises:
        CriterionError: too few pairs for an interval.
        ActivationError: an activation is NaN or infinite.
        MemoryBudgetError: not even one pair fits.
        DecompositionError: the unembedding is not a matrix.
    """
    if len(pairs) < MIN_PAIRS:
        raise CriterionError(
            f"logit lens: needs at least {MIN_PAIRS} pairs, got {len(pairs)}. Every mean brings "
            "its interval. Raise --n."
        )
    readings = _read(model, pairs, memory)
    is_answer = (readings.top.unsqueeze(-1) == pairs.labels.answers[:, None]).any(-1).double()
    rows = tuple(places_of_stream(model))
    kept = columns.masks.any(2).sum(1) >= MIN_PAIRS
    masks = columns.masks[kept]
    names = tuple(name for name, keep in zip(columns.names, kept, strict=True) if keep)
    left_out = [name for name, keep in zip(columns.names, kept, strict=True) if not keep]
    says = f"Left out, as fewer than {MIN_PAIRS} pairs have them: {', '.join(left_out)}."
    says = says if left_out else ""
    at_label = torch.arange(len(pairs)), pairs.label_pos

    def sweep(name: str, description: str, unit: str, values: Tensor) -> Sweep:
        cells = [[_cell(value, mask) for mask in masks] for value in values]
        return Sweep(
            name,
            description,
            unit,
            rows,
            names,
            values=_matrix(cells, "value"),
            low=_matrix(cells, "low"),
            high=_matrix(cells, "high"),
            whole=float(values[-1][at_label].mean()),
            says=says,
        )

    return LogitLens(
        sweep(
            "logit-lens",
            "logits of the answers over the wrong ones, if the model stopped there",
            "logits",
            readings.difference,
        ),
        sweep(
            "logit-lens-top",
            "how often an answer would be the most likely token, if the model stopped there",
            "share of pairs",
            is_answer,
        ),
        tuple(tuple(_most_common(model, top[mask]) for mask in masks) for top in readings.top),
    )


def places_of_stream(model: SubjectModel) -> dict[str, Point]:
    """Return the places of the residual stream by name, from the first to the last."""
    places = {}
    for layer in range(model.graph.n_layers):
        places[f"resid {layer}"] = hook_points.resid_pre(layer)
        if model.graph.has_mlps and not model.graph.parallel_attn_mlp:
            places[f"mid {layer}"] = hook_points.resid_mid(layer)
    return places | {f"post {layer}": hook_points.resid_post(layer)}


def _read(model: SubjectModel, pairs: PromptPairs, memory: int | None) -> _Readings:
    size = pairs_per_batch(model, pairs, memory)
    points = list(places_of_stream(model).values())
    norm, differences, tops = in_float64(model.final_norm), [], []
    for start in range(0, len(pairs), size):
        batch = pairs.select(range(start, min(start + size, len(pairs))))
        directions = answer_directions(model, batch.labels)
        with counted_from(start):
            run = RecordedRun(model, whole_run(model, batch.clean_batch), points)
        streams = [run.kept[point] for point in points]
        difference = [directions.read(norm.x_hat(x.double())) for x in streams]
        differences.append(torch.stack(difference).cpu())
        tops.append(torch.stack([_top_tokens(model, x) for x in streams]).cpu())
    return _Readings(torch.cat(differences, 1), torch.cat(tops, 1))


def _top_tokens(
    model: SubjectModel, x: Float[Tensor, "pair pos d_model"]
) -> Int[Tensor, "pair pos"]:
    vocab = model.unembedding[0].shape[1]
    size = max(1, COMFORTABLE // (WIDTHS * vocab * x.element_size()))
    with torch.no_grad():
        tops = [model.unembed(rows).argmax(-1) for rows in x.flatten(0, 1).split(size)]
    return torch.cat(tops).reshape(x.shape[:2])


def _cell(value: Float[Tensor, "pair pos"], mask: Bool[Tensor, "pair pos"]) -> Estimate:
    present = mask.any(1)
    means = (value * mask).sum(1)[present] / mask.sum(1)[present]
    return mean_estimate(means.numpy())


def _matrix(cells: list[list[Estimate]], field: str) -> Matrix:
    return tuple(tuple(float(getattr(cell, field)) for cell in row) for row in cells)


def _most_common(model: SubjectModel, tokens: Int[Tensor, " place"]) -> TopToken:
    counts = Counter(tokens.tolist())
    token = min(counts, key=lambda token: (-counts[token], token))
    return TopToken(model.text_of([token]), counts[token] / len(tokens))
