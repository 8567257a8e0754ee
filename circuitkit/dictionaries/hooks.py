"""What other tools call the places of a model, and which place of ours that is."""

import re

from circuitkit.dictionaries.dictionary import Place

LENS = {  # names of TransformerLens, behind `blocks.N.`
    "hook_resid_pre": "resid pre",
    "hook_resid_mid": "resid mid",
    "hook_resid_post": "resid post",
    "attn.hook_z": "z",
    "hook_attn_out": "attn out",
    "attn.hook_out": "attn out",
    "hook_mlp_in": "resid mid",
    "ln2.hook_normalized": "mlp scaled",  # in front of the norm's weight and bias
    "mlp.hook_in": "mlp normed",
    "ln2.hook_out": "mlp normed",
    "mlp.hook_out": "mlp out",
    "hook_mlp_out": "mlp out",
}
SHORT = {"resid_pre": "resid pre", "resid_post": "resid post", "mlp_out": "mlp out"}
SHORT |= {"attn_out": "attn out"}
MLPS = ("mlp", "feed_forward", "block_sparse_moe")
ATTENTIONS = ("attn", "self_attn", "attention")


def place_of(hook: str, layer: int | None = None, writes: str = "") -> Place:
    """Return the place of a name, of what is read and, of a transcoder, of what is written.

    Empty where the name is not known.
    """
    found_layer, reads = _split(hook)
    site = LENS.get(reads, "")
    written_layer, written_at = _split(writes)
    written = LENS.get(written_at, "") if writes else site
    if writes and None not in (found_layer, written_layer) and found_layer != written_layer:
        written = ""  # at another layer than it reads: no place that is known
    return Place(found_layer if layer is None else layer, site, written, hook)


def place_of_module(name: str, *, is_transcoder: bool) -> Place:
    """Return the place of a Hugging Face module: what it writes, and a transcoder also reads."""
    numbers = re.findall(r"\.(\d+)(?=\.|$)", f".{name}")
    if not numbers:
        return Place(hook=name)
    layer, last = int(numbers[0]), name.split(".")[-1]
    if last in MLPS:
        return Place(layer, "mlp normed" if is_transcoder else "mlp out", "mlp out", name)
    if last in ATTENTIONS and not is_transcoder:
        return Place(layer, "attn out", "attn out", name)
    if last.isdigit() and not is_transcoder:
        return Place(layer, "resid post", "resid post", name)
    return Place(layer, hook=name)


def place_of_short_name(name: str, layer: int | None) -> Place:
    """Return the place of a name such as `resid_post_layer_8`."""
    site = next((ours for theirs, ours in SHORT.items() if name.startswith(theirs)), "")
    return Place(layer, site, site, name)


def _split(hook: str) -> tuple[int | None, str]:
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook)
    return (int(found[1]), found[2]) if found else (None, hook)
