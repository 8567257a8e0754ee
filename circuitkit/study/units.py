"""Which units MLPs are taken apart into: the few that do most get names, the rest stay together.

Two stages, so that a graph of 10^4 neurons need never be built: every unit of every MLP is scored
by one gradient (gradients/units.py), and the best become senders, and where they read for
themselves receivers, of the graph whose edges are then scored, selected and judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from circuitkit.circuits.circuit import kind_of
from circuitkit.circuits.graph import NodeScores
from circuitkit.circuits.recipe import UnitsRecipe
from circuitkit.circuits.units import NEURON, Units
from circuitkit.errors import MethodError
from circuitkit.gradients.units import score_units
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.units import MLPUnits, all_neurons, neurons_of, taken_apart
from circuitkit.names import UNITS
from circuitkit.prompts.pairs import PromptPairs

N_UNITS = 64  # that are named, where nothing else is said


@dataclass(frozen=True)
class InUnits:
    """A model taken apart, every unit's score, and in sentences how those were chosen."""

    model: SubjectModel
    scores: NodeScores
    reasons: tuple[str, ...]


def require_kind(asked: UnitsRecipe) -> None:
    """Refuse units that are none.

    Raises:
        MethodError: the kind is not known, or no unit is asked for.
    """
    if asked.kind and asked.kind not in UNITS:
        raise MethodError(
            f"--units: must be one of {', '.join(UNITS)}, got {asked.kind!r}. It says what MLPs "
            "are taken apart into. Choose one, or leave it out."
        )
    if asked.kind and asked.n < 1:
        raise MethodError(
            f"--n-units: must be at least 1, got {asked.n}. So many units have a name of their "
            "own. Give more, or leave --units out."
        )


def choose_units(
    model: SubjectModel, pairs: PromptPairs, metric: Metric, asked: UnitsRecipe
) -> InUnits:
    """Return the model with its best units named, chosen on these pairs by attribution.

    Raises:
        MethodError: the metric has no gradient.
        DecompositionError: an MLP does not come apart into such units.
    """
    every = {
        layer: all_neurons(block.mlp, layer, f"model {model.name!r}, m{layer}")
        for layer, block in enumerate(model.layers)
    }
    scores = score_units(taken_apart(model, every), pairs, metric, Work(ResampleAblation()))
    chosen = _best(scores, every, asked.n)
    apart = as_units(model, chosen, asked.dictionaries)
    return InUnits(apart, scores, (_sentence(scores, chosen, asked),))


def as_units(model: SubjectModel, specs: Sequence[Units], dictionaries: str) -> SubjectModel:
    """Return the model with its MLPs taken apart into given units.

    Raises:
        DecompositionError: an MLP does not come apart into such units.
    """
    found = {}
    for spec in specs:
        where = f"model {model.name!r}, m{spec.layer}"
        found[spec.layer] = neurons_of(model.layers[spec.layer].mlp, spec, where)
    return taken_apart(model, found)


def _best(scores: NodeScores, every: Mapping[int, MLPUnits], n: int) -> tuple[Units, ...]:
    """Return the units with the `n` largest scores by magnitude, layer by layer."""
    places = [
        (layer, number)
        for layer, units in every.items()
        for number in (*units.spec.numbers, *[None] * (1 + units.spec.has_error))
    ]
    strength = torch.where(
        torch.tensor([number is None for _, number in places]), -1.0, scores.values.abs()
    )
    ranked = torch.argsort(strength, descending=True, stable=True)[:n].tolist()
    by_layer: dict[int, list[int]] = {}
    for rank in ranked:
        layer, number = places[rank]
        if number is not None and float(strength[rank]) > 0:
            by_layer.setdefault(layer, []).append(number)
    return tuple(
        replace(every[layer].spec, numbers=tuple(sorted(numbers)), read_alone=True)
        for layer, numbers in sorted(by_layer.items())
    )


def _sentence(scores: NodeScores, chosen: Sequence[Units], asked: UnitsRecipe) -> str:
    """Return how many units were named, and how much of all attribution they hold."""
    named = {name for units in chosen for name, kind in units.kinds.items() if kind == NEURON}
    known = scores.by_name().items()
    of_units = {name: abs(score) for name, score in known if kind_of(name) == NEURON}
    total = sum(of_units.values())
    share = sum(of_units[name] for name in named) / total if total else 0.0
    return (
        f"Of {len(of_units):,} {asked.kind}, the {len(named)} with the largest attribution are "
        f"components of their own; they hold {share:.0%} of all attribution to {asked.kind}. The "
        "others of an MLP are one component."
    )
