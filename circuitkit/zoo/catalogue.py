"""The models that ship, by name; every other name is a directory or a Hugging Face name."""

from dataclasses import dataclass
from pathlib import Path

import torch

from circuitkit.errors import ModelError
from circuitkit.model import SubjectModel, load_directory

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class ZooModel:
    """A model that ships: its name, what it is, and the directory of its files."""

    name: str
    description: str
    directory: Path


def zoo_models() -> tuple[ZooModel, ...]:
    """Return the models that ship."""
    return (
        ZooModel(
            "pico",
            "4 layers, 4 heads, d_model 128, trained on IOI, repeated sequences and facts",
            Path(__file__).parent / "pico" / "weights",
        ),
    )


def load_model(
    name: str | Path, *, device: str = "cpu", dtype: str | torch.dtype = torch.float32
) -> SubjectModel:
    """Return a model by zoo name, local directory or Hugging Face name, and prove it fits.

    On random tokens, the model taken apart must compute what its own code computes.

    Raises:
        ModelError: no such model, damaged weights, or an unknown dtype or device.
        DecompositionError: the architecture cannot be taken apart exactly.
    """
    directory = next((m.directory for m in zoo_models() if m.name == str(name)), Path(name))
    source = str(name) if directory == Path(name) else directory
    return load_directory(source, name=str(name), device=device, dtype=dtype_named(dtype))


def dtype_named(dtype: str | torch.dtype) -> torch.dtype:
    """Return the torch type of a name.

    Raises:
        ModelError: it is not one of DTYPES.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise ModelError(
            f"dtype {dtype!r}: must be one of {', '.join(DTYPES)}. It is the type of the weights "
            "and activations. Choose one."
        )
    return DTYPES[dtype]
