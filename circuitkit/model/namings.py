"""State dicts of other naming, put into a HookedTransformer's layout.

    minGPT, nanoGPT     transformer.wte.weight, transformer.h.N.attn.c_attn.weight, lm_head.weight
    minGPT of 2020      tok_emb.weight, pos_emb, blocks.N.attn.query.weight, head.weight

Their projections are torch's own, [out, in], and stand on the left of activations. How many heads
share them no shape tells.
"""

import re
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from circuitkit.errors import ModelError

MASKS = re.compile(r"\.attn\.(bias|mask|masked_bias)$")
WRAPPERS = ("_orig_mod.", "module.")  # of compiled and of parallel models
PARTS = {  # of a block, in both namings
    "ln_1.weight": "ln1.w",
    "ln_1.bias": "ln1.b",
    "ln1.weight": "ln1.w",
    "ln1.bias": "ln1.b",
    "ln_2.weight": "ln2.w",
    "ln_2.bias": "ln2.b",
    "ln2.weight": "ln2.w",
    "ln2.bias": "ln2.b",
    "mlp.c_fc.weight": "mlp.W_in",
    "mlp.c_fc.bias": "mlp.b_in",
    "mlp.c_proj.weight": "mlp.W_out",
    "mlp.c_proj.bias": "mlp.b_out",
    "mlp.0.weight": "mlp.W_in",
    "mlp.0.bias": "mlp.b_in",
    "mlp.2.weight": "mlp.W_out",
    "mlp.2.bias": "mlp.b_out",
    "attn.c_proj.weight": "attn.W_O",
    "attn.c_proj.bias": "attn.b_O",
    "attn.proj.weight": "attn.W_O",
    "attn.proj.bias": "attn.b_O",
    "attn.query.weight": "attn.W_Q",
    "attn.query.bias": "attn.b_Q",
    "attn.key.weight": "attn.W_K",
    "attn.key.bias": "attn.b_K",
    "attn.value.weight": "attn.W_V",
    "attn.value.bias": "attn.b_V",
}
ENDS = {
    "transformer.wte.weight": "embed.W_E",
    "tok_emb.weight": "embed.W_E",
    "transformer.wpe.weight": "pos_embed.W_pos",
    "pos_emb": "pos_embed.W_pos",
    "transformer.ln_f.weight": "ln_final.w",
    "transformer.ln_f.bias": "ln_final.b",
    "ln_f.weight": "ln_final.w",
    "ln_f.bias": "ln_final.b",
    "lm_head.weight": "unembed.W_U",
    "head.weight": "unembed.W_U",
}
BLOCK = re.compile(r"(?:transformer\.h|blocks)\.(\d+)\.(.+)")
TRANSPOSED = re.compile(r"(unembed\.W_U|mlp\.W_(in|out))$")
HEADS = re.compile(r"attn\.([Wb])_([QKV])$")


def from_mingpt(tensors: Mapping[str, Tensor], n_heads: int) -> dict[str, Tensor]:
    """Return a state dict of minGPT's or nanoGPT's naming in a HookedTransformer's layout.

    Masks are left out. A norm's bias that nanoGPT leaves out is zero.

    Raises:
        ModelError: a key is of neither naming, or the heads do not divide the width.
    """
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key
        for prefix in WRAPPERS:
            name = name.removeprefix(prefix)
        if not MASKS.search(name) or name.endswith(".c_attn.bias"):
            for new, part in _named(name, tensor):
                found[new] = _turned(new, part, n_heads, key)
    for key in [key for key in found if re.search(r"(ln\w*)\.w$", key)]:
        bias = f"{key[:-1]}b"
        found.setdefault(bias, found[key].new_zeros(found[key].shape))
    return found


def _named(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    block = BLOCK.fullmatch(name)
    if block is None and name in ENDS:
        return [(ENDS[name], tensor)]
    if block is not None and block[2] in PARTS:
        return [(f"blocks.{block[1]}.{PARTS[block[2]]}", tensor)]
    if block is not None and block[2] in ("attn.c_attn.weight", "attn.c_attn.bias"):
        letter = "W" if block[2].endswith("weight") else "b"
        if len(tensor) % 3 or (tensor.ndim == 2 and len(tensor) != 3 * tensor.shape[1]):
            raise ModelError(
                f"state dict, {name}: must be of queries, keys and values, [3 * width, width], got "
                f"{list(tensor.shape)}. Hugging Face's GPT-2 stores the transposed. Load its "
                "directory, with config.json, in place of the file."
            )
        reads = zip("QKV", tensor.chunk(3), strict=True)
        return [(f"blocks.{block[1]}.attn.{letter}_{read}", part) for read, part in reads]
    raise ModelError(
        f"state dict, {name}: must be a name that minGPT or nanoGPT gives a weight, got another. "
        "It would be left out. Name the layout that it is of, or rename its tensors."
    )


def _turned(new: str, tensor: Tensor, n_heads: int, key: str) -> Tensor:
    if match := HEADS.search(new):
        return (
            _by_head(tensor, n_heads, key) if match[1] == "b" else _by_head(tensor, n_heads, key).mT
        )
    if new.endswith("attn.W_O"):
        return _by_head(tensor.T, n_heads, key)
    if new == "pos_embed.W_pos" and tensor.ndim == 3:
        return tensor[0]
    return tensor.T if TRANSPOSED.search(new) else tensor


def _by_head(
    x: Float[Tensor, "all_heads ..."], n_heads: int, key: str
) -> Float[Tensor, "head d_head ..."]:
    if n_heads < 1 or len(x) % n_heads:
        raise ModelError(
            f"state dict, {key}: its {len(x)} rows must be of n_heads heads of one width, got "
            f"n_heads {n_heads}. No shape tells how many there are. Give the number that the model "
            "was trained with."
        )
    return x.reshape(n_heads, -1, *x.shape[1:])
