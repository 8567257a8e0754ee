"""Composition: how much of what a later head reads, by weights, an earlier head could have written.

    score   =  ||A B|| / (||A|| ||B||)        Frobenius norms, no unit, from 0 to 1
    A       =  W_V W_O of the earlier head
    B       =  W_Q W_K^T of the later head    read q          (Q-composition)
               W_K W_Q^T                      read k          (K-composition)
               W_V W_O                        read v          (V-composition)
    excess  =  score - mean over random A, B;   z  =  excess / their standard deviation

Rows are tokens' streams, so A writes what B reads. Random A and B are products of Gaussian factors
of the same shapes: what heads that know nothing of each other would score. Their mean is about
1 / sqrt(d_model) and must be taken off before heads are compared. Norms are folded in as in
weights.py, and what a LayerNorm's centring hides of a write is not counted. A high score is no
proof of use: weights alone do not say what is written when. Rotated queries and keys are taken at
distance zero, and norms behind attention without their scale. Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits", Q-, K- and V-composition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens import FactoredMatrix
from transformer_lens.utilities.matrix import composition_scores

from circuitkit.circuits.graph import component_of, read_of
from circuitkit.errors import MethodError
from circuitkit.interpretation.section import Column, Section, Table
from circuitkit.interpretation.weights.products import ov_factors, qk_factors
from circuitkit.model import SubjectModel

MIN_RANDOM = 2  # for a standard deviation


@dataclass(frozen=True)
class Composition:
    """The composition score of an edge between two heads, and what random matrices score."""

    edge: str
    score: float
    random_mean: float
    random_std: float
    n_random: int

    @property
    def excess(self) -> float:
        """The score over that of random matrices."""
        return self.score - self.random_mean

    @property
    def z(self) -> float:
        """The excess in standard deviations of the random scores."""
        return self.excess / self.random_std


def compose(
    model: SubjectModel, edges: Sequence[str], *, n_random: int = 50, seed: int = 0
) -> tuple[Composition, ...]:
    """Return the composition of each edge between heads, as `a0.h2->a1.h1<k>`.

    A head of zeros composes with nothing: its score is 0.

    Raises:
        GraphError: there is no such edge, or an end of it is not a head.
        MethodError: too few random matrices.
    """
    if n_random < MIN_RANDOM:
        raise MethodError(
            f"composition: n_random must be at least {MIN_RANDOM}, got {n_random}. The score is "
            "told from chance by their spread. Give more."
        )
    scores = [_score(model, edge) for edge in edges]
    chance = random_scores(model.graph.d_model, model.d_head, n_random, seed)
    mean, std = float(chance.mean()), float(chance.std())
    return tuple(
        Composition(edge, score, mean, std, n_random)
        for edge, score in zip(edges, scores, strict=True)
    )


def section(compositions: Sequence[Composition]) -> Section:
    """Return the composition of edges as a section."""
    reading = (
        "How much of what the later head reads the earlier one could have written, by weights "
        "alone. Read z, not the score: random heads score above 0. A high z is no proof of use."
    )
    columns = (
        Column("edge", "code"),
        *(Column(name, "number") for name in ("score", "by chance", "z")),
    )
    rows = tuple((each.edge, each.score, each.random_mean, each.z) for each in compositions)
    return Section("composition", "Composition", reading, tables=(Table("", columns, rows),))


@cache
def random_scores(d_model: int, d_head: int, n: int, seed: int) -> Float[Tensor, " draw"]:
    """Return the scores of `n` pairs of Gaussian heads of these widths."""
    generator = torch.Generator().manual_seed(seed)

    def head() -> FactoredMatrix:
        shape = (n, d_model, d_head)
        left, right = (
            torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)
        )
        return FactoredMatrix(left, right.mT)

    scores: Tensor = composition_scores(head(), head(), broadcast_dims=False)
    return scores


def _score(model: SubjectModel, edge: str) -> float:
    model.graph.edge_number(edge)
    sender, _, receiver = edge.partition("->")
    earlier, later = _ov(model, sender, receiver), _read(model, receiver)
    if not all(bool(factor.any()) for matrix in (earlier, later) for factor in matrix.pair):
        return 0.0
    return float(composition_scores(earlier, later))


def _read(model: SubjectModel, receiver: str) -> FactoredMatrix:
    head, read = component_of(receiver), read_of(receiver)
    if read == "v":
        return _ov(model, head, receiver)
    query, key = (w.double() for w in qk_factors(model, head))
    return FactoredMatrix(query, key.mT) if read == "q" else FactoredMatrix(key, query.mT)


def _ov(model: SubjectModel, head: str, receiver: str) -> FactoredMatrix:
    value, out = (w.double() for w in ov_factors(model, head))
    layer, _ = model.graph.place_of_head(component_of(receiver))
    if model.layers[layer].attention.norm.is_centred:
        out = out - out.mean(-1, keepdim=True)
    return FactoredMatrix(value, out)
