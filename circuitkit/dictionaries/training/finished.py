"""A dictionary when its training is done: on plain activations, without scales, as files have it.

pre   = (x - b_dec) W_enc + b_enc           a transcoder's  x W_enc + b_enc
f     = relu(pre), zero but for the k largest (topk) or those above their threshold
y_hat = f W_dec + b_dec                     rows of W_dec have norm 1
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from circuitkit.dictionaries.training.places import TrainedPlace
from circuitkit.dictionaries.training.plan import Plan
from circuitkit.dictionaries.training.weights import Weights, kept_by_token
from circuitkit.model.hook_points import Point, published_name
from circuitkit.work.files import write_together

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"


@dataclass(frozen=True)
class Finished:
    """A trained dictionary. `threshold` is None for topk alone."""

    place: TrainedPlace
    plan: Plan
    w_enc: Float[Tensor, "d_in feature"]
    b_enc: Float[Tensor, " feature"]
    w_dec: Float[Tensor, "feature d_out"]
    b_dec: Float[Tensor, " d_out"]
    threshold: Float[Tensor, " feature"] | None

    @property
    def architecture(self) -> str:
        """What SAELens calls such a dictionary."""
        if self.place.reads_mlp_input:
            return "jumprelu_transcoder"
        return "topk" if self.threshold is None else "jumprelu"

    def encode(self, x: Float[Tensor, "token d_in"]) -> Float[Tensor, "token feature"]:
        """Return the features of activations."""
        centred = x if self.place.reads_mlp_input else x - self.b_dec
        pre = centred @ self.w_enc + self.b_enc
        if self.threshold is None:
            return pre * kept_by_token(pre, self.plan.k)
        return pre.relu() * (pre > self.threshold)

    def decode(self, f: Float[Tensor, "token feature"]) -> Float[Tensor, "token d_out"]:
        """Return the reconstruction that features make."""
        return f @ self.w_dec + self.b_dec

    def stored_as(self, dtype: torch.dtype) -> "Finished":
        """Return the dictionary as it is read back from a file in another type, in float32."""
        rounded = {name: value.to(dtype).float() for name, value in self.tensors().items()}
        return replace(self, **{name.lower(): value for name, value in rounded.items()})  # type: ignore[arg-type]

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by the names that SAELens gives them."""
        named = {"W_enc": self.w_enc, "b_enc": self.b_enc, "W_dec": self.w_dec}
        named["b_dec"] = self.b_dec
        return named if self.threshold is None else named | {"threshold": self.threshold}


def finished(
    place: TrainedPlace, plan: Plan, weights: Weights, one_threshold: float | None
) -> Finished:
    """Return a dictionary that was trained on scaled activations, for plain ones.

    Features are in the units of what they add, so that rows of the decoder keep the norm 1.
    """
    by, threshold = weights.scale_out, None
    if weights.log_threshold is not None:
        threshold = weights.log_threshold.exp() * by
    elif one_threshold is not None:
        threshold = torch.full_like(weights.b_enc, one_threshold * by)
    return Finished(
        place,
        plan,
        (weights.w_enc * (by / weights.scale_in)).contiguous(),
        weights.b_enc * by,
        weights.w_dec.contiguous(),
        weights.b_dec * by,
        threshold,
    )


def save_finished(
    dictionary: Finished, directory: Path, model_name: str, *, stored_as: torch.dtype
) -> None:
    """Write a dictionary in SAELens's layout: all of it, or nothing that looks like one.

    Weights may be stored in half precision; whoever reads them computes in float32.

    Raises:
        OutputError: the directory cannot be made or written.
    """
    tensors = {k: v.to(stored_as).cpu().contiguous() for k, v in dictionary.tensors().items()}
    config = json.dumps(config_of(dictionary, model_name), indent=2) + "\n"
    write_together(directory, {WEIGHTS: save(tensors), CONFIG: config}, last=CONFIG)


def config_of(dictionary: Finished, model_name: str) -> dict[str, object]:
    """Return what SAELens's cfg.json says of a dictionary."""
    place, plan = dictionary.place, dictionary.plan
    metadata: dict[str, object] = {
        "model_name": model_name,
        "hook_name": published_name(place.point),
        "hook_head_index": None,
        "prepend_bos": True,
        "training_architecture": plan.kind,
        "training_k": plan.k,
        "training_steps": plan.steps,
        "training_seed": plan.seed,
        "training_positions": plan.positions,
    }
    if place.reads_mlp_input:
        metadata["hook_name"] = published_name(Point("normed mlp in", place.layer))
        metadata["hook_name_out"] = published_name(place.point)
    config: dict[str, object] = {
        "architecture": dictionary.architecture,
        "d_in": dictionary.w_enc.shape[0],
        "d_sae": dictionary.w_enc.shape[1],
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": not place.reads_mlp_input,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": metadata,
    }
    if place.reads_mlp_input:
        config["d_out"] = dictionary.w_dec.shape[1]
    if dictionary.architecture == "topk":
        config |= {"k": plan.k, "rescale_acts_by_decoder_norm": False}
    return config
