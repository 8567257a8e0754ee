"""Dictionaries in the layouts of other tools: sparsify, dictionary_learning, Gemma Scope.

sparsify             <module>/cfg.json, sae.safetensors        relu, then topk or groupmax
dictionary_learning  config.json, ae.pt                        by its dict_class
Gemma Scope 1        .../layer_L/width_W/.../params.npz        jumprelu, b_dec not subtracted
Gemma Scope 2        params.safetensors, names in small letters, perhaps with a skip
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from circuitkit.dictionaries.dictionary import Activation, Dictionary, Gate, Place
from circuitkit.dictionaries.hooks import place_of_module, place_of_short_name
from circuitkit.dictionaries.weights import Weights, settings_of, weights_of
from circuitkit.errors import DictionaryError
from circuitkit.work.text import shown

Reader = Callable[[Weights, Place, str], Dictionary]


def read_sparsify(folder: Path) -> Dictionary:
    """Return the dictionary of a hook point's folder.

    Raises:
        DictionaryError: a file is missing or damaged, or its settings cannot be honoured.
    """
    cfg, weights = settings_of(folder / "cfg.json"), weights_of(folder / "sae.safetensors")
    where = f"dictionary {shown(str(folder / 'cfg.json'))}"
    kind, k = str(cfg.get("activation", "topk")), cfg.get("k")
    if kind not in ("topk", "groupmax") or not isinstance(k, int) or k < 1:
        raise DictionaryError(
            f"{where}: activation must be topk or groupmax, and k at least 1, got {shown(kind)} "
            f"and {shown(k)}. Features follow from them. Use another dictionary."
        )
    is_transcoder = bool(cfg.get("transcode", False))
    w_dec = weights.take("W_dec", None, None)
    n = len(w_dec)
    w_enc = weights.take("encoder.weight", n, None).T
    skip = weights.take("W_skip", w_dec.shape[1], len(w_enc)) if "W_skip" in weights else None
    return Dictionary(
        kind=_named(kind, is_transcoder, skip),
        w_enc=w_enc,
        b_enc=weights.take("encoder.bias", n),
        w_dec=w_dec,
        b_dec=weights.take("b_dec", w_dec.shape[1]),
        activation=Activation(kind, k=k),
        place=place_of_module(folder.name, is_transcoder=is_transcoder),
        subtracts_b_dec=not is_transcoder,
        w_skip=skip,
        name=str(folder),
    )


def _named(kind: str, is_transcoder: bool, skip: Tensor | None) -> str:
    if not is_transcoder:
        return kind
    return f"{kind}_transcoder" if skip is None else f"{kind}_skip_transcoder"


def read_dictionary_learning(folder: Path) -> Dictionary:
    """Return the dictionary of a folder with ae.pt.

    Raises:
        DictionaryError: a file is missing or damaged, or of a class that is not known.
    """
    told = settings_of(folder / "config.json").get("trainer")
    trainer: Mapping[str, Any] = told if isinstance(told, dict) else {}
    kind, weights = str(trainer.get("dict_class")), weights_of(folder / "ae.pt")
    where = f"dictionary {shown(str(folder / 'config.json'))}"
    if kind not in _CLASSES:
        raise DictionaryError(
            f"{where}: dict_class must be one of {', '.join(_CLASSES)}, got {shown(kind)}. Its "
            "features follow from another formula. Use another dictionary."
        )
    layer = trainer.get("layer")
    name = str(trainer.get("submodule_name") or "")
    place = place_of_short_name(name, layer if isinstance(layer, int) else None)
    read: Reader = _CLASSES[kind]
    return read(weights, place, str(folder))


def _linear(weights: Weights) -> tuple[Tensor, Tensor]:
    """Return W_enc and W_dec of two linear layers."""
    w_dec = weights.take("decoder.weight", None, None).T
    return weights.take("encoder.weight", len(w_dec), w_dec.shape[1]).T, w_dec


def _auto_encoder(weights: Weights, place: Place, name: str) -> Dictionary:
    w_enc, w_dec = _linear(weights)
    old = "bias" in weights
    b_dec = weights.take("bias" if old else "decoder.bias", w_dec.shape[1])
    b_enc = weights.take("encoder.bias", len(w_dec))
    return Dictionary(
        "standard", w_enc, b_enc, w_dec, b_dec, place=place, subtracts_b_dec=old, name=name
    )


def _top_k(weights: Weights, place: Place, name: str, *, by_threshold: bool) -> Dictionary:
    w_enc, w_dec = _linear(weights)
    n = len(w_dec)
    k = float(weights.take("k"))
    if k != int(k):
        raise DictionaryError(
            f"{weights.where}: 'k' must be a whole number, got {k}. So many features are active "
            "at once. Use a whole file."
        )
    activation = Activation("topk", k=int(k))
    if by_threshold:
        threshold = weights.take("threshold").to(w_enc).expand(n).clone()
        activation = Activation("jumprelu", threshold)
    return Dictionary(
        activation.kind,
        w_enc,
        weights.take("encoder.bias", n),
        w_dec,
        weights.take("b_dec", w_dec.shape[1]),
        activation,
        place,
        subtracts_b_dec=True,
        name=name,
    )


def _gated(weights: Weights, place: Place, name: str) -> Dictionary:
    w_enc, w_dec = _linear(weights)
    n = len(w_dec)
    gate = Gate(*(weights.take(part, n) for part in ("gate_bias", "r_mag", "mag_bias")))
    return Dictionary(
        "gated",
        w_enc,
        w_enc.new_zeros(n),
        w_dec,
        weights.take("decoder_bias", w_dec.shape[1]),
        place=place,
        subtracts_b_dec=True,
        gate=gate,
        name=name,
    )


def _jump_relu(weights: Weights, place: Place, name: str, *, subtracts: bool) -> Dictionary:
    w_enc = weights.take("W_enc", None, None)
    n = w_enc.shape[1]
    w_dec = weights.take("W_dec", n, None)
    threshold = weights.take("threshold") if subtracts else weights.take("threshold", n)
    return Dictionary(
        "jumprelu",
        w_enc,
        weights.take("b_enc", n),
        w_dec,
        weights.take("b_dec", w_dec.shape[1]),
        Activation("jumprelu", threshold.to(w_enc).expand(n).clone()),
        place,
        subtracts_b_dec=subtracts,
        name=name,
    )


_CLASSES: Mapping[str, Reader] = {
    "AutoEncoder": _auto_encoder,
    "AutoEncoderNew": _auto_encoder,
    "GatedAutoEncoder": _gated,
    "AutoEncoderTopK": lambda *found: _top_k(*found, by_threshold=False),
    "BatchTopKSAE": lambda *found: _top_k(*found, by_threshold=True),
    "JumpReluAutoEncoder": lambda *found: _jump_relu(*found, subtracts=False),
    "MatryoshkaBatchTopKSAE": lambda *found: _jump_relu(*found, subtracts=True),
}


def read_gemma_scope(path: Path) -> Dictionary:
    """Return the dictionary of a params file. The layer is read from the folders' names.

    Raises:
        DictionaryError: the file is damaged, or of several layers.
    """
    found = weights_of(path)
    names = {"w_enc": "W_enc", "w_dec": "W_dec"}
    weights = Weights(found.where, {names.get(name, name): x for name, x in found.tensors.items()})
    w_dec = weights.tensors.get("W_dec")
    if w_dec is not None and w_dec.ndim == 3:
        raise DictionaryError(
            f"{found.where}: 'w_dec' must be of one layer, got {list(w_dec.shape)}: a cross-layer "
            "transcoder. It is no dictionary of one place. Use circuit-tracer's layout for those."
        )
    w_enc = weights.take("W_enc", None, None)
    n = w_enc.shape[1]
    w_dec = weights.take("W_dec", n, None)
    skip = None
    if "affine_skip_connection" in weights:
        skip = weights.take("affine_skip_connection", len(w_enc), w_dec.shape[1]).T
    layers = [re.fullmatch(r"layer_(\d+)(_.*)?", part) for part in path.parts]
    layer = next((int(match[1]) for match in reversed(layers) if match), None)
    return Dictionary(
        "jumprelu" if skip is None else "jumprelu_skip_transcoder",
        w_enc,
        weights.take("b_enc", n),
        w_dec,
        weights.take("b_dec", w_dec.shape[1]),
        Activation("jumprelu", weights.take("threshold", n)),
        Place(layer),
        w_skip=skip,
        name=str(path),
    )
