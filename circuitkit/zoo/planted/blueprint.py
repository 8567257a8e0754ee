"""Blueprints: a transformer described by what its parts read, match and write.

The residual stream is split into named spaces that overlap nowhere. A head attends by matches and
moves information by copies:

    score(destination, source) = sum over matches of  x_destination[query] . weights . x_source[key]
    write(destination)         = sum over copies of   (x[read] of the attended sources) . weights

A rule of an MLP is a set of ReLU neurons that read some spaces and write others. There are no
norms, no biases but those of neurons, and scores are not divided by anything, so whatever no weight
connects has no effect at all. That makes the true edges of a blueprint provable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.moved import old_names

TOKEN, POSITION, ONE, OUT = "token", "position", "one", "out"  # spaces that every blueprint has
NEVER = -30.0  # logit of the first word, the start token, which is never the answer


@dataclass(frozen=True)
class TokenMatch:
    """One term of a head's attention score."""

    query: str
    key: str
    weights: Float[Tensor, "d_query d_key"]


@dataclass(frozen=True)
class Copy:
    """What a head moves: from a space at the sources to a space at the destination."""

    read: str
    write: str
    weights: Float[Tensor, "d_read d_write"]


@dataclass(frozen=True)
class Head:
    """One attention head, by role name and layer."""

    name: str
    layer: int
    matches: tuple[TokenMatch, ...]
    copies: tuple[Copy, ...]


@dataclass(frozen=True)
class Rule:
    """ReLU neurons of one MLP: relu(sum of x[read] . reads + bias) . writes."""

    name: str
    layer: int
    reads: Mapping[str, Float[Tensor, "d_read neuron"]]
    bias: Float[Tensor, " neuron"]
    writes: Mapping[str, Float[Tensor, "neuron d_write"]]


@dataclass(frozen=True)
class Blueprint:
    """A whole model by roles, the task it does, and the edges that are true of it.

    `truth` names edges by roles, as `input->previous<v>`. `direct` is what the unembedding reads
    from the token itself. `mover` is the role whose output is the answer, which difficulties back
    up, split or oppose.
    """

    name: str
    task: str
    words: tuple[str, ...]
    n_pos: int
    n_layers: int
    n_heads: int
    spaces: Mapping[str, int]  # beside token, position, one and out
    truth: tuple[str, ...]
    mover: str
    heads: tuple[Head, ...] = ()
    rules: tuple[Rule, ...] = ()
    direct: Float[Tensor, "word word_out"] | None = None
    answers_of: Float[Tensor, "word word_out"] | None = None  # None: every word answers itself
    sizes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        n_words = len(self.words)
        common = {TOKEN: n_words, POSITION: self.n_pos, ONE: 1, OUT: n_words}
        object.__setattr__(self, "sizes", {**common, **self.spaces})

    @property
    def has_mlps(self) -> bool:
        """Whether any role is an MLP's."""
        return bool(self.rules)

    def head(self, name: str) -> Head:
        """Return the head of a role."""
        return next(head for head in self.heads if head.name == name)

    def id(self, word: str) -> int:
        """Return the token id of a word."""
        return self.words.index(word)


def one_hot(
    rows: list[int], columns: list[int], shape: tuple[int, int], value: float = 1.0
) -> Float[Tensor, "row column"]:
    """Return a matrix with `value` at the given places, zero elsewhere."""
    matrix = torch.zeros(shape, dtype=torch.float64)
    matrix[rows, columns] = value
    return matrix


def state_dict(
    blueprint: Blueprint, slots: Mapping[str, int], d_head: int
) -> dict[str, Float[Tensor, "..."]]:
    """Return the weights of a blueprint in HookedTransformer's layout, heads in given slots."""
    at = _offsets(blueprint.sizes)
    width = sum(blueprint.sizes.values())
    tensors = _ends(blueprint, at, width)
    n_neurons = max([1, *(_n_neurons(blueprint, layer) for layer in range(blueprint.n_layers))])
    for layer in range(blueprint.n_layers):
        parts = _attention(blueprint, layer, slots, at, width, d_head)
        if blueprint.has_mlps:
            parts |= _mlp(blueprint, layer, at, width, n_neurons)
        tensors |= {f"blocks.{layer}.{key}": value for key, value in parts.items()}
    return tensors


def width_of_heads(blueprint: Blueprint) -> int:
    """Return the d_head that the widest head needs."""
    widths = [1]
    for head in blueprint.heads:
        widths.append(sum(min(match.weights.shape) for match in head.matches))
        widths.append(sum(min(copy.weights.shape) for copy in head.copies))
    return max(widths)


def _offsets(sizes: Mapping[str, int]) -> dict[str, slice]:
    at, start = {}, 0
    for name, size in sizes.items():
        at[name] = slice(start, start + size)
        start += size
    return at


def _ends(blueprint: Blueprint, at: Mapping[str, slice], width: int) -> dict[str, Tensor]:
    n_words = len(blueprint.words)
    embed = torch.zeros(n_words, width, dtype=torch.float64)
    embed[:, at[TOKEN]] = torch.eye(n_words, dtype=torch.float64)
    positions = torch.zeros(blueprint.n_pos, width, dtype=torch.float64)
    positions[:, at[POSITION]] = torch.eye(blueprint.n_pos, dtype=torch.float64)
    positions[:, at[ONE]] = 1.0
    unembed = torch.zeros(width, n_words, dtype=torch.float64)
    unembed[at[OUT]] = torch.eye(n_words, dtype=torch.float64)
    if blueprint.direct is not None:
        unembed[at[TOKEN]] = blueprint.direct
    bias = torch.zeros(n_words, dtype=torch.float64)
    bias[0] = NEVER
    return {
        "embed.W_E": embed,
        "pos_embed.W_pos": positions,
        "unembed.W_U": unembed,
        "unembed.b_U": bias,
    }


def _attention(
    blueprint: Blueprint,
    layer: int,
    slots: Mapping[str, int],
    at: Mapping[str, slice],
    width: int,
    d_head: int,
) -> dict[str, Tensor]:
    shape = (blueprint.n_heads, width, d_head)
    w = {read: torch.zeros(shape, dtype=torch.float64) for read in "QKVO"}
    for head in (head for head in blueprint.heads if head.layer == layer):
        slot = slots[head.name]
        matches = [(match.query, match.key, match.weights) for match in head.matches]
        copies = [(copy.read, copy.write, copy.weights) for copy in head.copies]
        _factor(w["Q"][slot], w["K"][slot], matches, at)
        _factor(w["V"][slot], w["O"][slot], copies, at)
    w["O"] = w["O"].mT.contiguous()
    return {f"attn.W_{read}": weight for read, weight in w.items()}


def _factor(
    left: Float[Tensor, "d_model d_head"],
    right: Float[Tensor, "d_model d_head"],
    terms: list[tuple[str, str, Tensor]],
    at: Mapping[str, slice],
) -> None:
    """Write every term so that left . right^T is their sum, each in channels of its own."""
    start = 0
    for first, second, weights in terms:
        n = min(weights.shape)
        channels = slice(start, start + n)
        unit = torch.eye(n, dtype=torch.float64)
        is_tall = weights.shape[0] > n  # the identity goes to the narrow side
        left[at[first], channels] = weights if is_tall else unit
        right[at[second], channels] = unit if is_tall else weights.T
        start += n


def _mlp(
    blueprint: Blueprint, layer: int, at: Mapping[str, slice], width: int, n_neurons: int
) -> dict[str, Tensor]:
    w_in = torch.zeros(width, n_neurons, dtype=torch.float64)
    w_out = torch.zeros(n_neurons, width, dtype=torch.float64)
    bias = torch.zeros(n_neurons, dtype=torch.float64)
    start = 0
    for rule in (rule for rule in blueprint.rules if rule.layer == layer):
        neurons = slice(start, start + len(rule.bias))
        for space, weights in rule.reads.items():
            w_in[at[space], neurons] = weights
        for space, weights in rule.writes.items():
            w_out[neurons, at[space]] = weights
        bias[neurons] = rule.bias
        start += len(rule.bias)
    return {"mlp.W_in": w_in, "mlp.b_in": bias, "mlp.W_out": w_out}


def _n_neurons(blueprint: Blueprint, layer: int) -> int:
    return sum(len(rule.bias) for rule in blueprint.rules if rule.layer == layer)


if not TYPE_CHECKING:  # names that this module had
    __getattr__ = old_names(__name__)
