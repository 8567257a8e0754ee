"""Prompts of two classes in parts, each with a share of either class."""

import random
from collections.abc import Sequence
from itertools import accumulate, pairwise

from circuitkit.control.steering.classes import TwoClasses
from circuitkit.errors import PromptError


def parted(prompts: TwoClasses, shares: Sequence[float], seed: int) -> list[TwoClasses]:
    """Return the prompts dealt into parts by a seed. Prompts that are equal count once.

    Raises:
        PromptError: a part would have no prompt of a class, or a prompt is in both.
    """
    rows: list[list[int]] = [[] for _ in shares]
    first: dict[tuple[int, ...], int] = {}
    for row, ids in enumerate(prompts.ids):
        first.setdefault(ids, row)
    if any(
        prompts.labels[first[ids]] != y for ids, y in zip(prompts.ids, prompts.labels, strict=True)
    ):
        raise PromptError(
            "prompts: each must be of one class, got one that is in both. It says nothing of "
            "either. Take it out of one."
        )
    for label in (True, False):
        own = [row for row in first.values() if prompts.labels[row] == label]
        random.Random(seed).shuffle(own)
        ends = [round(end * len(own)) for end in accumulate(shares, initial=0.0)]
        if any(start == end for start, end in pairwise(ends)):
            raise PromptError(
                f"prompts: each class must have one in each of {len(shares)} parts, got "
                f"{len(own)} that are {label}. A direction is tried on other prompts than it was "
                "made from. Add prompts."
            )
        for part, (start, end) in zip(rows, pairwise(ends), strict=True):
            part += own[start:end]
    return [prompts.select(sorted(part)) for part in rows]


def halved(prompts: TwoClasses, seed: int) -> tuple[TwoClasses, TwoClasses]:
    """Return half of each class, and the other half.

    Raises:
        PromptError: a class has one prompt.
    """
    first, second = parted(prompts, (0.5, 0.5), seed)
    return first, second
