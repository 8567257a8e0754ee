"""Causal tracing: where is what the model knows of a subject, and where is it fetched?

    total effect     gain(clean run) - gain(noised run)
    indirect effect  gain(noised run with clean values restored at one place) - gain(noised run)

The noised run is the clean prompt with Gaussian noise added to what enters block 0 at the subject's
tokens (subject_noise.py). Restored is, at one column of positions, the residual stream behind a
layer, or what the MLPs or the attention of a window of layers add to it; all that follows is
computed anew. Effects are means over noise samples, then over pairs with their 95 % interval;
positive where the place supports the behaviour; unit: the metric's. Meng et al. 2022
(arXiv:2202.05262, section 2.1).

Noise breaks whatever reads the subject, also the attention that has to find it: a place that
restores nothing may still hold the fact (Zhang and Nanda 2024, arXiv:2309.16042). Any other run may
therefore stand in for the noised one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.errors import MethodError, PromptError
from circuitkit.interpretation.experiment import Experiment, first_pairs
from circuitkit.interpretation.section import HeatMap, Section, grids
from circuitkit.interpretation.sweeps.subject_noise import N_NOISE, subject_noise
from circuitkit.interventions.ablation import NOISE_FACTOR, CorruptedRun
from circuitkit.interventions.patching import patch_places
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.sites import Place, site_named
from circuitkit.model import SubjectModel, hook_points
from circuitkit.prompts.columns import Columns, by_role
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import (
    MIN_PAIRS,
    Estimate,
    Values,
    estimate,
    mean_estimate,
    ratio_of_means,
)
from circuitkit.validation.case import Case
from circuitkit.work.progress import Progress, silent

WINDOW_SHARE = 10 / 48  # of the layers, as Meng et al. choose for GPT-2 XL
RESIDUAL = "residual stream"
RESTORED = {RESIDUAL: "resid", "mlp out": "mlp", "attention out": "attn"}  # to the site's name


@dataclass(frozen=True)
class Blur:
    """How a subject is blurred: the role ("": `default_subject`), samples, spread, and the seed."""

    subject: str = ""
    n: int = N_NOISE
    factor: float = NOISE_FACTOR
    seed: int = 0


def measured(case: Case, progress: Progress = silent) -> Section:
    """Return where a case's subject is kept and fetched, on its first validation pairs.

    Raises:
        PromptError: no role differs between the prompts of every pair.
    """
    experiment = Experiment(case.model, first_pairs(case), case.metric, case.memory)
    return section(trace_facts(experiment, Blur(seed=case.seed), progress=progress))


def section(maps: Sequence[HeatMap]) -> Section:
    """Return the maps of tracing as a section."""
    reading = (
        "The subject's tokens are blurred with noise, then the clean value is put back at one "
        "place: means over pairs of what that gives back, each cell on its own. A place that gives "
        "nothing back may still hold the fact."
    )
    return Section("tracing", "Causal tracing", reading, pictures=tuple(maps))


def trace_facts(
    experiment: Experiment,
    blur: Blur | None = None,
    *,
    window: int = 0,
    progress: Progress = silent,
) -> tuple[HeatMap, ...]:
    """Return the heat maps of the residual stream, of MLPs (if there are any) and of attention.

    `window` is the number of layers restored together (0: `default_window`). Each `says` where most
    is given back.

    Raises:
        PromptError: a pair lacks the role, the metric's labels are missing, or too few pairs.
        MethodError: no noise, no sample, or a window that is not in the model.
        ActivationError: an activation of either run is NaN or infinite.
        MemoryBudgetError: not even one run of one pair fits.
    """
    blur, model = blur or Blur(), experiment.model
    noises = subject_noise(
        model, experiment.pairs, blur.subject, n=blur.n, factor=blur.factor, seed=blur.seed
    )
    what = [name for name in RESTORED if name != "mlp out" or model.graph.has_mlps]
    window_of(model, window)  # a window that is not in the model is refused before the first map

    def part(i: int) -> Progress:
        return lambda done, total: progress(i * 1000 + 1000 * done // total, len(what) * 1000)

    return tuple(
        trace(experiment, noises, name, window=window, progress=part(i))
        for i, name in enumerate(what)
    )


def trace(
    experiment: Experiment,
    corruptions: Sequence[CorruptedRun],
    restored: str,
    *,
    window: int = 0,
    columns: Callable[[PromptPairs], Columns] = by_role,
    progress: Progress = silent,
) -> HeatMap:
    """Return the indirect effects of restoring one of RESTORED in each layer at each column.

    `corruptions` give the runs that are repaired: those of `subject_noise`, or others.

    Raises:
        PromptError: fewer than MIN_PAIRS pairs, or the metric's labels are missing.
        MethodError: a window that is not in the model, no corruption, or an unknown `restored`.
        GraphError: the model has no MLPs to restore.
    """
    model, pairs, unit = experiment.model, experiment.pairs, experiment.metric.unit
    _require_pairs(pairs)
    places = _places(model, restored, window_of(model, window))
    at = columns(pairs)
    effects, total = indirect_effects(experiment, places, at, corruptions, progress)
    values, low, high = grids([[mean_estimate(cell) for cell in row] for row in effects.numpy()])
    rows = tuple(place.name for place in places)
    return HeatMap(
        f"tracing, {restored}",
        f"what restoring the {restored} gives back of {experiment.metric.name}",
        unit,
        rows,
        at.names,
        values,
        low,
        high,
        whole=float(total.mean()),
        says=_says(restored, rows, at.names, effects.numpy(), total.numpy(), unit),
    )


def indirect_effects(
    experiment: Experiment,
    places: Sequence[Place],
    columns: Columns,
    corruptions: Sequence[CorruptedRun],
    progress: Progress = silent,
) -> tuple[Float[Tensor, "place column pair"], Float[Tensor, " pair"]]:
    """Return indirect and total effects on each pair, each the mean over the corruptions.

    Raises:
        MethodError: there is no corruption.
    """
    if not corruptions:
        raise MethodError(
            "causal tracing: needs at least one corrupted run, got none. There is nothing to "
            "repair. Give one, as `subject_noise` does."
        )
    n, n_pairs = len(corruptions), len(experiment.pairs)
    effects: Tensor = torch.zeros(len(places), len(columns.names), n_pairs, dtype=torch.float64)
    total: Tensor = torch.zeros(n_pairs, dtype=torch.float64)
    for i, corruption in enumerate(corruptions):

        def part(done: int, cells: int, before: int = i) -> None:
            progress(before * cells + done, n * cells)

        found = patch_places(
            experiment.model,
            experiment.pairs,
            places,
            columns,
            metric=experiment.metric,
            direction=Direction.DENOISING,
            corruption=corruption,
            memory=experiment.memory,
            progress=part,
        )
        effects += found.effects / n
        total += found.gap / n
    return effects, total


def default_window(model: SubjectModel) -> int:
    """Return how many layers are restored together: as large a share as in Meng et al."""
    return max(1, round(WINDOW_SHARE * model.graph.n_layers))


def window_of(model: SubjectModel, window: int) -> int:
    """Return the number of layers to restore together; 0 gives the default.

    Raises:
        MethodError: it is not in the model.
    """
    n_layers = model.graph.n_layers
    if not 0 <= window <= n_layers:
        raise MethodError(
            f"causal tracing: the window must be from 1 to {n_layers} layers in model "
            f"{model.name!r} (0: {default_window(model)}), got {window}. So many layers are "
            "restored together. Choose another."
        )
    return window or default_window(model)


def _require_pairs(pairs: PromptPairs) -> None:
    if len(pairs) < MIN_PAIRS:
        raise PromptError(
            f"causal tracing: needs at least {MIN_PAIRS} pairs, got {len(pairs)}. A spread cannot "
            "be seen in fewer. Raise --n."
        )


def _places(model: SubjectModel, restored: str, window: int) -> tuple[Place, ...]:
    """Return the places from the first layer to the last; windows are cut off at the ends."""
    if restored not in RESTORED:
        raise MethodError(
            f"causal tracing: what is restored must be one of {', '.join(RESTORED)}, got "
            f"{restored!r}. Choose one."
        )
    n = model.graph.n_layers
    if restored == RESIDUAL:
        # behind a layer is in front of the next, where a run can begin
        behind = [hook_points.resid_pre(layer) for layer in range(1, n)]
        points = [hook_points.resid_pre(0), *behind, hook_points.resid_post(n - 1)]
        names = ["embedding", *(f"layer {layer}" for layer in range(n))]
        return tuple(Place(name, point) for name, point in zip(names, points, strict=True))
    points = [place.point for place in site_named(RESTORED[restored]).places(model)]
    windows = [
        range(max(0, layer - window // 2), min(n, layer + (window + 1) // 2)) for layer in range(n)
    ]
    return tuple(
        Place(_layers(w), points[w[0]], also=tuple(points[layer] for layer in w[1:]))
        for w in windows
    )


def _layers(layers: range) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}-{layers[-1]}"


def _says(
    restored: str,
    rows: Sequence[str],
    columns: Sequence[str],
    effects: Values,
    total: Values,
    unit: str,
) -> str:
    """Say in words where most of the total effect comes back, with shares of it."""
    whole = mean_estimate(total)
    if whole.low <= 0:
        return f"nothing to trace: the total effect is {whole} {unit}"

    def share(row: int, column: int) -> Estimate:
        return estimate((effects[row, column], total), ratio_of_means)

    means = effects.mean(-1)
    best = means.argmax(1)
    row = int(means.max(1).argmax())
    if share(row, int(best[row])).low <= 0:
        return f"restoring {restored} gives back nothing of the total effect {whole} {unit}"
    if restored != RESIDUAL:
        at = f"{restored} of {rows[row]} at {columns[best[row]]}"
        found = share(row, int(best[row]))
        return f"restoring {at} gives back {found} of the total effect {whole} {unit}"
    stretches = [list(same) for _, same in groupby(range(len(rows)), key=lambda i: int(best[i]))]
    parts = []
    for stretch in stretches:
        least = min(stretch, key=lambda i: float(means[i].max()))
        to = f" to {rows[stretch[-1]]}" if len(stretch) > 1 else ""
        column = int(best[stretch[0]])
        parts.append(
            f"at {columns[column]} from {rows[stretch[0]]}{to} (at least {share(least, column)})"
        )
    where = ", then ".join(parts)
    return f"the {restored} gives back most of the total effect {whole} {unit} {where}"
