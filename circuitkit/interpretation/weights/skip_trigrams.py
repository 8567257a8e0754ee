"""Skip trigrams of a head: "source ... destination -> out", strongest first, by weights alone.

    strength(source, destination, out)  =  QK[destination, source] OV[source, out]

QK is centred over sources, as the softmax is, OV over the tokens written, as probabilities are;
only triples with both above zero are listed: a token that is attended to and raises another. Scores
times logits: an order, not a size. `direct` is what the destination's own embedding adds to `out`,
with no head: W_E W_U, norms folded, centred alike.

A head's QK does not know what is written and its OV not where from, so "keep ... in -> mind" and
"keep ... at -> bay" come with the bug "keep ... in -> bay": the same strength, whatever the
destination. Only the direct path can tell them apart. Positions, biases and other layers are left
out (weights.py). Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", section
on skip-trigrams.

The `k` strongest are exact: none of them can have a destination or an output that is not among the
`k` best of its source.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.interpretation.section import Column, Section, Table
from circuitkit.interpretation.weights.products import (
    WIDTHS,
    Best,
    embeddings,
    first_largest,
    ov_circuit,
    qk_circuit,
    wide,
)
from circuitkit.interventions.budget import COMFORTABLE
from circuitkit.model import SubjectModel


@dataclass(frozen=True)
class SkipTrigram:
    """One skip trigram by its words: score, logits, and the direct path's logits."""

    source: str
    destination: str
    out: str
    qk: float
    ov: float
    direct: float

    @property
    def strength(self) -> float:
        """QK times OV."""
        return self.qk * self.ov

    def __str__(self) -> str:
        return f"{self.source} ... {self.destination} -> {self.out}"


def skip_trigrams(
    model: SubjectModel, head: str, k: int = 20, *, memory: int = COMFORTABLE
) -> tuple[SkipTrigram, ...]:
    """Return the `k` strongest skip trigrams of a head, fewer if there are no more.

    Of equal ones the lowest source, destination and output ids come first.

    Raises:
        GraphError: the model has no such head.
        DecompositionError: tokens are embedded in another width, or unembedded by no matrix.
    """
    scores, logits = qk_circuit(model, head), ov_circuit(model, head)
    # row by source: who attends to it, and what is then written
    found_by = (scores.right - scores.right.mean(1, keepdim=True)).T
    written = logits.right - logits.right.mean(1, keepdim=True)
    n_destinations, n_out = len(scores.left), written.shape[1]
    row_bytes = (n_destinations + n_out) * written.element_size() * WIDTHS
    size = max(1, memory // row_bytes)
    best = Best(k, written)
    for start in range(0, len(found_by), size):
        qk = found_by[start : start + size] @ scores.left.T
        ov = logits.left[start : start + size] @ written
        bounds = qk.amax(1) * ov.amax(1)
        for row in range(len(qk)):
            if float(bounds[row]) <= best.least:
                continue  # no triple of this source can enter
            destinations, outs = _positive(qk[row], k), _positive(ov[row], k)
            strengths = torch.outer(qk[row, destinations], ov[row, outs])
            places = (start + row) * n_destinations + destinations
            best.add_at(strengths.flatten(), (places[:, None] * n_out + outs).flatten())
    found = [_split(place, n_destinations, n_out) for _, place in best.entries()]
    direct = _direct_path(model, [(d, out) for _, d, out in found])
    trigrams = []
    for (source, destination, out), own in zip(found, direct, strict=True):
        words = [model.text_of([token]) for token in (source, destination, out)]
        score = float(found_by[source] @ scores.left[destination])
        logit = float(logits.left[source] @ written[:, out])
        trigrams.append(SkipTrigram(words[0], words[1], words[2], score, logit, own))
    return tuple(trigrams)


def section(head: str, trigrams: Sequence[SkipTrigram]) -> Section:
    """Return the skip trigrams of a head as a section."""
    reading = (
        "If the token at the destination attends to the source, the head raises the output: by "
        "weights alone, strongest first. Strengths are an order, not a size; direct is what the "
        "destination's own embedding adds to the output with no head."
    )
    words = ("source", "destination", "output")
    numbers = ("strength", "QK score", "OV logits", "direct logits")
    columns = (
        *(Column(name, "token") for name in words),
        *(Column(name, "number") for name in numbers),
    )
    rows = tuple(
        (each.source, each.destination, each.out, each.strength, each.qk, each.ov, each.direct)
        for each in trigrams
    )
    key = f"skip-trigrams-{head.replace('.', '-')}"
    title = f"Skip trigrams of {head}"
    return Section(key, title, reading, tables=(Table("", columns, rows),))


def _positive(values: Float[Tensor, " token"], k: int) -> Int[Tensor, " chosen"]:
    chosen = first_largest(values, k)
    return chosen[values[chosen] > 0]


def _split(place: int, n_destinations: int, n_out: int) -> tuple[int, int, int]:
    rest, out = divmod(place, n_out)
    return *divmod(rest, n_destinations), out


def _direct_path(model: SubjectModel, pairs: list[tuple[int, int]]) -> list[float]:
    """Return what each token's own embedding adds to another's logit, centred."""
    weight, bias = model.unembedding
    folded, _ = model.final_norm.fold(wide(weight), wide(bias))
    centred = folded - folded.mean(1, keepdim=True)
    embed = wide(embeddings(model))
    return [float(embed[token] @ centred[:, out]) for token, out in pairs]
