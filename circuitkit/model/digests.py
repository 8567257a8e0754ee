"""Which weights a model has, as a short word: two models have the same digest if all weights agree.

    b3-0123456789abcdef    BLAKE3 of every tensor's stored bytes, tensors taken in order of name
    0123456789abcdef       the older form: SHA-256 of every weight as float32, in memory

What is hashed are the bytes in the weight files, read in place. So the digest depends neither on
`--dtype` nor on the device, nor on how tensors are spread over files, and costs less than reading
them. Where there are no files, the values are hashed, each as the float32 that it is (and what
float32 cannot hold beside it). Digests of the older form are still recognised: they are computed
again in the old way when a circuit file has one.
"""

import hashlib
import json
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import blake3
import torch
from torch import Tensor, nn

FORM = "b3-"
N_DIGITS = 16
CHUNK = 2**22  # weights that are converted at a time
# Weight files in the order in which they are looked for, as the loaders do.
SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
STORED = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
Digests = dict[str, bytes]  # of each tensor, by name


def file_digest(directory: Path) -> str | None:
    """Return the digest of the weight files in a directory, None where there are none known.

    The same tensors have the same digest as one file or many, in safetensors or in torch's format.
    """
    for name, digests_of in ((SAFETENSORS, _safetensors), (PICKLED, _pickled)):
        files = _files(directory, name)
        if files:
            found: Digests = {}
            for file, wanted in sorted(files.items()):
                found |= {k: v for k, v in digests_of(file).items() if not wanted or k in wanted}
            return _combined(found.items())
    return None


def whole_digest(file: Path) -> str:
    """Return the digest of a file of another format: of all its bytes."""
    hashed = blake3.blake3(max_threads=blake3.blake3.AUTO)
    return FORM + hashed.update_mmap(file).hexdigest()[:N_DIGITS]


def value_digest(tensors: Mapping[str, Tensor], rules: str = "") -> str:
    """Return the digest of weights that no file holds; `rules` says what else is computed with.

    A value has the same digest in every type that holds it exactly.
    """
    found = {name: _of_values(name, tensor) for name, tensor in tensors.items()}
    return _combined([("rules", rules.encode()), *found.items()])


def stored_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the digest of the files that would hold these tensors as they are."""
    return _combined((name, _of_stored(tensor)) for name, tensor in tensors.items())


def joined_digest(base: str, adapter: str) -> str:
    """Return the digest of weights with an adapter merged in."""
    return _combined([("base", base.encode()), ("adapter", adapter.encode())])


def legacy_digest(module: nn.Module, rules: str = "") -> str:
    """Return the older form: SHA-256 of names, shapes and values as float32."""
    digest = hashlib.sha256(rules.encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:N_DIGITS]


def is_legacy(digest: str) -> bool:
    """Whether a digest is of the older form."""
    return bool(digest) and not digest.startswith(FORM)


def may_agree(one: str, other: str) -> bool:
    """Whether two digests can be of the same weights: equal, or of two forms."""
    return one == other or is_legacy(one) != is_legacy(other)


def _combined(parts: Iterable[tuple[str, bytes]]) -> str:
    whole = blake3.blake3()
    for name, part in sorted(parts):
        whole.update(blake3.blake3(name.encode()).digest() + blake3.blake3(part).digest())
    return FORM + whole.hexdigest()[:N_DIGITS]


def _files(directory: Path, name: str) -> dict[Path, set[str]]:
    """Return the weight files of a format, with the tensors to read of each (empty: all)."""
    if (directory / name).is_file():
        return {directory / name: set()}
    index = directory / f"{name}.index.json"
    if not index.is_file():
        return {}
    files: dict[Path, set[str]] = {}
    for tensor, file in json.loads(index.read_text())["weight_map"].items():
        files.setdefault(directory / file, set()).add(tensor)
    return files


def _safetensors(file: Path) -> Digests:
    """Return the digests of all tensors in a file, hashing the mapped bytes where they lie."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = 8 + int.from_bytes(data[:8], "little")
        header: dict[str, Any] = json.loads(data[8:start])
        header.pop("__metadata__", None)
        found = {}
        with memoryview(data) as view:
            for name, entry in header.items():
                first, end = entry["data_offsets"]
                with view[start + first : start + end] as stored:
                    found[name] = _of_bytes(entry["dtype"], entry["shape"], stored)
    return found


def _pickled(file: Path) -> Digests:
    """Return the digests of all tensors in a file of torch's own format; no code of it is run."""
    tensors = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    return {name: _of_stored(tensor) for name, tensor in tensors.items()}


def _of_stored(tensor: Tensor) -> bytes:
    kind = STORED.get(tensor.dtype, str(tensor.dtype))
    return _of_bytes(kind, list(tensor.shape), _bytes_of(tensor))


def _of_bytes(dtype: str, shape: list[int], stored: Any) -> bytes:
    hashed = blake3.blake3(f"{dtype} {shape} ".encode(), max_threads=blake3.blake3.AUTO)
    hashed.update(stored)
    return bytes(hashed.digest())


def _of_values(name: str, tensor: Tensor) -> bytes:
    hashed = blake3.blake3(f"{list(tensor.shape)} ".encode(), max_threads=blake3.blake3.AUTO)
    for chunk in tensor.detach().reshape(-1).split(CHUNK):
        if not chunk.is_floating_point():
            hashed.update(_bytes_of(chunk))
            continue
        rounded = chunk.float()
        hashed.update(_bytes_of(rounded))
        if chunk.dtype == torch.float64 and not torch.equal(rounded.double(), chunk):
            hashed.update(_bytes_of(chunk - rounded.double()))
    return bytes(hashed.digest())


def _bytes_of(tensor: Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy() if flat.numel() else b""
