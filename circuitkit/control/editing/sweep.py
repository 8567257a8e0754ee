"""One fact edited in every layer, beside what causal tracing says of each.

Where tracing peaks hardly says where an edit works (Hase et al. 2023, arXiv:2301.04213): both are
measured, neither is taken for the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from circuitkit.control.editing.edit import Edit
from circuitkit.control.editing.measures import Measure, Outcome, Unedited, outcome, summary
from circuitkit.control.editing.methods import Recipe, edit_fact
from circuitkit.control.editing.projection import projection_of
from circuitkit.control.editing.questions import Questions
from circuitkit.control.editing.second_moment import SecondMoment
from circuitkit.errors import MethodError, PromptError
from circuitkit.interpretation.experiment import Experiment
from circuitkit.interpretation.sweeps.subject_noise import subject_noise
from circuitkit.interpretation.sweeps.tracing import trace
from circuitkit.metrics import LogitDifference
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.statistics.bootstrap import MIN_PAIRS
from circuitkit.statistics.correlation import rank_correlation
from circuitkit.work.progress import Progress, silent

TRACED, ALL = "traced", "all"
MAX_TRACED = 16  # pairs


@dataclass(frozen=True)
class Traced:
    """What restoring each layer's MLP at the subject gives back, in the metric, and of what."""

    effects: tuple[float, ...]
    total: float

    @property
    def peak(self) -> int:
        """The layer that gives most back."""
        return int(np.argmax(self.effects))


@dataclass(frozen=True)
class AtLayer:
    """The edit of one layer and what it changed; where it was refused, why, and neither."""

    layer: int
    edit: Edit | None
    outcome: Outcome | None
    refused: str = ""

    @property
    def measures(self) -> dict[str, Measure]:
        """What it changed, by name."""
        found = () if self.outcome is None else summary([self.outcome])
        return {measure.name: measure for measure in found}


def traced_layers(model: SubjectModel, questions: Questions, role: str, *, seed: int = 0) -> Traced:
    """Return where tracing finds a fact: each layer's MLP restored at the blurred subject.

    The prompts are the fact's own in all its wordings.

    Raises:
        PromptError: there are fewer wordings than tracing needs.
    """
    if len(questions.pairs) < MIN_PAIRS:
        raise PromptError(
            f"edit: tracing needs the fact in at least {MIN_PAIRS} wordings, got "
            f"{len(questions.pairs)}. A peak in fewer says little. Give the layer with --layer N."
        )
    experiment = Experiment(model, read_pairs(model, questions.pairs), LogitDifference())
    noises = subject_noise(model, experiment.pairs, role, seed=seed)
    found = trace(experiment, noises, "mlp out", window=1)
    column = found.columns.index(role)
    return Traced(tuple(float(row[column]) for row in found.values), float(found.whole or 0.0))


def read_pairs(model: SubjectModel, pairs: Sequence[PromptPair]) -> PromptPairs:
    """Return the first pairs of a fact as tensors."""
    return tokenize_pairs(pairs[:MAX_TRACED], model.tokenizer, drop_misaligned=True)


def layers_named(layer: str, model: SubjectModel) -> tuple[int, ...]:
    """Return the layers to edit: `traced` and `all` stand for every layer with an MLP.

    Raises:
        MethodError: it is neither, nor a layer's number.
    """
    every = range(model.graph.n_layers)
    if layer in (TRACED, ALL):
        return tuple(n for n in every if model.layers[n].mlp is not None)
    if not layer.isdecimal():
        raise MethodError(
            f"--layer: must be {TRACED}, {ALL} or a number from 0 to {len(every) - 1}, got "
            f"{layer!r}. It says which edit is made. Choose one."
        )
    projection_of(model, int(layer))
    return (int(layer),)


def edit_layers(
    base: Unedited,
    layers: Sequence[int],
    moments: dict[int, SecondMoment],
    recipe: Recipe,
    *,
    progress: Progress = silent,
) -> tuple[AtLayer, ...]:
    """Return the fact's edit in each of some layers, with what it changed.

    An edit that one of several layers refuses is reported; that of a single layer raises.

    Raises:
        MethodError: the only layer refuses the edit.
    """
    found = []
    for number, layer in enumerate(layers):
        progress(number, len(layers))
        try:
            edit = edit_fact(base.model, base.questions.fact, layer, moments, recipe)
        except MethodError as error:
            if len(layers) == 1:
                raise
            found.append(AtLayer(layer, None, None, str(error)))
            continue
        found.append(AtLayer(layer, edit, outcome(base, edit.made(base.model))))
    progress(len(layers), len(layers))
    return tuple(found)


def correlation_with_tracing(traced: Traced, made: Sequence[AtLayer], measure: str) -> float | None:
    """Return Spearman's correlation over layers of what tracing gives back with a measure.

    None where fewer than three layers were edited, or one of both does not vary.
    """
    rows = [(traced.effects[each.layer], each) for each in made if each.edit is not None]
    if len(rows) < MIN_PAIRS:
        return None
    effects = np.array([effect for effect, _ in rows])
    values = np.array([each.measures[measure].value for _, each in rows])
    if np.ptp(effects) == 0 or np.ptp(values) == 0:
        return None
    return float(rank_correlation(effects, values))
