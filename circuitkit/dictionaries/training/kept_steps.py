"""What training has done, in one file of tensors: written whole or not at all, and read back."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from circuitkit.dictionaries.training.learner import Learner
from circuitkit.dictionaries.training.plan import Plan
from circuitkit.errors import CheckpointError
from circuitkit.work.checkpoint import differences
from circuitkit.work.files import write_whole
from circuitkit.work.text import Verbatim, error_text, shown

FORM = "circuitkit, dictionaries in training, 1"
LENGTH = 64  # hex digits of the digest that the file begins with


def keep_steps(path: Path, identity: Mapping[str, str], learners: Mapping[str, Learner]) -> None:
    """Write what the next step of each dictionary depends on.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = {
        f"{place}.{name}": value.contiguous()
        for place, learner in learners.items()
        for name, value in learner.tensors().items()
    }
    data = save(tensors, {"form": FORM, "identity": json.dumps(dict(identity))})
    write_whole(path, hashlib.sha256(data).hexdigest().encode() + data)


def kept_steps(path: Path, identity: Mapping[str, str], plan: Plan) -> dict[str, Learner]:
    """Return what was trained so far, by place.

    Raises:
        CheckpointError: the file is of other work, of another program, or damaged.
    """
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise _unusable(path, error_text(error)) from error
    digest, data = whole[:LENGTH], whole[LENGTH:]
    if digest != hashlib.sha256(data).hexdigest().encode():
        raise _unusable(path, "a file that was changed, cut off, or is of another program")
    try:
        tensors, known = load(data), _metadata(data)
    except (SafetensorError, ValueError) as error:
        raise _unusable(path, error_text(error)) from error
    _require_same(path, known, identity)
    by_place: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, _, name = key.partition(".")
        by_place.setdefault(place, {})[name] = value
    return {place: Learner.from_tensors(plan, values) for place, values in by_place.items()}


def _metadata(data: bytes) -> dict[str, str]:
    """Return what was said of the tensors. A header is a length of 8 bytes, then JSON."""
    length = int.from_bytes(data[:8], "little")
    found = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return dict(json.loads(found.get("identity", "{}")))


def _require_same(path: Path, known: Mapping[str, str], identity: Mapping[str, str]) -> None:
    differing = differences(known, identity)
    if differing:
        raise CheckpointError(
            f"checkpoint {str(path)!r}: must be of the same training, got {'; '.join(differing)}. "
            "Steps of different trainings must not mix. Use what it was made with, name another "
            "directory, or delete it to begin again."
        )


def _unusable(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {str(path)!r}: must be a file that training kept, got "
        f"{shown(Verbatim(found))}. What was done cannot be read. Delete it to begin again, or "
        "name another directory."
    )
