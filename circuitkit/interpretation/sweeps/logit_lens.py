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
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.errors import CriterionError
from circuitkit.interpretation.experiment import first_pairs
from circuitkit.interpretation.section import HeatMap, Section, grids
from circuitkit.interpretation.sweeps.answer_directions import (
    answer_directions,
    first_token_note,
    in_float64,
)
from circuitkit.interventions.budget import COMFORTABLE, pairs_per_batch
from circuitkit.interventions.recorded import RecordedRun
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import counted_from
from circuitkit.model.runs import whole_run
from circuitkit.prompts.columns import Columns, by_role
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import MIN_PAIRS, Estimate, mean_estimate
from circuitkit.validation.case import Case
from circuitkit.work.progress import Progress, silent

WIDTHS = 3  # tensors [row, vocab] that finding the top token keeps at once


@dataclass(frozen=True)
class TopToken:
    """The token that is most often the most likely one at a place, and how often, from 0 to 1."""

    token: str
    share: float


@dataclass(frozen=True)
class LogitLens:
    """The two heat maps over places and positions, and the token most often on top in each cell."""

    difference: HeatMap
    answer_on_top: HeatMap
    top: tuple[tuple[TopToken, ...], ...]


@dataclass(frozen=True)
class _Readings:
    """What one place says at every position, `place` axis first."""

    difference: Float[Tensor, "place pair pos"]
    top: Int[Tensor, "place pair pos"]


@dataclass(frozen=True)
class _Axes:
    """The names of places and of the columns that enough pairs have, and what `says` so."""

    places: tuple[str, ...]
    columns: tuple[str, ...]
    masks: Bool[Tensor, "column pair pos"]
    says: str


def measured(case: Case, progress: Progress = silent) -> Section:
    """Return the lens on a case's first validation pairs, by role."""
    whole = first_pairs(case)
    pairs = whole.prompts_alone()
    lens = logit_lens(case.model, pairs, by_role(pairs), memory=case.memory)
    progress(1, 1)
    found = section((lens.difference, lens.answer_on_top))
    return replace(found, notes=(*found.notes, *first_token_note(whole)))


def section(maps: Sequence[HeatMap]) -> Section:
    """Return the maps of a lens as a section."""
    reading = (
        "What the model would say if it stopped at each place: means over pairs, each cell on its "
        "own. Early layers need not write in these terms, so a low value proves nothing."
    )
    return Section("logit-lens", "Logit lens", reading, pictures=tuple(maps))


def logit_lens(
    model: SubjectModel, pairs: PromptPairs, columns: Columns, *, memory: int | None = None
) -> LogitLens:
    """Return the lens at every place of the residual stream, for each column of positions.

    Columns that fewer than MIN_PAIRS pairs have are left out, and named in the heat maps.

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
    axes = _axes(model, columns)
    at_label = torch.arange(len(pairs)), pairs.label_pos
    difference = _map(axes, readings.difference, float(readings.difference[-1][at_label].mean()))
    on_top = _map(axes, is_answer, float(is_answer[-1][at_label].mean()))
    return LogitLens(
        difference,
        replace(
            on_top,
            name="logit-lens-top",
            description="how often an answer would be the most likely token, if the model stopped "
            "there",
            unit="share of pairs",
        ),
        tuple(tuple(_most_common(model, top[mask]) for mask in axes.masks) for top in readings.top),
    )


def _axes(model: SubjectModel, columns: Columns) -> _Axes:
    kept = columns.masks.any(2).sum(1) >= MIN_PAIRS
    names = tuple(name for name, keep in zip(columns.names, kept, strict=True) if keep)
    left_out = [name for name, keep in zip(columns.names, kept, strict=True) if not keep]
    says = f"Left out, as fewer than {MIN_PAIRS} pairs have them: {', '.join(left_out)}."
    return _Axes(
        tuple(places_of_stream(model)), names, columns.masks[kept], says if left_out else ""
    )


def _map(axes: _Axes, readings: Float[Tensor, "place pair pos"], whole: float) -> HeatMap:
    """Return the means of readings as the heat map of the difference."""
    values, low, high = grids([[_cell(each, mask) for mask in axes.masks] for each in readings])
    return HeatMap(
        "logit-lens",
        "logits of the answers over the wrong ones, if the model stopped there",
        "logits",
        axes.places,
        axes.columns,
        values,
        low,
        high,
        whole,
        says=axes.says,
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
    vocab = model.n_logits
    size = max(1, COMFORTABLE // (WIDTHS * vocab * x.element_size()))
    with torch.no_grad():
        tops = [model.unembed(rows).argmax(-1) for rows in x.flatten(0, 1).split(size)]
    return torch.cat(tops).reshape(x.shape[:2])


def _cell(value: Float[Tensor, "pair pos"], mask: Bool[Tensor, "pair pos"]) -> Estimate:
    present = mask.any(1)
    means = (value * mask).sum(1)[present] / mask.sum(1)[present]
    return mean_estimate(means.numpy())


def _most_common(model: SubjectModel, tokens: Int[Tensor, " place"]) -> TopToken:
    counts = Counter(tokens.tolist())
    token = min(counts, key=lambda token: (-counts[token], token))
    return TopToken(model.text_of([token]), counts[token] / len(tokens))
