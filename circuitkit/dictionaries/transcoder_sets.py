"""Transcoders of every layer, in circuit-tracer's layout: a folder with config.yaml.

    transcoder_set          layer_0.safetensors, ...                       one a layer
    cross_layer_transcoder  W_enc_0.safetensors, W_dec_0.safetensors, ...  read at one, write at all
                                                                           layers from there on

Its jump ReLU and its top-k keep negative values: neither applies a ReLU.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float
from torch import Tensor

from circuitkit.dictionaries.dictionary import Activation, Dictionary, Place
from circuitkit.dictionaries.hooks import place_of
from circuitkit.dictionaries.weights import Weights, weights_of
from circuitkit.errors import DictionaryError
from circuitkit.work.reading import read_text_file
from circuitkit.work.text import error_text, shown

CONFIG = "config.yaml"
KINDS = ("transcoder_set", "cross_layer_transcoder")


@dataclass(frozen=True, eq=False)
class TranscoderSet:
    """One transcoder a layer, in the order of layers.

    `decoders` are those of a cross-layer set: [feature, later layer, d_model] by the layer that is
    read, from that layer on; a transcoder's own W_dec is its first. Empty where each writes at its
    own layer alone.
    """

    transcoders: tuple[Dictionary, ...]
    decoders: tuple[Float[Tensor, "feature _layer d_model"], ...] = ()
    name: str = ""

    @property
    def is_cross_layer(self) -> bool:
        """Whether features write at later layers too."""
        return bool(self.decoders)

    def __repr__(self) -> str:
        kind = "cross-layer transcoders" if self.is_cross_layer else "transcoders"
        return f"TranscoderSet({len(self.transcoders)} {kind})"


def read_transcoder_set(folder: Path) -> TranscoderSet:
    """Return the transcoders of a folder.

    Raises:
        DictionaryError: a file is missing or damaged, or of a kind that is not known.
    """
    config, where = _config(folder), f"dictionary {shown(str(folder / CONFIG))}"
    kind = config.get("model_kind")
    if kind not in KINDS:
        raise DictionaryError(
            f"{where}: model_kind must be one of {', '.join(KINDS)}, got {shown(kind)}. It says "
            "which files there are. Use a whole folder."
        )
    is_cross = kind == "cross_layer_transcoder"
    pattern = "W_enc_{}.safetensors" if is_cross else "layer_{}.safetensors"
    layers: list[Path] = []
    while (folder / pattern.format(len(layers))).exists():
        layers.append(folder / pattern.format(len(layers)))
    if not layers:
        raise DictionaryError(
            f"dictionary {shown(str(folder))}: must hold {pattern.format(0)}, got no such file. "
            "There are no weights. Fetch the whole folder."
        )
    n_files = len([*folder.glob(pattern.format("*"))])
    if n_files != len(layers):
        raise DictionaryError(
            f"dictionary {shown(str(folder))}: must hold {pattern.format(len(layers))}, as later "
            f"layers are there, got {n_files} files of which {len(layers)} follow each other. "
            "MLPs without one would have no features. Fetch the whole folder."
        )
    read = _read_cross_layer if is_cross else _read_layer
    found = [read(folder, layer, len(layers), config) for layer in range(len(layers))]
    decoders = tuple(each for _, each in found if each is not None)
    return TranscoderSet(tuple(each for each, _ in found), decoders, str(folder))


def _config(folder: Path) -> dict[str, Any]:
    where = f"dictionary {shown(str(folder / CONFIG))}"
    try:
        found = yaml.safe_load(read_text_file(folder / CONFIG))
    except (FileNotFoundError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DictionaryError(
            f"{where}: must be YAML, got {error_text(error)}. It says how features are computed. "
            "Fetch it again."
        ) from error
    if not isinstance(found, dict):
        raise DictionaryError(
            f"{where}: must be settings by name, got {type(found).__name__}. It says how features "
            "are computed. Fetch it again."
        )
    return found


def _activation(config: dict[str, Any], threshold: Tensor | None, k: Any, where: str) -> Activation:
    told = config.get("activation")
    if told == "topk":
        if not isinstance(k, int) or k < 1:
            raise DictionaryError(
                f"{where}: k must be a whole number of at least 1, got {shown(k)}. So many "
                "features are active at once. Use a whole folder."
            )
        return Activation("topk", k=k, is_rectified=False)
    if told == "relu" or (told is None and threshold is None):
        return Activation()
    if told not in (None, "jump_relu", "jumprelu") or threshold is None:
        raise DictionaryError(
            f"{where}: activation must be topk, relu or, with a threshold, absent, got "
            f"{shown(told)}. Features follow from it. Use another dictionary."
        )
    return Activation("jumprelu", threshold, is_rectified=False)


def _read_layer(
    folder: Path, layer: int, n_layers: int, config: dict[str, Any]
) -> tuple[Dictionary, None]:
    weights = weights_of(folder / f"layer_{layer}.safetensors")
    w_dec = weights.take("W_dec", None, None)
    n = len(w_dec)
    threshold = _threshold(weights, "activation_function.threshold", n)
    k = weights.tensors["k"].tolist() if "k" in weights else config.get("k")
    has_skip, d_in = "W_skip" in weights, weights.take("W_enc", n, None).shape[1]
    activation = _activation(config, threshold, k, weights.where)
    found = Dictionary(
        kind=_kind(activation, has_skip),
        w_enc=weights.take("W_enc", n, None).T,
        b_enc=weights.take("b_enc", n),
        w_dec=w_dec,
        b_dec=weights.take("b_dec", w_dec.shape[1]),
        activation=activation,
        place=_place(config, layer),
        w_skip=weights.take("W_skip", w_dec.shape[1], d_in) if has_skip else None,
        name=f"{folder}, layer {layer}",
    )
    return found, None


def _read_cross_layer(
    folder: Path, layer: int, n_layers: int, config: dict[str, Any]
) -> tuple[Dictionary, Tensor]:
    weights = weights_of(folder / f"W_enc_{layer}.safetensors")
    w_enc = weights.take(f"W_enc_{layer}", None, None).T
    n, later = w_enc.shape[1], n_layers - layer
    decoder = weights_of(folder / f"W_dec_{layer}.safetensors").take(
        f"W_dec_{layer}", n, later, None
    )
    threshold = _threshold(weights, f"threshold_{layer}", n)
    activation = _activation(config, threshold, config.get("k"), weights.where)
    found = Dictionary(
        kind="cross_layer_transcoder",
        w_enc=w_enc,
        b_enc=weights.take(f"b_enc_{layer}", n),
        w_dec=decoder[:, 0],
        b_dec=weights.take(f"b_dec_{layer}", decoder.shape[2]),
        activation=activation,
        place=_place(config, layer),
        name=f"{folder}, layer {layer}",
    )
    return found, decoder


def _threshold(weights: Weights, name: str, n: int) -> Tensor | None:
    if name not in weights:
        return None
    return torch.as_tensor(weights.take(name, n))


def _kind(activation: Activation, has_skip: bool) -> str:
    skip = "skip_" if has_skip else ""
    return {"relu": "", "jumprelu": "jumprelu_", "topk": "topk_"}[activation.kind] + (
        f"{skip}transcoder"
    )


def _place(config: dict[str, Any], layer: int) -> Place:
    reads, writes = (str(config.get(f"feature_{x}_hook", "")) for x in ("input", "output"))
    prefix = f"blocks.{layer}."
    return place_of(prefix + reads, layer, prefix + writes)
