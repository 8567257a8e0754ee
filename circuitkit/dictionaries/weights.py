"""The tensors of a dictionary's files, read without running anything, and checked."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from circuitkit.errors import DictionaryError
from circuitkit.work.reading import DAMAGED, UnreadableError, parse_json, read_text_file
from circuitkit.work.text import error_text, shown


@dataclass(frozen=True)
class Weights:
    """The tensors of a file by name, and what messages call it."""

    where: str
    tensors: Mapping[str, Tensor]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def take(self, name: str, *shape: int | None) -> Tensor:
        """Return a tensor of a shape, None standing for any size.

        Raises:
            DictionaryError: there is none, or it has another shape.
        """
        if name not in self.tensors:
            raise DictionaryError(
                f"{self.where}: must hold {name!r}, got {shown(sorted(self.tensors))}. Features "
                "cannot be computed without it. Use a whole file of this format."
            )
        found = self.tensors[name]
        if shape and (not found.is_floating_point() or not found.numel()):
            raise DictionaryError(
                f"{self.where}: {name!r} must hold some floats, got {list(found.shape)} of "
                f"{str(found.dtype).removeprefix('torch.')}. Features are computed with it. Use "
                "a file that was not changed."
            )
        sizes = zip(found.shape, shape, strict=False)
        if found.ndim != len(shape) or any(n not in (None, size) for size, n in sizes):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise DictionaryError(
                f"{self.where}: {name!r} must have the shape [{wanted}], got {list(found.shape)}. "
                "It does not fit the other weights. Use a file that was not changed."
            )
        return found


def weights_of(path: Path) -> Weights:
    """Return the tensors of a file of safetensors, numpy or PyTorch.

    Raises:
        DictionaryError: it is missing, damaged, holds code, NaN or infinity, or other data.
    """
    where = f"dictionary {shown(str(path))}"
    try:
        found = _read(path)
    except FileNotFoundError as error:
        raise DictionaryError(
            f"{where}: must exist, got no such file. There are no weights. Check the path."
        ) from error
    except pickle.UnpicklingError as error:
        raise DictionaryError(
            f"{where}: must hold tensors alone, got a pickle with code. Reading it would run that. "
            "Ask for the weights as safetensors."
        ) from error
    except (*DAMAGED, SafetensorError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise DictionaryError(
            f"{where}: must be a whole file of tensors, got {error_text(error)}. It may have been "
            "cut short. Fetch it again."
        ) from error
    found = {name: _plain(x, name, where) for name, x in found.items()}
    _require_finite(found, where)
    return Weights(where, found)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict):
        raise UnreadableError(f"{type(found).__name__} in place of tensors by name")
    return {str(name): x for name, x in found.items() if isinstance(x, Tensor)}


def _plain(tensor: Tensor, name: str, where: str) -> Tensor:
    """Return a tensor that can be computed with.

    Raises:
        DictionaryError: it is of a type that cannot.
    """
    if tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype.itemsize < 2):
        raise DictionaryError(
            f"{where}: {name!r} must be floats of 16 bits or more, got "
            f"{str(tensor.dtype).removeprefix('torch.')}. It cannot be computed with. Store the "
            "weights as float32."
        )
    return tensor


def _require_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DictionaryError(
                f"{where}: {name!r} must be finite numbers, got NaN or infinity. Every feature "
                "would be. Fetch the file again."
            )


def settings_of(path: Path) -> dict[str, object]:
    """Return the settings in a JSON file beside the weights.

    Raises:
        DictionaryError: it is missing, or no JSON object.
    """
    where = f"dictionary {shown(str(path))}"
    try:
        found = parse_json(read_text_file(path))
    except (FileNotFoundError, UnreadableError) as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise DictionaryError(
            f"{where}: must be a JSON object, got {got}. It says how features are computed. Fetch "
            "it again."
        ) from error
    if not isinstance(found, dict):
        raise DictionaryError(
            f"{where}: must be a JSON object, got {type(found).__name__}. It says how features "
            "are computed. Fetch it again."
        )
    return found
