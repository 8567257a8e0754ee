"""The places of a forward pass that can be read or written. No other file spells their names.

A hook is given the activation there and may return another in its place. Shapes are what it sees:
`row` is a prompt of the batch, `pos` a position of the padded prompts.
"""

from typing import NamedTuple


class Point(NamedTuple):
    """One place: what, and in which layer."""

    site: str
    layer: int


# sites of a layer that come after its heads
BEHIND_HEADS = ("attn out", "resid mid", "mlp in", "neurons", "mlp out", "resid post")
# [row, d_model], at the labelled position only; [row, label, d_model] where there are several
FINAL_NORM_IN = Point("final norm in", -1)


def resid_pre(layer: int) -> Point:
    """Residual stream entering a block: [row, pos, d_model]."""
    return Point("resid pre", layer)


def resid_mid(layer: int) -> Point:
    """Residual stream between attention and MLP: [row, pos, d_model]. None in parallel blocks."""
    return Point("resid mid", layer)


def resid_post(layer: int) -> Point:
    """Residual stream leaving a block: [row, pos, d_model]."""
    return Point("resid post", layer)


def projection(layer: int, read: str) -> Point:
    """Output of the q, k or v projection, before QK norm and rotation: [row, pos, head, d_head].

    With grouped queries k and v have one head per group; a hook may return one per query head.
    """
    return Point(read, layer)


def pattern(layer: int) -> Point:
    """Attention pattern, after the softmax: [row, head, destination, source]."""
    return Point("pattern", layer)


def z(layer: int) -> Point:
    """What each head passes to the output projection: [row, pos, head, d_head]."""
    return Point("z", layer)


def written_z(layer: int) -> Point:
    """z over the scale of the norm behind attention, if any: times `w_out` it is what is written.

    [row, pos, head, d_head]. The same as `z` in models without such a norm.
    """
    return Point("written z", layer)


def attn_out(layer: int) -> Point:
    """What attention adds to the residual stream, bias included: [row, pos, d_model]."""
    return Point("attn out", layer)


def mlp_in(layer: int) -> Point:
    """Residual stream that the MLP reads, before its norm: [row, pos, d_model]."""
    return Point("mlp in", layer)


def neurons(layer: int) -> Point:
    """Input of the MLP's last projection: [row, pos, d_mlp]."""
    return Point("neurons", layer)


def mlp_out(layer: int) -> Point:
    """What the MLP adds to the residual stream: [row, pos, d_model]."""
    return Point("mlp out", layer)


def bridge_pattern(layer: int) -> str:
    """TransformerBridge's own name for the attention pattern."""
    return f"blocks.{layer}.attn.hook_pattern"


def published_name(point: Point) -> str:
    """Return TransformerLens's name of a place, as files of dictionaries have it.

    `normed mlp in` is what an MLP reads, centred and scaled, before the norm's weight and bias.
    """
    names = {
        "mlp out": "hook_mlp_out",
        "attn out": "hook_attn_out",
        "resid post": "hook_resid_post",
        "normed mlp in": "ln2.hook_normalized",
    }
    return f"blocks.{point.layer}.{names[point.site]}"
