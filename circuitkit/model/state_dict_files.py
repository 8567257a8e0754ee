"""A file of weights alone, and the reading file that says what its shapes do not tell.

layout = "mingpt"            # or hooked-transformer (the default), progress-measures
n_heads = 8                  # of mingpt alone: no shape tells
act_fn = "gelu"              # and the other fields of `Reading`
"""

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from circuitkit.errors import ModelError
from circuitkit.model.namings import from_mingpt
from circuitkit.model.refusals import first_line
from circuitkit.model.source import ModelSource
from circuitkit.model.state_dicts import Reading, load_state_dict, renamed
from circuitkit.model.subject import SubjectModel
from circuitkit.work.text import shown

LAYOUTS = ("hooked-transformer", "progress-measures", "mingpt")
NESTED = ("model", "state_dict", "model_state_dict")  # where checkpoints keep the weights
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class ReadingFile:
    """What a reading file says: the naming of the weights, its heads, and the reading itself."""

    layout: str
    n_heads: int
    reading: Reading


def load_state_file(
    source: ModelSource, *, device: str = "cpu", dtype: torch.dtype | None = None
) -> SubjectModel:
    """Return the model of a file of weights alone, read as its reading file says.

    The weights are read as data (`weights_only`): no code in the file is run. `dtype` None: as
    stored.

    Raises:
        ModelError: no such file or reading, or weights that do not fit it.
    """
    where = source.where
    extra = [part for part in ("revision", "subfolder", "adapter") if getattr(source, part)]
    if extra or not source.reading:
        got = " and ".join(extra) or "none"
        raise ModelError(
            f"{where}: a file of weights alone must come with a reading and nothing else, got "
            f"{got}. Its shapes do not tell the activation, the norms or the heads. Add --reading "
            "reading.toml (docs/models.md says what is in it)."
        )
    said = read_reading(Path(source.reading), where)
    tensors = _tensors_of(Path(source.name), where)
    if said.layout == "mingpt":
        tensors = from_mingpt(tensors, said.n_heads)
    elif said.layout == "progress-measures":
        tensors = renamed(tensors)
    kind = dtype or _dtype_of(tensors)
    return load_state_dict(
        tensors, name=str(source), reading=said.reading, dtype=kind, device=device
    )


def read_reading(file: Path, where: str) -> ReadingFile:
    """Return what a reading file says.

    Raises:
        ModelError: it cannot be read, or says something else than a reading.
    """
    at = f"{where}, reading {shown(str(file))}"
    try:
        said: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{at}: must be a file of TOML, got {type(error).__name__}: {first_line(error)}. It "
            'says what the weights\' shapes do not. Write it, as act_fn = "gelu".'
        ) from error
    layout, n_heads = said.pop("layout", LAYOUTS[0]), said.pop("n_heads", 0)
    kinds = {field.name: field.type for field in fields(Reading)}
    wrong = [key for key, value in said.items() if not _fits(value, kinds.get(key))]
    if wrong:
        raise ModelError(
            f"{at}: must have the keys layout, n_heads, {', '.join(kinds)}, of the types that they "
            f"have in Reading, got {shown(wrong[0])} = {said[wrong[0]]!r}. A fact that is not read "
            "would be missed. Mend it."
        )
    if layout not in LAYOUTS:
        raise ModelError(
            f"{at}: layout must be one of {', '.join(LAYOUTS)}, got {layout!r}. It says which "
            "tensor is which. Choose one."
        )
    if (layout == "mingpt") != (type(n_heads) is int and n_heads > 0):
        raise ModelError(
            f"{at}: n_heads must be a positive number with layout mingpt, and left out with the "
            f"others, got {n_heads!r} with {layout}. Only there no shape tells it. Mend it."
        )
    return ReadingFile(layout, n_heads, replace(Reading(), **said))


def _fits(value: Any, kind: Any) -> bool:
    if kind is str:
        return isinstance(value, str)
    return kind is not None and isinstance(value, int | float) and not isinstance(value, bool)


def _tensors_of(file: Path, where: str) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise many kinds
        raise ModelError(
            f"{where}: must be a file of tensors, got {type(error).__name__}: {first_line(error)}. "
            "Weights are read as data alone, and nothing else in a file is. Save its state dict."
        ) from error
    for key in NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict):
        raise ModelError(
            f"{where}: must hold a dictionary of tensors, got {type(found).__name__}. There is "
            "nothing to load. Save the model's state_dict()."
        )
    return dict(found)


def _dtype_of(tensors: dict[str, Tensor]) -> torch.dtype:
    kinds = {x.dtype for x in tensors.values() if isinstance(x, Tensor) and x.is_floating_point()}
    return next(iter(kinds)) if len(kinds) == 1 and kinds <= set(DTYPES) else torch.float32
