"""Transcoders for attribution graphs, from dictionaries of any layout that is read."""

from pathlib import Path

import torch

from circuitkit.attribution.transcoders import Transcoder, Transcoders
from circuitkit.dictionaries.dictionary import Dictionary
from circuitkit.dictionaries.transcoder_sets import TranscoderSet
from circuitkit.errors import DictionaryError
from circuitkit.work.text import shown
from circuitkit.zoo.dictionaries import load_dictionaries, shipped_folders

READS = {"resid mid": "resid mid", "mlp scaled": "normalised", "mlp normed": "mlp"}


def read_transcoders(folder: str | Path = "", *, model: str = "") -> Transcoders:
    """Return the transcoders in a folder, or else those that ship for a model of this name.

    A folder is circuit-tracer's, or holds one folder for each layer.

    Raises:
        DictionaryError: a file is missing or damaged, or these are not one transcoder a layer.
    """
    if str(folder):
        return transcoders_of(load_dictionaries(folder), str(folder))
    folders = shipped_folders(model, "-transcoder")
    if not folders:
        raise DictionaryError(
            f"--dictionaries: must name a folder for model {shown(model)}, got none: transcoders "
            "ship for pico alone. Features are theirs. Give a folder, or train some with "
            "`circuitkit train-sae --kind transcoder`."
        )
    found = tuple(each for place in folders for each in _all_of(place))
    return transcoders_of(found, f"{model}'s own")


def _all_of(folder: Path) -> tuple[Dictionary, ...]:
    found = load_dictionaries(folder)
    return found.transcoders if isinstance(found, TranscoderSet) else found


def transcoders_of(found: tuple[Dictionary, ...] | TranscoderSet, name: str) -> Transcoders:
    """Return transcoders as attribution graphs take them, by layer.

    Raises:
        DictionaryError: they are not one transcoder a layer, reading alike.
    """
    each = found.transcoders if isinstance(found, TranscoderSet) else found
    transcoders = [
        one for one in each if one.place.reads in READS and one.place.writes == "mlp out"
    ]
    transcoders.sort(key=lambda one: -1 if one.place.layer is None else one.place.layer)
    layers = [one.place.layer for one in transcoders]
    reads = {one.place.reads for one in transcoders}
    if not layers or layers != list(range(len(layers))) or len(reads) != 1:
        raise DictionaryError(
            f"dictionaries {shown(name)}: must be one transcoder of what an MLP reads for each "
            f"layer from 0 on, all reading alike, got layers {layers} reading {sorted(reads)}. "
            "MLPs without one would have no nodes. Give the transcoders of all layers."
        )
    decoders = found.decoders if isinstance(found, TranscoderSet) else ()
    made = [
        _transcoder(one, decoders[layer] if decoders else one.w_dec.unsqueeze(1))
        for layer, one in enumerate(transcoders)
    ]
    return Transcoders(tuple(made), READS[reads.pop()], Path(name).name)


def _transcoder(one: Dictionary, decoder: torch.Tensor) -> Transcoder:
    """Return one transcoder.

    Raises:
        DictionaryError: its features follow from a rule that graphs do not know.
    """
    activation = one.activation
    known = activation.kind in ("relu", "jumprelu", "topk") and one.gate is None
    if not known or one.normalisation != "none" or one.subtracts_b_dec:
        got = "a gate" if one.gate is not None else one.normalisation
        raise DictionaryError(
            f"dictionary {shown(one.name)}: features must follow from relu, jump ReLU or top-k "
            f"of what is read as it is, got {activation.kind} and {got}. Edges would not be "
            "exact. Use other transcoders."
        )
    threshold = activation.threshold
    if threshold is not None and activation.is_rectified:
        threshold = threshold.clamp_min(0.0)
    return Transcoder(
        one.w_enc.T,
        one.b_enc,
        decoder,
        one.b_dec,
        one.w_skip,
        threshold,
        activation.k or None,
        is_rectified=activation.is_rectified,
    )
