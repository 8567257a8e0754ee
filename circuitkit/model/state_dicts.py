"""Loading the state dict of a HookedTransformer: the layout of many small published models.

    embed.W_E            [d_vocab, d_model]          pos_embed.W_pos  [n_ctx, d_model]
    blocks.N.attn.W_Q    [head, d_model, d_head]     W_K, W_V alike;  b_Q, b_K, b_V  [head, d_head]
    blocks.N.attn.W_O    [head, d_head, d_model]     b_O              [d_model]
    blocks.N.mlp.W_in    [d_model, d_mlp]            W_gate alike;    b_in           [d_mlp]
    blocks.N.mlp.W_out   [d_mlp, d_model]            b_out            [d_model]
    blocks.N.ln1.w, .b   [d_model]                   ln2 in front of the MLP, ln_final at the end
    unembed.W_U          [d_model, d_vocab_out]      b_U              [d_vocab_out]

Activations stand on the left of weights: q = x W_Q + b_Q. Biases that are absent are zero. Masks
are ignored: `Reading` states who sees whom. A state dict without norm weights may be of a model
without norms or of one whose norms were folded ("LNPre", "RMSPre"): no shape tells them apart.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

from circuitkit.errors import ModelError
from circuitkit.model.digests import value_digest
from circuitkit.model.loading import from_bridge
from circuitkit.model.refusals import checked_device, first_line
from circuitkit.model.subject import SubjectModel

NORM_WEIGHTS = {"LN": "wb", "RMS": "w"}  # the others have none
CHOICES = {
    "act_fn": ("relu", "gelu", "gelu_new", "silu", "solu"),
    "normalization": ("auto", "none", "LN", "LNPre", "RMS", "RMSPre"),
    "attention": ("causal", "bidirectional"),
}
BUFFERS = (".attn.mask", ".attn.IGNORE")
IN_BLOCK = re.compile(r"blocks\.(0|[1-9]\d*)\.(.+)")
TRANSPOSED = re.compile(r"embed\.W_E|blocks\.\d+\.(attn\.W_[QKV]|mlp\.W_(in|out))")


@dataclass(frozen=True)
class Reading:
    """What the shapes in a state dict do not tell.

    `act_fn`: "gelu_new" is the tanh approximation. `normalization`: "auto" is "LN" where there are
    norm weights, else "none". `scale`: what q . k is multiplied with, None for 1 / sqrt(d_head).
    `softmax_share`: pattern = share * softmax + (1 - share) wherever a position sees another.

    Raises:
        ModelError: a value is none of those possible.
    """

    act_fn: str = "relu"
    normalization: str = "auto"
    attention: str = "causal"
    eps: float = 1e-5
    scale: float | None = None
    softmax_share: float = 1.0

    def __post_init__(self) -> None:
        checks = [(f, getattr(self, f) in x, f"one of {', '.join(x)}") for f, x in CHOICES.items()]
        checks += [
            ("eps", self.eps >= 0, "at least 0"),
            ("scale", self.scale is None or self.scale > 0, "above 0"),
            ("softmax_share", 0 <= self.softmax_share <= 1, "between 0 and 1"),
        ]
        for field, holds, rule in checks:
            if not holds:
                raise ModelError(
                    f"reading, {field}: must be {rule}, got {getattr(self, field)!r}. No model is "
                    "defined by that. Give what the model was trained with."
                )


USUAL = Reading()


def load_state_dict(
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    reading: Reading = USUAL,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> SubjectModel:
    """Return the model of a HookedTransformer's state dict, to be studied.

    Sizes are read off the shapes; `reading` states the rest. The tensors are copied.

    Raises:
        ModelError: a key is missing or unknown, a tensor has the wrong shape, or no such device.
        ActivationError: a weight is NaN or infinite.
    """
    where = f"state dict of {name!r}"
    device = checked_device(device)
    _require_tensors(tensors, where)
    entries = _entries_of(tensors.keys(), reading)
    _require_keys(tensors.keys(), entries, where)
    sizes = _sizes_of(tensors, entries, where)
    _require_entries(sizes, where)
    try:
        config = _config(entries, sizes, reading)
        bridge = TransformerBridge.boot_native(config, dtype=dtype, device=device)
    except (AssertionError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{where}: its sizes must be those of a transformer, got {sizes}: {first_line(error)}. "
            "No model has them. Check the tensors' shapes."
        ) from error
    for key in entries.keys() & tensors.keys():  # the other biases are zero from the start
        _write(bridge, key, entries[key], tensors[key])
    if reading.scale is not None:
        for block in bridge.blocks:  # not by the config, which refuses to divide by 1
            block.attn.original_component.scale = 1 / reading.scale
    model = from_bridge(bridge.eval(), name=name, softmax_share=reading.softmax_share)
    return replace(model, digest=value_digest(tensors, repr(reading)))  # the same for every dtype


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of the progress-measures releases in a HookedTransformer's layout.

    There (Nanda et al. 2023, arXiv:2301.05217) weights stand on the left of activations, W_O is
    [d_model, head * d_head], and blocks of attention-only models are called `attn_blocks`.

    Raises:
        ModelError: an output projection is not of that layout.
    """
    found = {}
    for key, tensor in tensors.items():
        new = key.removeprefix("attn_")
        if new.endswith(".attn.W_O"):
            tensor = _split_by_head(tensor, len(tensors.get(key[:-1] + "Q", ())), key)
        elif TRANSPOSED.fullmatch(new) and tensor.ndim > 1:
            tensor = tensor.mT
        found[new] = tensor
    return found


@dataclass(frozen=True)
class _Entry:
    """The axes of one tensor of the layout, and the part of the bridge that it goes to."""

    axes: tuple[str, ...]
    part: str
    turn: Callable[[Tensor], Tensor] = torch.Tensor.detach


def _by_head(x: Float[Tensor, "head d_model d_head"]) -> Float[Tensor, "all_heads d_model"]:
    return x.mT.flatten(0, 1)


def _joined(x: Float[Tensor, "head d_head d_model"]) -> Float[Tensor, "d_model all_heads"]:
    return x.flatten(0, 1).T


ENDS = {
    "embed.W_E": _Entry(("d_vocab", "d_model"), "embed"),
    "pos_embed.W_pos": _Entry(("n_ctx", "d_model"), "pos_embed"),
    "unembed.W_U": _Entry(("d_model", "d_vocab_out"), "unembed", torch.t),
    "unembed.b_U": _Entry(("d_vocab_out",), "unembed"),
}
READ, HEADS = ("n_heads", "d_model", "d_head"), ("n_heads", "d_head")
ATTENTION = {
    **{f"attn.W_{x}": _Entry(READ, f"attn.{x.lower()}", _by_head) for x in "QKV"},
    "attn.W_O": _Entry(("n_heads", "d_head", "d_model"), "attn.o", _joined),
    **{f"attn.b_{x}": _Entry(HEADS, f"attn.{x.lower()}", torch.flatten) for x in "QKV"},
    "attn.b_O": _Entry(("d_model",), "attn.o"),
}
MLP = {
    "mlp.W_in": _Entry(("d_model", "d_mlp"), "mlp.in", torch.t),
    "mlp.b_in": _Entry(("d_mlp",), "mlp.in"),
    "mlp.W_out": _Entry(("d_mlp", "d_model"), "mlp.out", torch.t),
    "mlp.b_out": _Entry(("d_model",), "mlp.out"),
}
GATE = {"mlp.W_gate": _Entry(("d_model", "d_mlp"), "mlp.gate", torch.t)}
Entries = dict[str, _Entry]


def _entries_of(keys: Collection[str], reading: Reading) -> Entries:
    """Return every key that a state dict may have, judged by the keys that it has."""
    places = [match for match in map(IN_BLOCK.fullmatch, keys) if match]
    parts = {match[2] for match in places}
    norms = NORM_WEIGHTS.get(_norm_of(keys, reading), "")
    block = ATTENTION | _norm("ln1", norms)
    if any(part.startswith("mlp.") for part in parts):
        block |= MLP | (GATE if GATE.keys() & parts else {}) | _norm("ln2", norms)
    entries = ENDS | _norm("ln_final", norms)
    for n in range(max(1, len({match[1] for match in places}))):  # so that no block is left out
        entries |= {f"blocks.{n}.{key}": entry for key, entry in block.items()}
    return entries


def _require_tensors(tensors: Mapping[str, Tensor], where: str) -> None:
    for key, tensor in tensors.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor) or tensor.is_meta:
            got = "one without values" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ModelError(
                f"{where}: must map names to tensors with values, got {got} for {key!r}. There is "
                "nothing to load. Read the file with torch.load(..., map_location='cpu')."
            )


def _norm_of(keys: Collection[str], reading: Reading) -> str:
    found = "LN" if any(".ln" in f".{key}" for key in keys) else "none"
    return found if reading.normalization == "auto" else reading.normalization


def _norm(name: str, weights: str) -> Entries:
    return {f"{name}.{weight}": _Entry(("d_model",), name) for weight in weights}


def _require_keys(keys: Collection[str], entries: Entries, where: str) -> None:
    missing = [key for key in entries if key not in keys and ".b_" not in key]
    unknown = [key for key in keys if key not in entries and not key.endswith(BUFFERS)]
    if missing or unknown:
        raise ModelError(
            f"{where}: must have the keys of its layout, got none for {missing[:3]} and unknown "
            f"ones {unknown[:3]}. Every weight counts, and none may be random. State in `Reading` "
            "what the model is, add weights, or leave out those that no output depends on."
        )


def _sizes_of(tensors: Mapping[str, Tensor], entries: Entries, where: str) -> dict[str, int]:
    """Return the size of every axis, given by the first tensor that has it; others must agree."""
    sizes: dict[str, int] = {}
    for key, entry in ((k, e) for k, e in entries.items() if k in tensors):
        shape = list(tensors[key].shape)
        sizes = dict(zip(entry.axes, shape, strict=False)) | sizes  # `wanted` sees their number
        wanted = [sizes.get(axis, axis) for axis in entry.axes]
        if shape != wanted or not tensors[key].is_floating_point():
            raise ModelError(
                f"{where}, {key}: must be floats [{', '.join(entry.axes)}] = {wanted}, got "
                f"{tensors[key].dtype} of {shape}. It would be read as another matrix. "
                "Transpose it; `renamed` does so for the progress-measures releases."
            )
    return sizes


def _require_entries(sizes: Mapping[str, int], where: str) -> None:
    if not all(sizes.values()):
        raise ModelError(
            f"{where}: every axis must have at least one entry, got {sizes}. No model has none. "
            "Check the tensors' shapes."
        )


def _config(entries: Entries, sizes: Mapping[str, int], reading: Reading) -> Any:
    return TransformerBridgeConfig(
        **sizes,
        n_layers=sum(key.endswith(".attn.W_Q") for key in entries),
        attn_only="d_mlp" not in sizes,
        gated_mlp="blocks.0.mlp.W_gate" in entries,
        normalization_type=None if (norm := _norm_of(entries, reading)) == "none" else norm,
        act_fn=reading.act_fn,
        attention_dir=reading.attention,
        eps=reading.eps,
        seed=0,  # its random weights, all replaced, must not advance the caller's generator
    )


def _write(bridge: Any, key: str, entry: _Entry, tensor: Float[Tensor, "..."]) -> None:
    match = IN_BLOCK.fullmatch(key)
    holder = bridge.blocks[int(match[1])] if match else bridge
    module = holder.get_submodule(entry.part).original_component
    value = entry.turn(tensor.detach()).to(module.weight)
    new = nn.Parameter(value.clone(memory_format=torch.contiguous_format))
    setattr(module, "bias" if key.split(".")[-1].startswith("b") else "weight", new)


def _split_by_head(
    w_out: Float[Tensor, "..."], n_heads: int, key: str
) -> Float[Tensor, "head d_head d_model"]:
    if w_out.ndim != 2 or n_heads == 0 or w_out.shape[1] % n_heads:
        raise ModelError(
            f"state dict, {key}: must be [d_model, head * d_head] beside a W_Q of [head, d_head, "
            f"d_model], got {list(w_out.shape)} and {n_heads} heads. It cannot be split into "
            "heads. Load a HookedTransformer's own layout without `renamed`."
        )
    return w_out.T.reshape(n_heads, -1, len(w_out))
