"""A sparse dictionary: what it makes of an activation, whatever tool wrote its file.

    x'        =  normalised x                                        (normalisation)
    pre       =  (x' - b_dec if it is subtracted) W_enc + b_enc
    features  =  activation(pre)                                     (Activation)
    output    =  (features W_dec + b_dec), normalisation undone of an SAE,  + x W_skip^T

Normalisations come first, and a skip acts on the raw x. Decoder norms that scale features in front
of their activation are folded into W_enc and W_dec when a file is read.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.errors import DictionaryError
from circuitkit.names import DICTIONARY_SITES

NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")
SITES = DICTIONARY_SITES
EPS = 1e-5  # of layer_norm, outside the root


@dataclass(frozen=True)
class Place:
    """Where a dictionary stands: the layer, and what it reads and writes there.

    `mlp normed` is what the MLP itself is given, behind the norm with its weight and bias; `mlp
    scaled` the same in front of them. An SAE reads what it writes; "" and None: the file does not
    say. `hook` is the name in the file.
    """

    layer: int | None = None
    reads: str = ""
    writes: str = ""
    hook: str = ""


@dataclass(frozen=True)
class Activation:
    """How features follow from pre-activations.

    relu       max(pre, 0)
    jumprelu   pre where pre > threshold, else 0
    topk       the k largest of each place, else 0
    groupmax   the largest of each of k runs of consecutive features, else 0

    `is_rectified`: negative values become 0 in any case. circuit-tracer's files keep them.
    """

    kind: str = "relu"
    threshold: Float[Tensor, " feature"] | None = None
    k: int = 0
    is_rectified: bool = True

    def __post_init__(self) -> None:
        """Require a k where one is needed."""
        if self.kind in ("topk", "groupmax") and self.k < 1:
            raise DictionaryError(
                f"activation {self.kind}: k must be at least 1, got {self.k}. So many features "
                "are active at once. Use a whole file."
            )

    def __call__(self, pre: Float[Tensor, "*place feature"]) -> Float[Tensor, "*place feature"]:
        """Return the features."""
        values = torch.relu(pre) if self.is_rectified or self.kind == "relu" else pre
        if self.kind == "jumprelu":
            assert self.threshold is not None
            return values * (pre > self.threshold)
        if self.kind == "topk":
            top = values.topk(min(self.k, values.shape[-1]), dim=-1)
            return torch.zeros_like(values).scatter(-1, top.indices, top.values)
        if self.kind == "groupmax":
            return _largest_of_each(values, self.k)
        return values


def _largest_of_each(
    values: Float[Tensor, "*place feature"], k: int
) -> Float[Tensor, "*place feature"]:
    groups = values.unflatten(-1, (k, -1))
    best = groups.max(-1, keepdim=True)
    return torch.zeros_like(groups).scatter(-1, best.indices, best.values).flatten(-2)


@dataclass(frozen=True)
class Gate:
    """A gate in front of features: (x W_enc + b_gate > 0), and their size x W_enc e^r_mag + b_mag.

    Rajamanoharan et al. 2024 (arXiv:2404.16014), section 3.2.
    """

    b_gate: Float[Tensor, " feature"]
    r_mag: Float[Tensor, " feature"]
    b_mag: Float[Tensor, " feature"]


@dataclass(frozen=True, eq=False)
class Dictionary:
    """An SAE or a transcoder. `name` is where it was read from, `link` its page, if any."""

    kind: str
    w_enc: Float[Tensor, "d_in feature"]
    b_enc: Float[Tensor, " feature"]
    w_dec: Float[Tensor, "feature d_out"]
    b_dec: Float[Tensor, " d_out"]
    activation: Activation = Activation()
    place: Place = Place()
    subtracts_b_dec: bool = False
    normalisation: str = "none"
    gate: Gate | None = None
    w_skip: Float[Tensor, "d_out d_in"] | None = None
    name: str = ""
    link: str = ""

    def __post_init__(self) -> None:
        """Require groups of equal size, where one of each is kept."""
        if self.activation.kind == "groupmax" and self.n_features % self.activation.k:
            raise DictionaryError(
                f"{self.name or 'dictionary'}: groupmax must have a whole number of features in "
                f"each of {self.activation.k} groups, got {self.n_features}. Use a whole file."
            )

    def __repr__(self) -> str:
        where = f" at {self.place.hook}" if self.place.hook else ""
        return (
            f"Dictionary({self.kind}, {self.n_features:,} features, {self.d_in} -> {self.d_out}"
            f"{where})"
        )

    @property
    def n_features(self) -> int:
        """How many features it has."""
        return len(self.w_dec)

    @property
    def d_in(self) -> int:
        """The width of what it reads."""
        return len(self.w_enc)

    @property
    def d_out(self) -> int:
        """The width of what it writes."""
        return self.w_dec.shape[1]

    @property
    def is_transcoder(self) -> bool:
        """Whether it writes something else than it reads."""
        return "transcoder" in self.kind or self.place.reads != self.place.writes

    @property
    def directions(self) -> Float[Tensor, "feature d_out"] | None:
        """What one unit of each feature adds to the output; None where that depends on x."""
        depends = self.normalisation != "none" and not self.is_transcoder
        return None if depends else self.w_dec

    @property
    def bias(self) -> Float[Tensor, " d_out"]:
        """What the output is without features and skip."""
        return self.b_dec

    def pre_activations(self, x: Float[Tensor, "*place d_in"]) -> Float[Tensor, "*place feature"]:
        """Return what the activation is given; of a gated one, the size in front of the gate."""
        read = self._read(x)
        if self.gate is None:
            return read + self.b_enc
        return read * self.gate.r_mag.exp() + self.gate.b_mag

    def encode(self, x: Float[Tensor, "*place d_in"]) -> Float[Tensor, "*place feature"]:
        """Return the features of activations."""
        if self.gate is None:
            return self.activation(self.pre_activations(x))
        read = self._read(x)
        is_open = read + self.gate.b_gate > 0
        return is_open * torch.relu(read * self.gate.r_mag.exp() + self.gate.b_mag)

    def decode(
        self, features: Float[Tensor, "*place feature"], x: Float[Tensor, "*place d_in"]
    ) -> Float[Tensor, "*place d_out"]:
        """Return the reconstruction; `x` is what the features were read from."""
        out = features @ self.w_dec + self.b_dec
        if not self.is_transcoder:
            out = self._undone(out, x)
        return out if self.w_skip is None else out + x @ self.w_skip.T

    def _read(self, x: Float[Tensor, "*place d_in"]) -> Float[Tensor, "*place feature"]:
        """Return what W_enc makes of normalised activations."""
        if x.shape[-1] != self.d_in:
            raise DictionaryError(
                f"{self.name or 'dictionary'}: what is read must be {self.d_in} wide, got "
                f"{x.shape[-1]}. It belongs to another model or place. Use one that fits."
            )
        if self.normalisation == "layer_norm":
            centred = x - x.mean(-1, keepdim=True)
            x = centred / (x.std(-1, keepdim=True) + EPS)
        elif self.normalisation == "constant_norm_rescale":
            x = x * self._rescaling(x)
        centred = x - self.b_dec if self.subtracts_b_dec else x
        read: Tensor = centred @ self.w_enc
        return read

    def _undone(
        self, out: Float[Tensor, "*place d_out"], x: Float[Tensor, "*place d_in"]
    ) -> Float[Tensor, "*place d_out"]:
        if self.normalisation == "layer_norm":
            return out * x.std(-1, keepdim=True) + x.mean(-1, keepdim=True)
        if self.normalisation == "constant_norm_rescale":
            return out / self._rescaling(x)
        return out

    def _rescaling(self, x: Float[Tensor, "*place d_in"]) -> Float[Tensor, "*place 1"]:
        scale: Tensor = self.d_in**0.5 / x.norm(dim=-1, keepdim=True)
        return scale

    def features_named(self, numbers: Int[Tensor, " chosen"] | list[int]) -> None:
        """Refuse numbers of features that it does not have.

        Raises:
            DictionaryError: there is one.
        """
        wrong = [int(n) for n in numbers if not 0 <= int(n) < self.n_features]
        if wrong:
            raise DictionaryError(
                f"{self.name or 'dictionary'}: features must be from 0 to {self.n_features - 1}, "
                f"got {wrong[0]}. There are no more. Check the number."
            )

    @cached_property
    def digest(self) -> str:
        """A digest of all that the features and the output depend on."""
        said = (
            self.place.reads, self.place.writes, self.kind,
            self.activation.kind, self.activation.k, self.activation.is_rectified,
            self.subtracts_b_dec, self.normalisation,
        )  # fmt: skip
        hashed = hashlib.sha256(repr(said).encode())
        for tensor in self._tensors().values():
            hashed.update(str(tuple(tensor.shape)).encode())
            hashed.update(tensor.detach().cpu().double().numpy().tobytes())
        return f"sha256-{hashed.hexdigest()[:16]}"

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> "Dictionary":
        """Return the same dictionary in another type or place. The digest stays."""
        moved: dict[str, Any] = {
            name: x.to(dtype=dtype, device=device) for name, x in self._tensors().items()
        }
        gate, threshold = self.gate, moved.pop("threshold", None)
        if gate is not None:
            gate = Gate(*(moved.pop(name) for name in ("b_gate", "r_mag", "b_mag")))
        found = replace(
            self, activation=replace(self.activation, threshold=threshold), gate=gate, **moved
        )
        vars(found)["digest"] = self.digest
        return found

    def _tensors(self) -> dict[str, Tensor]:
        found = {name: getattr(self, name) for name in ("w_enc", "b_enc", "w_dec", "b_dec")}
        if self.w_skip is not None:
            found["w_skip"] = self.w_skip
        if self.activation.threshold is not None:
            found["threshold"] = self.activation.threshold
        if self.gate is not None:
            found |= {name: getattr(self.gate, name) for name in ("b_gate", "r_mag", "b_mag")}
        return found
