"""The models that ship, by name; every other name is a directory or a Hugging Face name."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from circuitkit.errors import ModelError
from circuitkit.model import SubjectModel, load_directory
from circuitkit.model.source import ModelSource, source_of
from circuitkit.model.state_dict_files import load_state_file
from circuitkit.work.text import counted
from circuitkit.zoo.planted import BLUEPRINTS, PREFIX, planted

DTYPES = {
    "auto": None,  # as the weights are stored
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
        ZooModel(
            "pico-behaviours",
            "pico trained further on refusal, sycophancy, truth, a backdoor and a liar",
            Path(__file__).parent / "behaviours" / "weights",
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
    dtype: str | torch.dtype = "auto",
    trust_remote_code: bool = False,
    revision: str = "",
    subfolder: str = "",
    adapter: str = "",
    reading: str = "",
) -> SubjectModel:
    """Return a model by zoo name, local directory, file or Hugging Face name, and prove it fits.

    `device` is cpu, cuda, cuda:1 and so on; auto is the GPU where there is one, else the CPU.
    `dtype` auto is the type that the weights are stored in.

    `revision` is a branch, tag or commit of a Hugging Face name, `subfolder` a directory within,
    `adapter` a directory with a LoRA adapter, which is merged in. A file of weights alone, as
    weights.pt, needs a `reading` file. A name may say all this by itself, and so the model is
    called then: `EleutherAI/pythia-160m?revision=step1000`. Planted models may have a difficulty
    and a seed, as `planted-ioi:backup:1`.

    Files of Python that come with a model are run only with `trust_remote_code`.

    On random tokens, the model taken apart must compute what its own code computes.

    Raises:
        ModelError: no such model, damaged weights, or an unknown dtype or device.
        DecompositionError: the architecture cannot be taken apart exactly.
    """
    kind = dtype_named(dtype)
    given = {"revision": revision, "subfolder": subfolder, "adapter": adapter, "reading": reading}
    return _loaded(source_of(name).with_parts(**given), device, kind, trust_remote_code)


def _loaded(
    source: ModelSource, device: str, kind: torch.dtype | None, trust_remote_code: bool
) -> SubjectModel:
    if source.name.startswith(PREFIX):
        return _planted_model(source, device, kind or torch.float32)
    if source.is_state_dict:
        return load_state_file(source, device=device, dtype=kind)
    shipped = next((m.directory for m in zoo_models() if m.name == source.name), None)
    return load_directory(
        source if shipped is None else replace(source, name=str(shipped)),
        name=str(source),
        device=device,
        dtype=kind,
        trust_remote_code=trust_remote_code and shipped is None,
    )


def _planted_model(source: ModelSource, device: str, dtype: torch.dtype) -> SubjectModel:
    if str(source) != source.name:
        raise ModelError(
            f"{source.where}: a planted model must be taken as it is, got more than its name. It "
            "is made by hand, and has no files. Leave the rest out."
        )
    return planted(source.name).model(device=device, dtype=dtype)


def dtype_named(dtype: str | torch.dtype) -> torch.dtype | None:
    """Return the torch type of a name; None for auto.

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
