"""EAP with integrated gradients: EAP whose gradient is averaged over runs between two ends.

    inputs           mean over k of the gradient of the run whose input is
                     ablated + a_k (clean - ablated);  all else follows from it
    activations      mean over every site (input, each layer's heads, each MLP) and over k of the
                     gradient of the clean run with that site's output held at the same mixture
    clean-corrupted  mean of the gradients of the clean run and of the run from the ablated input

`rule` says where a_k lies for m steps:

    left      a_k = k / m, k = 0 .. m - 1: the ablated end included, the clean not   (inputs)
              a_k = k / m, k = 1 .. m:     the clean end included, the ablated not   (activations)
    midpoint  a_k = (k + 1/2) / m, k = 0 .. m - 1

"left" with m = 5 is what the reference code of EAP-IG computes; the midpoint rule converges faster.
In the limit of many steps the inputs variant is complete: the scores of the edges out of `input`
sum to gain(clean) - gain(ablated input).

Cost in forward and backward passes: m + 1 and m (inputs), S m + 2 and S m for S = 2 layers + 1
sites (activations), 2 and 2 (clean-corrupted). Hanna et al. 2024 (arXiv:2403.17806), section 3, for
inputs (their sign is the opposite); the reference code, github.com/hannamw/EAP-IG, for the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from circuitkit.circuits.graph import EdgeScores
from circuitkit.discovery.method import GradientMethod, require_reading_together, require_slope
from circuitkit.errors import MethodError
from circuitkit.glossary import METHODS
from circuitkit.gradients.terms import Term, Terms, score_edges_by_terms
from circuitkit.interventions.ablation import Ablation, CorruptedRun
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.work import RESAMPLE, Work
from circuitkit.metrics import Metric
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.model.recording import Activations
from circuitkit.moved import old_names
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.progress import Progress, silent

VARIANTS = ("inputs", "activations", "clean-corrupted")
RULES = ("left", "midpoint")
DEFAULT_STEPS = 5


@dataclass(frozen=True)
class IntegrationPath:
    """Between which ends gradients are averaged, in how many steps and by which rule."""

    variant: str = "inputs"
    steps: int = DEFAULT_STEPS
    rule: str = "left"

    def __post_init__(self) -> None:
        for what, value, known in (
            ("variant", self.variant, VARIANTS),
            ("rule", self.rule, RULES),
        ):
            if value not in known:
                raise MethodError(
                    f"EAP-IG: {what} must be one of {', '.join(known)}, got {value!r}. It says "
                    "where gradients are taken. Choose one."
                )
        if self.steps < 1:
            raise MethodError(
                f"EAP-IG: steps must be at least 1, got {self.steps}. Gradients are averaged over "
                f"them. Use {DEFAULT_STEPS} or more."
            )

    def terms(self) -> Terms:
        """Return the runs to differentiate."""
        if self.variant == "inputs":
            return partial(_inputs, self)
        return _ends if self.variant == "clean-corrupted" else partial(_activations, self)

    def mixtures(self, *, clean_end: bool) -> list[float]:
        """Return the shares of the clean side, a_k."""
        if self.rule == "midpoint":
            return [(k + 0.5) / self.steps for k in range(self.steps)]
        return [(k + int(clean_end)) / self.steps for k in range(self.steps)]


def score_edges(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric,
    *,
    path: IntegrationPath | None = None,
    ablation: Ablation = RESAMPLE,
    batch_size: int | None = None,
    memory: int | None = None,
    progress: Progress = silent,
) -> EdgeScores:
    """Return the EAP-IG score of every edge of `model.graph`, in the metric's unit.

    Raises:
        MethodError: the metric has no gradient.
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one pair fits.
    """
    work = Work(ablation, batch_size, memory, progress)
    return score_edges_by_terms(model, pairs, metric, (path or IntegrationPath()).terms(), work)


def _inputs(path: IntegrationPath, runs: PairRuns) -> Iterator[Term]:
    for share in path.mixtures(clean_end=False):
        yield _from_mixture(runs, 1 / path.steps, share)


def _ends(runs: PairRuns) -> Iterator[Term]:
    yield Term(0.5, runs.clean, side="clean")
    yield _from_mixture(runs, 0.5, 0.0)


def _from_mixture(runs: PairRuns, weight: float, share: float) -> Term:
    """Return the run from a mixed input; with nothing clean in it, it is the corrupted run."""
    is_run = isinstance(runs.ablation, CorruptedRun)
    if share == 0.0 and is_run and runs.corrupted.stand_ins is None:
        return Term(weight, runs.corrupted, side="ablated")
    start = runs.clean.entering
    end = runs.corrupted.at_clean(runs.corrupted.entering) if is_run else runs.ablated.input
    return Term(weight, replace(runs.clean, entering=torch.lerp(end, start, share)))


def _activations(path: IntegrationPath, runs: PairRuns) -> Iterator[Term]:
    clean, ablated = runs.clean_activations, runs.ablated
    mixtures = path.mixtures(clean_end=True)
    weight = 1 / (len(mixtures) * (1 + len(clean.z) + len(clean.mlp)))
    for share in mixtures:
        mixed = torch.lerp(ablated.input, clean.input, share)
        yield Term(weight, replace(runs.clean, entering=mixed))
        for point, value in _sites(clean, ablated, share):
            yield Term(weight, runs.clean, {point: _holding(value)})


def _sites(
    clean: Activations, ablated: Activations, share: float
) -> Iterator[tuple[Point, Tensor]]:
    for layer, (ours, theirs) in enumerate(zip(clean.z, ablated.z, strict=True)):
        yield hook_points.written_z(layer), torch.lerp(theirs, ours, share)
    for layer, (ours, theirs) in enumerate(zip(clean.mlp, ablated.mlp, strict=True)):
        yield hook_points.mlp_out(layer), torch.lerp(theirs, ours, share)


def _holding(value: Tensor) -> Hook:
    return lambda _: value


@dataclass(frozen=True)
class EAPIG(GradientMethod):
    """EAP-IG over inputs."""

    name = "eap-ig"
    summary = METHODS["eap-ig"]
    steps: int = DEFAULT_STEPS
    rule: str = "left"

    def __post_init__(self) -> None:
        self._path()

    def terms(self) -> Terms:
        return self._path().terms()

    def _path(self) -> IntegrationPath:
        return IntegrationPath("inputs", self.steps, self.rule)


@dataclass(frozen=True)
class ActivationsEAPIG(EAPIG):
    """EAP-IG over activations, one place at a time."""

    name = "eap-ig-activations"
    summary = METHODS["eap-ig-activations"]

    def prepared(self, model: SubjectModel, metric: Metric, work: Work) -> SubjectModel:
        require_reading_together(model, self.name)
        usable = super().prepared(model, metric, work)
        if self.steps == 1 and self.rule == "left":  # its one step is the clean run
            require_slope(metric, self.name)
        return usable

    def _path(self) -> IntegrationPath:
        return IntegrationPath("activations", self.steps, self.rule)


@dataclass(frozen=True)
class CleanCorrupted(GradientMethod):
    """The mean of the gradients at both ends."""

    name = "clean-corrupted"
    summary = METHODS["clean-corrupted"]

    def terms(self) -> Terms:
        return IntegrationPath("clean-corrupted").terms()


if not TYPE_CHECKING:  # names that moved
    __getattr__ = old_names(__name__)
