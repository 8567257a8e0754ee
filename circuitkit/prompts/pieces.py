"""Which tokens of the corrupted prompt stand for which of the clean one, piece by piece.

A piece is a span of the clean prompt and the span of the corrupted one that stands for it. Of equal
length they are matched token by token; of unequal length by a rule (alignment.py says more).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.names import ALIGN

Piece = tuple[tuple[int, int], tuple[int, int]]
LAST, MEAN = ALIGN


def is_unequal(piece: Piece) -> bool:
    """Return whether the two spans of a piece have other lengths."""
    (start, end), (their_start, their_end) = piece
    return end - start != their_end - their_start


def shifted(pieces: Sequence[Piece], ours: int, theirs: int) -> tuple[Piece, ...]:
    """Return pieces behind so many columns of padding."""
    return tuple(
        ((s + ours, e + ours), (their_s + theirs, their_e + theirs))
        for (s, e), (their_s, their_e) in pieces
    )


def stand_ins(pieces: Sequence[Piece], rule: str, width: int) -> Float[Tensor, "pos pos"]:
    """Return how much of each corrupted position stands for each clean one; rows sum to 1 or 0."""
    weights = torch.zeros(width, width)
    for piece in pieces:
        (start, end), (their_start, their_end) = piece
        if not is_unequal(piece):
            weights[start:end, their_start:their_end] = torch.eye(end - start)
        elif rule == LAST:
            weights[start:end, their_end - 1] = 1
        else:
            weights[start:end, their_start:their_end] = 1 / (their_end - their_start)
    return weights
