"""The models that ship, by name; every other name is a directory or a Hugging Face name."""

from dataclasses import dataclass
from pathlib import Path

import torch

from circuitkit.errors import ModelError
from circuitkit.model import SubjectModel, load_directory
from circuitkit.work.text import counted
from circuitkit.zoo.planted import BLUEPRINTS, PREFIX, planted

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class ZooModel:
    """A model that ships: its name, what it is, and the directory of its files, if it has any."""

    name: str
    description: str
    directory: Path | None = None


def zoo_models() -> tuple[ZooModel, ...]:
    """Return the models that ship."""
    return (
        ZooModel(
            "pico",
            "4 layers, 4 heads, d_model 128, trained on IOI, repeated sequences and facts",
            Path(__file__).parent / "pico" / "weights",
        ),
        *(ZooModel(name, _of_planted(name)) for name in BLUEPRINTS),
    )


def _of_planted(name: str) -> str:
    blueprint = BLUEPRINTS[name]()
    size = f"{counted(blueprint.n_layers, 'layer')}, {counted(blueprint.n_heads, 'head')}"
    return f"{size}, made by hand: the true circuit is known (task {blueprint.task})"


def load_model(
    name: str | Path,
    *,
    device: str = "cpu",
    dtype: str | torch.dtype = torch.float32,
    trust_remote_code: bool = False,
) -> SubjectModel:
    """Return a model by zoo name, local directory or Hugging Face name, and prove it fits.

    Planted models may have a difficulty and a seed, as `planted-ioi:backup:1`.

    `device` is cpu, cuda, cuda:1 and so on; auto is the GPU where there is one, else the CPU.

    Files of Python that come with a model are run only with `trust_remote_code`.

    On random tokens, the model taken apart must compute what its own code computes.

    Raises:
        ModelError: no such model, damaged weights, or an unknown dtype or device.
        DecompositionError: the architecture cannot be taken apart exactly.
    """
    if str(name).startswith(PREFIX):
        return planted(str(name)).model(device=device, dtype=dtype_named(dtype))
    directory = next((m.directory for m in zoo_models() if m.name == str(name)), None)
    return load_directory(
        directory or str(name),
        name=str(name),
        device=device,
        dtype=dtype_named(dtype),
        trust_remote_code=trust_remote_code and directory is None,
    )


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
