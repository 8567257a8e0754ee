"""Where a model is read from, as one line of text: what circuit files, runs and contracts keep.

EleutherAI/pythia-160m                            a directory or a Hugging Face name
EleutherAI/pythia-160m?revision=step1000          the same at a branch, tag or commit
my/model?subfolder=checkpoint-500&adapter=lora    a directory within it; an adapter merged in
weights/model.Q8_0.gguf                           a file of GGUF
weights.pt?reading=reading.toml                   a state dict, and what its shapes do not tell
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from circuitkit.errors import ModelError
from circuitkit.work.text import shown

GGUF = ".gguf"
STATE_DICT = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class ModelSource:
    """A name or path, and what narrows it down; empty where nothing does."""

    name: str
    revision: str = ""
    subfolder: str = ""
    adapter: str = ""
    reading: str = ""

    def __str__(self) -> str:
        """Return the line that `source_of` reads back."""
        given = [(key, getattr(self, key)) for key in PARTS]
        said = "&".join(f"{key}={value}" for key, value in given if value)
        return f"{self.name}?{said}" if said else self.name

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"model {shown(str(self))}"

    @property
    def is_gguf(self) -> bool:
        """Whether it is a file of GGUF."""
        return self.name.lower().endswith(GGUF)

    @property
    def is_state_dict(self) -> bool:
        """Whether it is a file of weights alone."""
        return Path(self.name).suffix.lower() in STATE_DICT and not is_directory(self.name)

    def with_parts(self, **parts: str) -> "ModelSource":
        """Return the same with the parts that are not empty put in."""
        return replace(self, **{key: value for key, value in parts.items() if value})


PARTS = tuple(field.name for field in fields(ModelSource) if field.name != "name")


def source_of(text: str | Path) -> ModelSource:
    """Return what a line says. A path that exists is meant as it is written.

    Raises:
        ModelError: it has a part of another name, one twice, or an empty one.
    """
    name, mark, rest = str(text).rpartition("?")
    if not mark or not name or exists(str(text)):
        return ModelSource(str(text))
    found: dict[str, str] = {}
    for part in rest.split("&"):
        key, equals, value = part.partition("=")
        if not (equals and value) or key not in PARTS or key in found:
            raise ModelError(
                f"model {shown(str(text))}: what follows the question mark must be each of "
                f"{', '.join(PARTS)} at most once, as revision=main, got {shown(part)}. It says "
                "which weights are meant. Mend it, or use the options of these names."
            )
        found[key] = value
    return ModelSource(name, **found)


def exists(text: str) -> bool:
    """Whether a text is the path of something."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or a zero byte
        return False


def is_directory(text: str) -> bool:
    """Whether a text is the path of a directory."""
    return exists(text) and Path(text).is_dir()
