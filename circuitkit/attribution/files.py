"""Transcoders read from the folders of circuit-tracer. No code in a file is run.

    config.yaml              model_kind, feature_input_hook, feature_output_hook, activation, k
    layer_I.safetensors      W_enc [feature, d], b_enc, W_dec [feature, d], b_dec, W_skip [d, d]
    W_enc_I.safetensors      cross-layer: W_enc_I, b_enc_I, b_dec_I, threshold_I
    W_dec_I.safetensors      cross-layer: W_dec_I [feature, layers from I on, d]

The activation is `activation` of the config (topk with k, relu); without it a jump ReLU where the
file has a threshold, else ReLU.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from circuitkit.attribution.transcoders import Transcoder, Transcoders
from circuitkit.errors import ModelError
from circuitkit.model.hook_points import FEATURE_READS, FEATURE_WRITES
from circuitkit.work.text import error_text

CONFIG = "config.yaml"
PER_LAYER, CROSS_LAYER = "transcoder_set", "cross_layer_transcoder"
ACTIVATIONS = ("", "relu", "jump_relu", "topk")
THRESHOLD = "activation_function.threshold"


def read_transcoders(folder: str | Path) -> Transcoders:
    """Return the transcoders of a folder in circuit-tracer's layout.

    Raises:
        ModelError: a file is missing or damaged, or says what cannot be honoured.
    """
    folder = Path(folder)
    config = _config_of(folder)
    kind = config.get("model_kind", "")
    if kind not in (PER_LAYER, CROSS_LAYER):
        raise _refusal(folder, "model_kind", f"{PER_LAYER} or {CROSS_LAYER}", kind)
    reads, writes = config.get("feature_input_hook", ""), config.get("feature_output_hook", "")
    if reads not in FEATURE_READS:
        raise _refusal(folder, "feature_input_hook", "one of " + ", ".join(FEATURE_READS), reads)
    if writes not in FEATURE_WRITES:
        raise _refusal(folder, "feature_output_hook", "one of " + ", ".join(FEATURE_WRITES), writes)
    activation = config.get("activation", "")
    if activation not in ACTIVATIONS:
        raise _refusal(folder, "activation", "relu, jump_relu or topk", activation)
    make = _cross_layer if kind == CROSS_LAYER else _per_layer
    stem = "W_enc_{}.safetensors" if kind == CROSS_LAYER else "layer_{}.safetensors"
    n_layers = len([*folder.glob(stem.format("*"))])
    if not n_layers:
        raise _refusal(folder, "files", stem.format("0") + " and further ones", "none")
    layers = tuple(make(folder, layer, config) for layer in range(n_layers))
    return Transcoders(layers, FEATURE_READS[reads], folder.name, config.get("model_name", ""))


def _config_of(folder: Path) -> dict[str, str]:
    """Return the plain `key: value` lines of the config."""
    try:
        text = (folder / CONFIG).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"transcoders {str(folder)!r}: must be a folder with {CONFIG}, got "
            f"{error_text(error)}. It says where features read. Give such a folder."
        ) from error
    lines = (line.partition("#")[0].partition(":") for line in text.splitlines())
    return {key.strip(): value.strip().strip("'\"") for key, colon, value in lines if colon}


def _per_layer(folder: Path, layer: int, config: Mapping[str, str]) -> Transcoder:
    path = folder / f"layer_{layer}.safetensors"
    found = _tensors(path, ("W_enc", "b_enc", "W_dec", "b_dec"))
    k = int(found["k"]) if "k" in found else None
    return Transcoder(
        found["W_enc"],
        found["b_enc"],
        found["W_dec"].unsqueeze(1),
        found["b_dec"],
        found.get("W_skip"),
        **_activity(path, config, found.get(THRESHOLD), k),
    )


def _cross_layer(folder: Path, layer: int, config: Mapping[str, str]) -> Transcoder:
    path, decoder = (folder / f"W_{part}_{layer}.safetensors" for part in ("enc", "dec"))
    names = [f"{name}_{layer}" for name in ("W_enc", "b_enc", "b_dec")]
    found = _tensors(path, names)
    writes = _tensors(decoder, (f"W_dec_{layer}",))[f"W_dec_{layer}"]
    encoder, encoder_bias, decoder_bias = (found[name] for name in names)
    activity = _activity(path, config, found.get(f"threshold_{layer}"), None)
    return Transcoder(encoder, encoder_bias, writes, decoder_bias, **activity)


def _activity(
    path: Path, config: Mapping[str, str], threshold: Tensor | None, k: int | None
) -> dict[str, Any]:
    """Return the threshold or the k of the activation."""
    activation = config.get("activation", "")
    if activation == "topk":
        said = config.get("k", "")
        if k is None and not said.isdigit():
            raise _refusal(path.parent, "k", "a whole number, as activation is topk", said)
        return {"k": int(said) if k is None else k, "threshold": None}
    if activation == "jump_relu" and threshold is None:
        raise _refusal(path, "threshold", "there, as activation is jump_relu", "none")
    return {"k": None, "threshold": None if activation == "relu" else threshold}


def _tensors(path: Path, names: tuple[str, ...] | list[str]) -> dict[str, Tensor]:
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"transcoders {str(path)!r}: must be a whole safetensors file, got "
            f"{error_text(error)}. Features would be missing. Download it again."
        ) from error
    for name in names:
        if name not in found:
            raise _refusal(path, name, "in the file", ", ".join(sorted(found)))
    return found


def _refusal(path: Path, key: str, rule: str, got: str) -> ModelError:
    return ModelError(
        f"transcoders {str(path)!r}, {key}: must be {rule}, got {got or 'nothing'}. Features "
        "cannot be computed without it. Use a folder as circuit-tracer writes them."
    )
