"""Dictionaries in SAELens's layout: cfg.json and sae_weights.safetensors, read and written.

Folders of all versions are read: flat settings before version 6, nested ones since. What their
settings say and no formula of theirs honours is refused by name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from circuitkit.dictionaries.dictionary import Activation, Dictionary, Gate
from circuitkit.dictionaries.hooks import place_of
from circuitkit.dictionaries.weights import Weights, settings_of, weights_of
from circuitkit.errors import DictionaryError
from circuitkit.work.files import write_together
from circuitkit.work.text import shown

SETTINGS, WEIGHTS = "cfg.json", "sae_weights.safetensors"
ARCHITECTURES = (
    "standard", "gated", "jumprelu", "topk",
    "transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder",
)  # fmt: skip
NORMALISATIONS = {False: "none", None: "none", True: "expected_average_only_in"}
OUTSIDE = {
    "expected_average_only_in": "its factor is not in the file, and without it features are wrong",
    "covariance_whitening": "the tool that writes it runs it without",
}


def read_saelens(folder: Path) -> Dictionary:
    """Return the dictionary of a folder.

    Raises:
        DictionaryError: a file is missing or damaged, or its settings cannot be honoured.
    """
    cfg = settings_of(folder / SETTINGS)
    where = f"dictionary {shown(str(folder / SETTINGS))}"
    kind = _kind(cfg, where)
    is_transcoder = "transcoder" in kind
    weights = weights_of(folder / WEIGHTS)
    w_enc = weights.take("W_enc", None, None)
    w_dec = weights.take("W_dec", w_enc.shape[1], None)
    n = len(w_dec)
    _require_no_scale(weights)
    activation, factor = _activation(kind, cfg, weights, w_dec, where)
    hook = _told(cfg, "hook_name") or _told(cfg, "hook_point")
    writes = str(_told(cfg, "hook_name_out") or "") if is_transcoder else ""
    has_gate = kind == "gated"
    b_enc = w_enc.new_zeros(n) if has_gate else weights.take("b_enc", n)
    gate = [weights.take(name, n) for name in ("b_gate", "r_mag", "b_mag")] if has_gate else []
    w_skip = weights.take("W_skip", w_dec.shape[1], len(w_enc)) if "skip" in kind else None
    return Dictionary(
        kind=kind,
        w_enc=w_enc * factor,
        b_enc=b_enc * factor,
        w_dec=w_dec / factor.unsqueeze(1),
        b_dec=weights.take("b_dec", w_dec.shape[1]),
        activation=activation,
        place=place_of(str(hook or ""), _layer(cfg), writes),
        subtracts_b_dec=bool(cfg.get("apply_b_dec_to_input", True)) and not is_transcoder,
        normalisation=_normalisation(cfg, where),
        gate=Gate(*gate) if gate else None,
        w_skip=w_skip,
        name=str(folder),
        link=str(_told(cfg, "neuronpedia_id") or ""),
    )


def _told(cfg: Mapping[str, Any], key: str) -> Any:
    """Return what the settings say, at the top (before version 6) or in their metadata."""
    metadata = cfg.get("metadata")
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return cfg.get(key) if found is None else found


def _layer(cfg: Mapping[str, Any]) -> int | None:
    layer = _told(cfg, "hook_point_layer")
    return layer if isinstance(layer, int) else None


def _kind(cfg: Mapping[str, Any], where: str) -> str:
    kind = str(cfg.get("architecture", "standard"))
    told = str(cfg.get("activation_fn_str", cfg.get("activation_fn", "relu")))
    if kind == "standard" and told == "topk":
        kind = "topk"
    if kind not in ARCHITECTURES:
        raise DictionaryError(
            f"{where}: architecture must be one of {', '.join(ARCHITECTURES)}, got {shown(kind)}. "
            "Its features follow from another formula. Use another dictionary."
        )
    if told not in ("relu", "topk"):
        raise DictionaryError(
            f"{where}: the activation must be relu or topk, got {shown(told)}. The tool that "
            "writes such files runs them as relu all the same. Use another dictionary."
        )
    return kind


def _normalisation(cfg: Mapping[str, Any], where: str) -> str:
    told = cfg.get("normalize_activations", "none")
    name = str(NORMALISATIONS.get(told, told) if isinstance(told, bool | None) else told)
    if name in OUTSIDE or name not in ("none", "layer_norm", "constant_norm_rescale"):
        why = OUTSIDE.get(name, "no such rule is known")
        raise DictionaryError(
            f"{where}: normalize_activations must be none, layer_norm or constant_norm_rescale, "
            f"got {shown(name)}: {why}. Fold the scale into the weights, or use another "
            "dictionary."
        )
    return name


def _activation(
    kind: str, cfg: Mapping[str, Any], weights: Weights, w_dec: Tensor, where: str
) -> tuple[Activation, Float[Tensor, " feature"]]:
    """Return the activation, and what features are multiplied with in front of it."""
    n, factor = len(w_dec), w_dec.new_ones(len(w_dec))
    if kind.startswith("jumprelu"):
        if "threshold" in weights or "log_threshold" not in weights:
            return Activation("jumprelu", weights.take("threshold", n)), factor
        return Activation("jumprelu", weights.take("log_threshold", n).exp()), factor
    if kind != "topk":
        return Activation(), factor
    kwargs = cfg.get("activation_fn_kwargs")
    k = cfg.get("k", kwargs.get("k") if isinstance(kwargs, dict) else None)
    if not isinstance(k, int | float) or int(k) != k or k < 1:
        raise DictionaryError(
            f"{where}: k must be a whole number of at least 1, got {shown(k)}. So many features "
            "are active at once. Use a whole file."
        )
    if cfg.get("rescale_acts_by_decoder_norm"):
        factor = w_dec.norm(dim=1)
        if not bool((factor > 0).all()):
            raise DictionaryError(
                f"{weights.where}: 'W_dec' must have no row of zeros, got one. Features are "
                "scaled by the length of their rows. Use a file that was not changed."
            )
    return Activation("topk", k=int(k)), factor


def _require_no_scale(weights: Weights) -> None:
    scale = weights.tensors.get("scaling_factor")
    if scale is not None and not bool((scale == 1).all()):
        raise DictionaryError(
            f"{weights.where}: 'scaling_factor' must be ones, got others. Tools differ in whether "
            "they use it. Fold it into W_dec and W_enc."
        )


def save_dictionary(
    dictionary: Dictionary,
    folder: Path,
    *,
    model: str = "",
    told: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a dictionary as a folder that SAELens reads too, each file whole or not at all.

    `told` is added to the metadata. Weights are stored as `dtype`, or as they are.

    Raises:
        DictionaryError: no such file can say what it is.
        OutputError: the place cannot be written.
    """
    cfg = _settings(dictionary, model, told or {}, dtype or dictionary.w_enc.dtype)
    kept = {"W_enc": dictionary.w_enc, "W_dec": dictionary.w_dec, "b_dec": dictionary.b_dec}
    if dictionary.gate is None:
        kept["b_enc"] = dictionary.b_enc
    else:
        kept |= {name: getattr(dictionary.gate, name) for name in ("b_gate", "r_mag", "b_mag")}
    if dictionary.activation.threshold is not None:
        kept["threshold"] = dictionary.activation.threshold
    if dictionary.w_skip is not None:
        kept["W_skip"] = dictionary.w_skip
    tensors = {name: x.detach().cpu().to(dtype or x.dtype).contiguous() for name, x in kept.items()}
    settings = json.dumps(cfg, indent=1) + "\n"
    write_together(folder, {WEIGHTS: save(tensors), SETTINGS: settings}, last=SETTINGS)


def _settings(
    dictionary: Dictionary, model: str, told: Mapping[str, Any], dtype: torch.dtype
) -> dict[str, Any]:
    activation, place = dictionary.activation, dictionary.place
    named = "jumprelu" if "jumprelu" in dictionary.kind else dictionary.kind
    wanted = named if named in ("jumprelu", "topk") else "relu"
    is_plain = activation.is_rectified and activation.kind == wanted
    written = f"blocks.{place.layer}.hook_mlp_out" if dictionary.is_transcoder else ""
    back = place_of(place.hook, place.layer, written)
    stands = (back.reads, back.writes) == (place.reads, place.writes) or not back.reads
    if dictionary.kind not in ARCHITECTURES or not is_plain or not stands:
        raise DictionaryError(
            f"dictionary of kind {dictionary.kind!r}: must be one of {', '.join(ARCHITECTURES)} "
            "with rectified features that follow by it, at a place that TransformerLens names, to "
            f"be written, got {activation.kind} at {place.reads or 'no place'}, writing "
            f"{place.writes or 'nowhere'}. No settings of that layout say so. Keep the files that "
            "it came from."
        )
    cfg: dict[str, Any] = {
        "architecture": dictionary.kind,
        "d_in": dictionary.d_in,
        "d_sae": dictionary.n_features,
        "dtype": str(dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": dictionary.subtracts_b_dec,
        "normalize_activations": dictionary.normalisation,
        "reshape_activations": "hook_z" if place.reads == "z" else "none",
        "metadata": {"model_name": model, "hook_name": place.hook, **told},
    }
    if dictionary.is_transcoder:
        cfg["d_out"] = dictionary.d_out
        cfg["metadata"]["hook_name_out"] = written
    if dictionary.kind == "topk":
        cfg |= {"k": dictionary.activation.k, "rescale_acts_by_decoder_norm": False}
    return cfg
