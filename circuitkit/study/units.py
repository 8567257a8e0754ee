"""Which units MLPs are taken apart into: the few that do most get names, the rest stay together.

Two stages, so that a graph of 10^4 neurons need never be built: every unit of every MLP is scored
by one gradient (gradients/units.py), and the best become senders, and where they read for
themselves receivers, of the graph whose edges are then scored, selected and judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.circuit import kind_of
from circuitkit.circuits.graph import NodeScores
from circuitkit.circuits.recipe import UnitsRecipe
from circuitkit.circuits.units import FEATURE, LETTERS, NEURON, Units
from circuitkit.dictionaries.dictionary import Dictionary
from circuitkit.dictionaries.reading import load_dictionary
from circuitkit.dictionaries.transcoder_sets import TranscoderSet
from circuitkit.errors import DictionaryError, GraphError, MethodError
from circuitkit.gradients.units import score_units
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.budget import pairs_per_batch
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import record
from circuitkit.model.units import MLPUnits, all_neurons, features_of, neurons_of, taken_apart
from circuitkit.names import UNITS
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.text import shown
from circuitkit.zoo.dictionaries import load_dictionaries, shipped_folders

N_TRIED = 64  # pairs that show how much dictionaries explain
NEURONS, FEATURES, TRANSCODER = UNITS
READS = {  # of a dictionary's place, what MLPUnits calls it
    "mlp out": "output", "resid mid": "input", "mlp normed": "normed", "mlp scaled": "scaled",
}  # fmt: skip


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
    if asked.dictionaries and asked.kind not in (FEATURES, TRANSCODER):
        raise MethodError(
            f"--dictionaries: must come with --units {FEATURES} or {TRANSCODER}, got "
            f"{asked.kind or 'none'}. Only features have dictionaries. Leave it out."
        )


def choose_units(
    model: SubjectModel, pairs: PromptPairs, metric: Metric, asked: UnitsRecipe
) -> InUnits:
    """Return the model with its best units named, chosen on these pairs by attribution.

    Raises:
        MethodError: the metric has no gradient.
        DecompositionError: an MLP does not come apart into such units.
        DictionaryError: a dictionary cannot be read, or does not fit the model.
    """
    every = _every_unit(model, asked)
    whole = taken_apart(model, every)
    reasons = _explained(whole, pairs)
    # units are narrow: a batch that fits the model as it is fits all its units
    size = pairs_per_batch(model, pairs, None)
    scores = score_units(whole, pairs, metric, Work(ResampleAblation(), batch_size=size))
    chosen = _best(scores, every, asked)
    apart = taken_apart(model, {spec.layer: _named(model, every, spec) for spec in chosen})
    return InUnits(apart, scores, (_sentence(scores, chosen, asked), *reasons))


def as_units(model: SubjectModel, specs: Sequence[Units], recipe: UnitsRecipe) -> SubjectModel:
    """Return the model with its MLPs taken apart into given units.

    Raises:
        GraphError: a layer that the model does not have.
        DecompositionError: an MLP does not come apart into such units.
        DictionaryError: a dictionary cannot be read, or is not the one the units are of.
    """
    beyond = [spec.layer for spec in specs if spec.layer >= model.graph.n_layers]
    if beyond:
        raise GraphError(
            f"units: layers must be from 0 to {model.graph.n_layers - 1} in model {model.name!r}, "
            f"got {beyond[0]}. The circuit is of another architecture. Name the model it was made "
            "for."
        )
    needs = any(spec.kind == FEATURE for spec in specs)
    every = _every_unit(model, recipe) if needs else {}
    return taken_apart(model, {spec.layer: _named(model, every, spec) for spec in specs})


def _named(model: SubjectModel, every: Mapping[int, MLPUnits], spec: Units) -> MLPUnits:
    """Return the MLP of a layer with only some of its units named."""
    where, mlp = f"model {model.name!r}, m{spec.layer}", model.layers[spec.layer].mlp
    if spec.kind == NEURON:
        return neurons_of(mlp, spec, where)
    whole = every.get(spec.layer)
    if whole is None or whole.spec.dictionary != spec.dictionary or whole.code is None:
        got = "none" if whole is None else f"one with digest {whole.spec.dictionary}"
        raise DictionaryError(
            f"{where}: features must be of the dictionary with digest {spec.dictionary}, got "
            f"{got}. Their numbers mean other features there. Give --dictionaries as when the "
            "circuit was found."
        )
    return features_of(mlp, spec, whole.code, whole.reads, where)


def _every_unit(model: SubjectModel, asked: UnitsRecipe) -> dict[int, MLPUnits]:
    """Return every MLP that can be taken apart, with all its units named."""
    if asked.kind == NEURONS:
        return {
            layer: all_neurons(block.mlp, layer, f"model {model.name!r}, m{layer}")
            for layer, block in enumerate(model.layers)
        }
    found = {}
    for dictionary in _dictionaries(model, asked):
        layer = _layer_of(dictionary, model, asked)
        if layer in found:
            raise DictionaryError(
                f"dictionaries: must be one of each layer, got two of layer {layer}: "
                f"{shown(dictionary.name)} is the second. Each takes an MLP apart in its own way. "
                "Give a folder with one of each."
            )
        spec = Units(
            layer,
            FEATURE,
            tuple(range(dictionary.n_features)),
            asked.kind == TRANSCODER,
            dictionary.digest,
        )
        code = dictionary.to(model.dtype, model.device)
        where = f"model {model.name!r}, m{layer}"
        reads = READS[dictionary.place.reads]
        found[layer] = features_of(model.layers[layer].mlp, spec, code, reads, where)
    return found


def _dictionaries(model: SubjectModel, asked: UnitsRecipe) -> tuple[Dictionary, ...]:
    if asked.dictionaries:
        found = load_dictionaries(asked.dictionaries)
        if isinstance(found, TranscoderSet) and found.is_cross_layer:
            raise DictionaryError(
                f"dictionaries {shown(asked.dictionaries)}: must each write at one layer, got "
                "cross-layer transcoders. Their features are parts of no single MLP. Use "
                "`circuitkit attribute` for these."
            )
        return found.transcoders if isinstance(found, TranscoderSet) else found
    folders = shipped_folders(model.name, "-transcoder" if asked.kind == TRANSCODER else "")
    if not folders:
        raise DictionaryError(
            f"--units {asked.kind}: model {model.name!r} must have dictionaries, got none: they "
            "ship for pico alone. Features are theirs. Give --dictionaries FOLDER, or train some "
            "with `circuitkit train-sae`."
        )
    return tuple(load_dictionary(folder) for folder in folders)


def _layer_of(dictionary: Dictionary, model: SubjectModel, asked: UnitsRecipe) -> int:
    """Return the layer whose MLP a dictionary takes apart.

    Raises:
        DictionaryError: it does not fit an MLP of the model, or is of another kind than asked.
    """
    place, where = dictionary.place, f"dictionary {shown(dictionary.name)}"
    if place.layer is None or place.reads not in READS or place.writes != "mlp out":
        raise DictionaryError(
            f"{where}: must say that it is of what an MLP writes, got "
            f"{shown(place.hook or 'no place')}. Only MLPs are taken apart. Use a dictionary of "
            "an MLP's output, or a transcoder."
        )
    if place.layer >= model.graph.n_layers or dictionary.d_out != model.graph.d_model:
        raise DictionaryError(
            f"{where}: must fit model {model.name!r} of {model.graph.n_layers} layers, d_model "
            f"{model.graph.d_model}, got one of layer {place.layer}, width {dictionary.d_out}. It "
            "belongs to another model. Give that model, or other dictionaries."
        )
    if (place.reads == "mlp out") is (asked.kind == TRANSCODER):
        is_one = "an SAE of what it writes" if asked.kind == TRANSCODER else "a transcoder"
        raise DictionaryError(
            f"{where}: --units {asked.kind} must have "
            f"{'transcoders' if asked.kind == TRANSCODER else 'SAEs'}, got {is_one}. They read "
            f"elsewhere. Use --units {FEATURES if asked.kind == TRANSCODER else TRANSCODER}."
        )
    return place.layer


def _explained(model: SubjectModel, pairs: PromptPairs) -> tuple[str, ...]:
    """Return how much of what MLPs write their features explain on some clean prompts.

    Raises:
        DictionaryError: a dictionary explains no more than the mean does.
    """
    if not any(units.has_error for units in model.graph.units):
        return ()
    batch = pairs.select(range(min(N_TRIED, len(pairs)))).clean_batch
    seen = record(model, batch)[0]
    mask = batch.mask.to(model.device)
    shares = {}
    for spec, error in zip(model.graph.units, seen.errors, strict=True):
        shares[spec.layer] = explained_variance(seen.mlp[spec.layer][mask], error[mask])
        if shares[spec.layer] <= 0:
            raise DictionaryError(
                f"model {model.name!r}, m{spec.layer}: a dictionary must explain more of what the "
                f"MLP writes than its mean does, got {shares[spec.layer]:.2f} of the variance. It "
                "belongs to another model, layer or place. Check --dictionaries."
            )
    said = ", ".join(f"{share:.0%} of m{layer}" for layer, share in shares.items())
    return (f"On these prompts the features explain {said}; the errors are components too.",)


def explained_variance(
    whole: Float[Tensor, "token d_model"], error: Float[Tensor, "token d_model"]
) -> float:
    """Return which share of the variance of `whole` is left when `error` is taken off.

    1 - sum |error|^2 / sum |whole - its mean|^2.
    """
    around = (whole - whole.mean(0)).double()
    return 1 - float(error.double().square().sum()) / float(around.square().sum())


def _best(
    scores: NodeScores, every: Mapping[int, MLPUnits], asked: UnitsRecipe
) -> tuple[Units, ...]:
    """Return the units with the `n` largest scores by magnitude, layer by layer."""
    places = [
        (layer, number)
        for layer, units in sorted(every.items())
        for number in (*units.spec.numbers, *[None] * (1 + units.spec.has_error))
    ]
    is_one = torch.tensor([number is not None for _, number in places])
    strength = torch.where(is_one, scores.values.abs(), -1.0)
    by_layer: dict[int, list[int]] = {}
    for rank in torch.argsort(strength, descending=True, stable=True)[: asked.n].tolist():
        layer, number = places[rank]
        if number is not None and float(strength[rank]) > 0:
            by_layer.setdefault(layer, []).append(number)
    return tuple(
        replace(
            every[layer].spec,
            numbers=tuple(sorted(numbers)),
            read_alone=asked.kind != FEATURES,
        )
        for layer, numbers in sorted(by_layer.items())
    )


def _sentence(scores: NodeScores, chosen: Sequence[Units], asked: UnitsRecipe) -> str:
    """Return how many units were named, and how much of all attribution they hold."""
    named = {name for units in chosen for name, kind in units.kinds.items() if kind in LETTERS}
    known = scores.by_name().items()
    of_units = {name: abs(score) for name, score in known if kind_of(name) in LETTERS}
    total = sum(of_units.values())
    share = sum(of_units[name] for name in named) / total if total else 0.0
    what = {NEURONS: "neurons", FEATURES: "features", TRANSCODER: "transcoder features"}[asked.kind]
    return (
        f"Of {len(of_units):,} {what}, the {len(named)} with the largest attribution are "
        f"components of their own; they hold {share:.0%} of all attribution to them. The others "
        "of an MLP are one component."
    )
