"""A head by its weights alone: what it would copy, and what it would attend to, token by token.

    OV[source, out]           =  W_E[source] W_V W_O W_U             logits that attending adds
    QK[destination, source]   =  scale (W_E W_Q)[destination] . (W_E W_K)[source]    score

Norms are folded into the weights (model/norms.py), without the scale 1 / s that they take in a run:
so entries are right up to a positive factor for each token read, and one for the stream written to.
Biases, position embeddings, MLPs before the head and soft caps are left out; the norms of queries
and keys, where a family has them, are folded alike. Rotated queries and keys (rotary positions) are
taken at distance zero, where rotations cancel. Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits".

    positive share  =  sum of eigenvalues / sum of their absolute values

is the copying score of an OV and the matching score of a QK circuit: 1 where a token raises (finds)
itself, -1 where it lowers (avoids) itself. The nonzero eigenvalues of left right are those of right
left, which is only d_head wide, so this is exact.

No product of vocabulary times vocabulary is kept: blocks of rows are made, and dropped.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import FactoredMatrix

from circuitkit.circuits.graph import READS
from circuitkit.errors import DecompositionError, MemoryBudgetError, MethodError
from circuitkit.interventions.budget import COMFORTABLE
from circuitkit.model import SubjectModel
from circuitkit.model.attention import Attention, HeadNorm
from circuitkit.model.norms import HALF

WIDTHS = 6  # what finding the largest entries keeps, beside a block
NOTHING = 1e-6  # of the circuit's norm: smaller eigenvalues are rounding


@dataclass(frozen=True)
class TokenPair:
    """One entry of a circuit, by token ids: (source, out) or (destination, source)."""

    row: int
    column: int
    value: float


@dataclass(frozen=True)
class TopPairs:
    """The largest and the smallest entries, most extreme first; all of `n_pairs` were looked at."""

    largest: tuple[TokenPair, ...]
    smallest: tuple[TokenPair, ...]
    n_pairs: int


@dataclass(frozen=True)
class VocabularyCircuit:
    """A head's OV or QK circuit over the vocabulary, as two narrow factors: left @ right."""

    name: str
    left: Float[Tensor, "row_token d_head"]
    right: Float[Tensor, "d_head column_token"]

    @property
    def n_pairs(self) -> int:
        """The number of its entries."""
        return len(self.left) * self.right.shape[1]

    def blocks(
        self, memory: int = COMFORTABLE
    ) -> Iterator[tuple[int, Float[Tensor, "row column_token"]]]:
        """Yield the product some rows at a time, each block with the number of its first row."""
        row_bytes = self.right.shape[1] * self.left.element_size() * (1 + WIDTHS)
        size = max(1, memory // row_bytes)
        for start in range(0, len(self.left), size):
            yield start, self.left[start : start + size] @ self.right

    def full(self, memory: int = COMFORTABLE) -> Float[Tensor, "row_token column_token"]:
        """Return the whole product.

        Raises:
            MemoryBudgetError: it needs more than `memory` bytes.
        """
        needed = self.n_pairs * self.left.element_size()
        if needed > memory:
            raise MemoryBudgetError(
                f"{self.name}: the whole product must fit in {memory} bytes, got "
                f"{len(self.left)} x {self.right.shape[1]} entries of {needed} bytes. It would "
                "fill the memory. Use its `top_pairs`, which finds the exact largest and smallest "
                "entries in blocks, or give a larger `memory`."
            )
        return self.left @ self.right

    def top_pairs(self, k: int = 10, memory: int = COMFORTABLE) -> TopPairs:
        """Return the exact `k` largest and smallest entries. Of equal ones the first rows win."""
        high = Best(k, self.left)
        low = Best(k, self.left)
        n_columns = self.right.shape[1]
        for start, block in self.blocks(memory):
            flat = block.flatten()
            high.add(flat, start * n_columns)
            low.add(-flat, start * n_columns)
        return TopPairs(
            tuple(TokenPair(i // n_columns, i % n_columns, x) for x, i in high.entries()),
            tuple(TokenPair(i // n_columns, i % n_columns, -x) for x, i in low.entries()),
            self.n_pairs,
        )

    @property
    def positive_share(self) -> float:
        """Sum of eigenvalues over sum of their absolute values; 0 where there are none but zeros.

        Raises:
            MethodError: rows and columns are different vocabularies.
        """
        self._require_one_vocabulary("eigenvalues")
        matrix = FactoredMatrix(self.left.double(), self.right.double())
        values = matrix.eigenvalues
        size = float(values.abs().sum())
        is_rounding = size <= NOTHING * float(matrix.norm())
        return 0.0 if is_rounding else float(values.real.sum()) / size

    def own_token_share(self, k: int = 1, memory: int = COMFORTABLE) -> float:
        """Return the share of tokens that are among the `k` largest entries of their own row.

        Ties count against a token, so that a head that writes nothing copies nothing.

        Raises:
            MethodError: rows and columns are different vocabularies.
        """
        self._require_one_vocabulary("own tokens")
        count = 0
        for start, block in self.blocks(memory):
            own = block.diagonal(start).unsqueeze(1)
            count += int(((block >= own).sum(1) <= k).sum())
        return count / len(self.left)

    def _require_one_vocabulary(self, what: str) -> None:
        if len(self.left) != self.right.shape[1]:
            raise MethodError(
                f"{self.name}: {what} need as many tokens to write as to read, got "
                f"{len(self.left)} and {self.right.shape[1]}. A token has no logit of its own "
                "there. Use `top_pairs`."
            )


class Best:
    """The k largest of many values that come in blocks; of equal ones the first that came."""

    def __init__(self, k: int, like: Tensor) -> None:
        self.k = k
        self.values = like.new_empty(0)
        self.places = torch.empty(0, dtype=torch.long, device=like.device)

    def add(self, values: Float[Tensor, " entry"], start: int) -> None:
        """Look at more values, the first of which is number `start` of all."""
        entering = (values > self.least).nonzero()[:, 0]  # hardly any, once some blocks were seen
        chosen = entering[first_largest(values[entering], self.k)]
        self.add_at(values[chosen], chosen + start)

    def add_at(self, values: Float[Tensor, " entry"], places: Int[Tensor, " entry"]) -> None:
        """Look at values of given numbers."""
        self.values = torch.cat((self.values, values))
        self.places = torch.cat((self.places, places))
        order = self.values.sort(descending=True, stable=True).indices[: self.k]
        self.values, self.places = self.values[order], self.places[order]

    @property
    def least(self) -> float:
        """What a value must exceed to enter."""
        if self.k <= 0:
            return math.inf
        return float(self.values[-1]) if len(self.values) == self.k else -math.inf

    def entries(self) -> Iterator[tuple[float, int]]:
        """Yield the values found and their numbers, largest first."""
        return zip(self.values.tolist(), self.places.tolist(), strict=True)


def first_largest(values: Float[Tensor, " entry"], k: int) -> Int[Tensor, " chosen"]:
    """Return the places of the `k` largest values, in order of place; of equal ones the first."""
    if k >= len(values):
        return torch.arange(len(values), device=values.device)
    if k <= 0:
        return torch.empty(0, dtype=torch.long, device=values.device)
    least = values.topk(k).values[-1]
    above = (values > least).nonzero()[:, 0]
    equal = (values == least).nonzero()[:, 0][: k - len(above)]
    return torch.cat((above, equal)).sort().values


def ov_circuit(model: SubjectModel, head: str) -> VocabularyCircuit:
    """Return what attending to each token adds to each token's logit: [source, out].

    Raises:
        GraphError: the model has no such head.
        DecompositionError: tokens are embedded in another width, or unembedded by no matrix.
    """
    value, out = ov_factors(model, head)
    weight, bias = model.unembedding
    folded, _ = model.final_norm.fold(weight, bias)
    left, right = wide(embeddings(model)) @ wide(value), wide(out) @ wide(folded)
    return VocabularyCircuit(f"OV circuit of {head}", left, right)


def qk_circuit(model: SubjectModel, head: str) -> VocabularyCircuit:
    """Return the score of each token for each token: [destination, source].

    Raises:
        GraphError: the model has no such head.
        DecompositionError: tokens are embedded in another width.
    """
    query, key = qk_factors(model, head)
    embed = wide(embeddings(model))
    left, right = embed @ wide(query), (embed @ wide(key)).T
    return VocabularyCircuit(f"QK circuit of {head}", left, right)


def ov_factors(
    model: SubjectModel, head: str
) -> tuple[Float[Tensor, "d_model d_head"], Float[Tensor, "d_head d_model"]]:
    """Return W_V and W_O of a head, norms folded in.

    Raises:
        GraphError: the model has no such head.
        DecompositionError: the head is more than four matrices.
    """
    attention, number = _plain(model, head)
    value = attention.weight(READS[2])[_group(attention, number)]
    return value, attention.w_out[number]


def qk_factors(
    model: SubjectModel, head: str
) -> tuple[Float[Tensor, "d_model d_head"], Float[Tensor, "d_model d_head"]]:
    """Return W_Q, times the scale of scores, and W_K of a head, norms folded in.

    Raises:
        GraphError: the model has no such head.
        DecompositionError: the head is more than four matrices.
    """
    attention, number = _plain(model, head)
    query = _normed(attention.weight("q"), attention.q_norm)[number]
    key = _normed(attention.weight("k"), attention.k_norm)[_group(attention, number)]
    return query * attention.scale, key


def _plain(model: SubjectModel, head: str) -> tuple[Attention, int]:
    """Return the attention that a head belongs to, and its number there."""
    layer, number = model.graph.place_of_head(head)
    attention = model.layers[layer].attention
    if not attention.is_plain:
        raise DecompositionError(
            f"model {model.name!r}, head {head}: must be a product of matrices, got "
            f"{type(attention).__name__}. A norm or a gate stands between them, so that what it "
            "reads and writes is no matrix of its own. Look at effects instead of weights."
        )
    return attention, number


def embeddings(model: SubjectModel) -> Float[Tensor, "vocab d_model"]:
    """Return the embedding of every token.

    Raises:
        DecompositionError: it is of another width than the residual stream.
    """
    found = model.token_embeddings
    if found.shape[1] != model.graph.d_model:
        raise DecompositionError(
            f"model {model.name!r}, embedding: must be as wide as the residual stream "
            f"({model.graph.d_model}), got {found.shape[1]}. Heads do not read it as it is. "
            "Circuits over the vocabulary cannot be had for this model."
        )
    return found


def wide(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return half precision as float32."""
    return x.float() if x.dtype in HALF else x


def _group(attention: Attention, head: int) -> int:
    return head // (attention.n_heads // attention.n_kv_heads)


def _normed(
    weight: Float[Tensor, "read_head d_model d_head"], norm: HeadNorm | None
) -> Float[Tensor, "read_head d_model d_head"]:
    """Return a projection with the norm behind it folded in, but for its scale."""
    if norm is None:
        return weight
    if norm.norm.is_centred:
        weight = weight - weight.mean((0, 2) if norm.is_joint else 2, keepdim=True)
    own = norm.norm.weight.reshape(-1, 1, weight.shape[-1])  # one row for each head if joint
    return weight * own
