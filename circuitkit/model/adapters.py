"""LoRA adapters (Hu et al. 2021, arXiv:2106.09685), merged into the weights that they change.

    W'  =  W + alpha / r  B A          alpha / sqrt(r) with use_rslora

The sum is computed in float32 at least and rounded once, to the type of W. Weights that an adapter
holds whole (modules_to_save) take the place of the model's. Other kinds of adapters are refused:
what they add depends on the input, or is merged by the library that made them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from circuitkit.errors import ModelError
from circuitkit.model.digests import stored_digest
from circuitkit.model.refusals import first_line
from circuitkit.work.text import shown

CONFIG, SAFETENSORS, PICKLED = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
PREFIX = "base_model.model."
FACTOR = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.default)?(?:\.weight)?")
KEEPS_BASE = ("gaussian", "eva", "orthogonal")  # starts of training by name, of peft
WRAPPERS = re.compile(r"\.(base_layer|modules_to_save(\.default)?)\.")
MERGE = "Merge it with peft (merge_and_unload), save the model, and give that directory."


@dataclass(frozen=True)
class Factors:
    """What is added to one weight: scale B A."""

    a: Float[Tensor, "rank in_"]
    b: Float[Tensor, "out rank"]
    scale: float


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: what is added, by the name of a module, and weights that are replaced."""

    directory: Path
    added: Mapping[str, Factors]
    replaced: Mapping[str, Tensor]
    digest: str


def read_adapter(directory: Path, where: str) -> Adapter:
    """Return the adapter in a directory, read as data alone.

    Raises:
        ModelError: there is none, it cannot be read, or it is of a kind that is not merged.
    """
    at = f"{where}, its adapter"
    try:
        config: Any = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        tensors = _tensors_of(directory)
        kind = str(config["peft_type"])
    except Exception as error:  # json, safetensors and pickle raise many kinds
        raise ModelError(
            f"{at}: must be a directory with {CONFIG} and {SAFETENSORS}, got "
            f"{type(error).__name__}: {first_line(error)}. There is nothing to merge. Check the "
            "path; an adapter on the hub is downloaded first."
        ) from error
    _require_sums(config, kind, at)
    try:
        added = _factors(tensors, config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{at}: must hold lora_A and lora_B for every weight, with r and lora_alpha, got "
            f"{type(error).__name__}: {first_line(error)}. What it adds is not known. {MERGE}"
        ) from error
    replaced = {_name_of(key): x for key, x in tensors.items() if not FACTOR.fullmatch(key)}
    scales = {f"{name} scale": torch.tensor(each.scale) for name, each in added.items()}
    return Adapter(directory, added, replaced, stored_digest({**tensors, **scales}))


def _require_sums(config: Mapping[str, Any], kind: str, at: str) -> None:
    """Refuse an adapter that is not a sum of products, added to its base as that is."""
    if kind != "LORA" or config.get("use_dora"):
        raise ModelError(
            f"{at}: must be plain LoRA, got {'DoRA' if kind == 'LORA' else shown(kind)}. Only sums "
            f"of products are merged here. {MERGE}"
        )
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start not in KEEPS_BASE:
        raise ModelError(
            f"{at}: must be trained from its base as it is, got init_lora_weights {shown(start)}. "
            f"Such a start takes what it adds out of the base's weights first. {MERGE}"
        )


def merge(adapter: Adapter, hf_model: nn.Module, where: str) -> None:
    """Put an adapter into the weights of its base.

    Raises:
        ModelError: the names or the shapes are of another base.
    """
    at = f"{where}, its adapter"
    modules = dict(hf_model.named_modules())
    parameters = dict(hf_model.named_parameters(remove_duplicate=False))  # tied ones twice
    for name, tensor in adapter.replaced.items():
        _require_fit(at, name, parameters.get(name), tensor.shape)
    for name, factors in adapter.added.items():
        shape = (factors.b.shape[0], factors.a.shape[1])
        _require_fit(at, name, _oriented(modules.get(name)), shape)
    with torch.no_grad():
        for name, tensor in adapter.replaced.items():
            owner, _, last = name.rpartition(".")
            # a parameter of its own: a weight that was tied to it stays as it was
            setattr(modules[owner], last, nn.Parameter(tensor.to(parameters[name])))
        for name, factors in adapter.added.items():
            module: Any = modules[name]
            module.weight = nn.Parameter(_merged(module, factors))


def _merged(module: Any, factors: Factors) -> Tensor:
    weight = module.weight
    wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
    a, b = (x.to(weight.device, wide) for x in (factors.a, factors.b))
    change = factors.scale * (b @ a)
    change = change.T if isinstance(module, Conv1D | nn.Embedding) else change
    total: Tensor = (weight.to(wide) + change).to(weight.dtype)
    return total.contiguous()


def _oriented(module: Any) -> Tensor | None:
    """Return the weight of a module as [out, in]; an embedding reads tokens."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        return None
    return weight.T if isinstance(module, Conv1D | nn.Embedding) else weight


def _require_fit(at: str, name: str, own: Tensor | None, shape: Any) -> None:
    if own is not None and tuple(own.shape) == tuple(shape):
        return
    got = "no weight of that name" if own is None else f"one of {list(own.shape)}"
    raise ModelError(
        f"{at}: must be of this model, got a change of {list(shape)} to {shown(name)} where the "
        f"model has {got}. It was trained on another base. adapter_config.json names it; give that "
        "with --model."
    )


def _tensors_of(directory: Path) -> dict[str, Tensor]:
    if (directory / SAFETENSORS).is_file():
        return load_file(directory / SAFETENSORS)
    return dict(torch.load(directory / PICKLED, map_location="cpu", weights_only=True))


def _name_of(key: str) -> str:
    return WRAPPERS.sub(".", key.removeprefix(PREFIX))


def _factors(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Factors]:
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if match := FACTOR.fullmatch(key):
            pairs.setdefault(_name_of(match[1]), {})[match[3]] = tensor
    found = {}
    for name, pair in pairs.items():
        a, b = pair["A"], pair["B"]
        rank = len(a)
        if a.ndim != 2 or b.ndim != 2 or b.shape[1] != rank:
            raise ValueError(f"{name}: B of {list(b.shape)} and A of {list(a.shape)}")
        alpha = _alpha(name, config)
        found[name] = Factors(a, b, alpha / (rank**0.5 if config.get("use_rslora") else rank))
    return found


def _alpha(name: str, config: Mapping[str, Any]) -> float:
    """Return the alpha of a module: of the first pattern that ends its name, or else of all."""
    for pattern, alpha in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", name):
            return float(alpha)
    return float(config["lora_alpha"])
