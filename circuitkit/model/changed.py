"""A second model with some weights changed, which shares all others with the first.

The model that is changed is never touched: what was computed with it stays true of it, and an
intervention is undone, to the bit, by dropping what it made.
"""

import copy
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from circuitkit.errors import ModelError
from circuitkit.model.loading import from_bridge, from_hf
from circuitkit.model.quantised import is_quantised
from circuitkit.model.subject import SubjectModel
from circuitkit.work.directories import replace_directory
from circuitkit.work.files import is_folder
from circuitkit.work.text import shown

WRAPPER = "_original_component."  # what TransformerBridge puts in front of a wrapped module's names
LAST_FILE = "config.json"
WEIGHT_ENDS = (".safetensors", ".bin", ".index.json", "adapter_config.json")  # of another model


def with_weights(
    model: SubjectModel, weights: Mapping[str, Tensor], *, name: str = ""
) -> SubjectModel:
    """Return a second model in which some weights are others.

    `weights` go by the names of the Hugging Face model's state dict, as
    "transformer.h.3.mlp.c_proj.weight", in the shape that they have there; `weight_name` says the
    name of a module. A tied weight follows its twin, unless both are named. The model's taking
    apart is checked again. `name`: what the second model is called (default: as the first).

    Raises:
        ModelError: no such weight, another shape, NaN or infinite values, or quantised weights.
    """
    where = f"model {model.name!r}, changed weights"
    _require_own_parts(model, where)
    if model.origin is None:
        bridge = _bridge_sharing_weights(model.bridge)
        _put(bridge.original_model, (bridge, bridge.original_model), weights, where)
        found = from_bridge(
            bridge,
            name=name or model.name,
            tokenizer=model.tokenizer,
            softmax_share=model.softmax_share,
        )
        return found
    twin = _own_tree(model, where)
    _put(twin, (twin,), weights, where)
    return from_hf(twin, model.tokenizer, name=name or model.name)


def weight_name(model: SubjectModel, module: nn.Module) -> str:
    """Return what a part of a model is called in its state dict, as "transformer.h.3.mlp.c_proj".

    Raises:
        ModelError: it is no part of the model, or has no weights of its own in the files.
    """
    inner = model.bridge.original_model
    paths = [n for n, m in inner.named_modules(remove_duplicate=False) if m is module]
    # a wrapper has its parts under names of its own too, as "attn.o" beside "attn.c_proj"
    found = next((n for n in paths if _is_of_files(inner, n)), paths[0] if paths else None)
    name = "" if found is None else _plain(found + ".").removesuffix(".")
    if not name or "weight" not in {_plain(n) for n, _ in module.named_parameters()}:
        raise ModelError(
            f"model {model.name!r}: a part whose weights are changed must be one with weights of "
            f"its own, got {type(module).__name__} ({name or 'not of this model'}). They cannot "
            "be named. Choose the output projection of a head or an MLP, or the embedding."
        )
    return name


def named_weights(model: SubjectModel) -> Mapping[str, Tensor]:
    """Return every weight by the name that `with_weights` knows it by.

    Nothing is copied; a model that was read from files is read again.

    Raises:
        ModelError: the weights are quantised.
    """
    if model.origin is None:
        return _by_name(model.bridge.original_model)
    return _by_name(_own_tree(model, f"model {model.name!r}, its weights"))


def save_model(model: SubjectModel, directory: Path) -> None:
    """Write a model, and its tokenizer, as Hugging Face files. A directory is whole or not there.

    Raises:
        ModelError: it was not made from Hugging Face files or objects, or is quantised.
        OutputError: the directory cannot be made or written.
    """
    where = f"model {model.name!r}, saving"
    _require_own_parts(model, where)
    if model.origin is None:
        raise ModelError(
            f"{where}: must come from a Hugging Face model, got one of a bridge. Its files would "
            "be of no known architecture. Save its state dict instead."
        )
    twin = _own_tree(model, where)
    with TemporaryDirectory(prefix="circuitkit-model-") as folder:
        twin.save_pretrained(folder)
        if model.tokenizer is not None:
            model.tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
    others = directory.iterdir() if is_folder(directory) else ()
    stale = {path.name for path in others if path.name.endswith(WEIGHT_ENDS)} - files.keys()
    replace_directory(directory, files, last=LAST_FILE, stale=stale)


def _is_of_files(inner: nn.Module, path: str) -> bool:
    """Return whether a path goes through what wrappers wrap, as names in the files do."""
    key, module = WRAPPER.removesuffix("."), inner
    for name in path.split("."):
        if key in module._modules and name != key:
            return False
        module = module.get_submodule(name)
    return True


def _require_own_parts(model: SubjectModel, where: str) -> None:
    """Refuse a model that computes otherwise than its weights say: that would be lost."""
    if model.is_recomputed:
        raise ModelError(
            f"{where}: must be a model that computes what its weights say, got one with rescaled "
            "parts, or MLPs that are taken apart. That would be lost. Change the weights first."
        )


def _own_tree(model: SubjectModel, where: str) -> Any:
    """Return the Hugging Face model in modules of its own, which share every weight."""
    assert model.origin is not None
    twin = model.origin()
    if is_quantised(twin):
        raise ModelError(
            f"{where}: weights must be plain numbers, got quantised ones. A changed weight could "
            "not be held in their type. Load the model in bfloat16 or float32."
        )
    return twin if twin.device == model.device else twin.to(model.device)


def _bridge_sharing_weights(bridge: Any) -> Any:
    inner = bridge.original_model
    tensors = chain(
        *(m.parameters() for m in (bridge, inner)), *(m.buffers() for m in (bridge, inner))
    )
    return copy.deepcopy(bridge, {id(tensor): tensor for tensor in tensors})


def _plain(name: str) -> str:
    return name.replace(WRAPPER, "")


def _by_name(module: nn.Module) -> dict[str, nn.Parameter]:
    found: dict[str, nn.Parameter] = {}
    for name, weight in module.named_parameters(remove_duplicate=False):
        found.setdefault(_plain(name), weight)
    return found


def _put(
    names: nn.Module, trees: tuple[nn.Module, ...], weights: Mapping[str, Tensor], where: str
) -> None:
    """Replace weights wherever they stand in the trees."""
    known = _by_name(names)
    checked = {name: _checked(name, value, known, where) for name, value in weights.items()}
    own = {id(known[name]): value for name, value in checked.items()}
    untied = {id(known[n]) for n in checked for o in checked if n != o and known[n] is known[o]}
    for tree in trees:
        for path, module in list(tree.named_modules(remove_duplicate=False)):
            for key, weight in module._parameters.items():
                name = _plain(f"{path}.{key}" if path else key)
                if weight is None or id(weight) not in own:
                    continue
                is_named = name in checked or id(weight) not in untied
                module._parameters[key] = checked.get(name, own[id(weight)]) if is_named else weight
    if untied and hasattr(names, "config"):
        names.config.tie_word_embeddings = False  # type: ignore[union-attr]


def _checked(
    name: str, value: Tensor, known: Mapping[str, nn.Parameter], where: str
) -> nn.Parameter:
    if name not in known:
        near = sorted(known)[:3]
        raise ModelError(
            f"{where}: a name must be one of the model's state dict, got {shown(name)}. There is "
            f"nothing to change. Names here are as {', '.join(near)}."
        )
    weight = known[name]
    if value.shape != weight.shape:
        raise ModelError(
            f"{where}, {name}: must have the shape {tuple(weight.shape)}, got "
            f"{tuple(value.shape)}. It takes the weight's place. Give one of that shape."
        )
    own = value.detach().to(weight.device, weight.dtype).clone()
    if not bool(torch.isfinite(own).all()):
        raise ModelError(
            f"{where}, {name}: must be finite, got NaN or infinity. Every logit would be NaN. "
            "Check what it was computed from."
        )
    return nn.Parameter(own, requires_grad=False)
