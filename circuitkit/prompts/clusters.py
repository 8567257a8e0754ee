"""Which pairs are independent: repeats, which count once, and clusters, which were drawn together.

repeat    the model sees the same again: tokens of both prompts, the answer's place, the answers
cluster   pairs that name the same one (`PromptPair.cluster`); of those that name none, pairs with
          the same answers whose clean prompts share half of their tokens or more, place by place
          from where the answer is read, or whose two prompts are each other's; and always pairs
          of one clean prompt

What is linked to one of a cluster belongs to it. Twenty prompts that differ in a word which does
not matter are one measurement, not twenty: intervals, tests and sample sizes count clusters.
"""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from circuitkit.errors import PromptError
from circuitkit.prompts.pairs import PromptPairs

SHARED = 0.5  # of the tokens of the longer prompt, from which two are near repeats
NO_TOKEN = -1
Rows = NDArray[np.int64]
Answered = int | tuple[int, ...]  # the id of an answer, or its place and its ids


def cluster_names(
    prompts: Sequence[Sequence[int]],
    label_places: Sequence[int],
    answers: Sequence[Sequence[Answered]],
    named: Sequence[str | None],
    corrupted: Sequence[Sequence[int]] = (),
) -> tuple[str, ...]:
    """Return the cluster of each pair, given its clean tokens and where the answer is read.

    Given the `corrupted` tokens too, a pair and the same in the other direction are together. A
    cluster that no pair names is called by a digest of its contents. Which pairs are together,
    and what they are called, does not depend on their order.
    """
    aligned = _aligned(prompts, label_places)
    right = [tuple(sorted(ids)) for ids in answers]
    own = [
        f"content {_digest(row, ids)}" if name is None else name
        for row, ids, name in zip(aligned, right, named, strict=True)
    ]
    columns: list[Sequence[Hashable]] = [own, [row.tobytes() for row in aligned]]
    columns.append(_near(aligned, right, named))
    columns.append(_both_ways(prompts, corrupted, named))
    component = linked([list(enumerate(row)) for row in zip(*columns, strict=True)])
    called: dict[int, str] = {}
    for number, name in sorted(zip(component.tolist(), own, strict=True)):
        called.setdefault(number, name)
    return tuple(called[number] for number in component.tolist())


def without_repeats(pairs: PromptPairs, earlier: Iterable[PromptPairs] = ()) -> PromptPairs:
    """Return the pairs, each content once, and none with a prompt of the `earlier` splits.

    Those left out are counted in `n_repeats`.

    Raises:
        PromptError: none is left.
    """
    taken = {digest for split in earlier for digest in split.prompt_digests}
    seen: set[Hashable] = set()
    kept = []
    both = zip(pairs.contents(), pairs.pair_digests(), strict=True)
    for row, (content, prompts) in enumerate(both):
        if content not in seen and taken.isdisjoint(prompts):
            kept.append(row)
        seen.add(content)
    if not kept:
        raise PromptError(
            f"prompts: a split must hold a pair that is in no other, got {len(pairs)} pairs whose "
            "tokens are all in another split. A circuit would be judged on what made it. Supply "
            "other pairs."
        )
    if len(kept) == len(pairs):
        return pairs
    return replace(pairs.select(kept), n_repeats=pairs.n_repeats + len(pairs) - len(kept))


def _aligned(prompts: Sequence[Sequence[int]], label_places: Sequence[int]) -> Rows:
    """Return the prompts as rows in which all answers are read at the same column."""
    before = max(label_places)
    after = max(len(ids) - at for ids, at in zip(prompts, label_places, strict=True))
    rows = np.full((len(prompts), before + after), NO_TOKEN, dtype=np.int64)
    for row, ids, at in zip(rows, prompts, label_places, strict=True):
        row[before - at : before - at + len(ids)] = ids
    return rows


def _near(
    aligned: Rows, answers: Sequence[tuple[Answered, ...]], named: Sequence[str | None]
) -> list[int]:
    """Return a number for each row, the same for near repeats; named rows are near no other."""
    numbers = list(range(len(aligned)))
    rows_of: dict[tuple[Answered, ...], list[int]] = defaultdict(list)
    for row, (ids, name) in enumerate(zip(answers, named, strict=True)):
        if name is None:
            rows_of[ids].append(row)
    for rows in rows_of.values():
        for row, first in zip(rows, _first_near(aligned[rows]), strict=True):
            numbers[row] = rows[first]
    return numbers


def _both_ways(
    prompts: Sequence[Sequence[int]],
    corrupted: Sequence[Sequence[int]],
    named: Sequence[str | None],
) -> list[Hashable]:
    """Return a key for each row, the same for a pair and its reverse; named rows have their own."""
    others = corrupted or prompts
    return [
        frozenset((tuple(one), tuple(other))) if name is None and corrupted else row
        for row, (one, other, name) in enumerate(zip(prompts, others, named, strict=True))
    ]


def _first_near(aligned: Rows) -> list[int]:
    """Return the first row that each row is linked to, over near repeats of near repeats."""
    columns = np.ascontiguousarray(aligned.T)
    lengths = (aligned != NO_TOKEN).sum(1)
    group = np.full(len(aligned), NO_TOKEN)
    for start in range(len(aligned)):
        waiting = [start] if group[start] == NO_TOKEN else []
        group[waiting] = start
        while waiting:
            at = waiting.pop()
            free = np.flatnonzero(group == NO_TOKEN)
            own = aligned[at]
            held = columns[np.ix_(own != NO_TOKEN, free)] == own[own != NO_TOKEN, None]
            near = free[held.sum(0) >= SHARED * np.maximum(lengths[free], lengths[at])]
            group[near] = start
            waiting += near.tolist()
    return [int(first) for first in group]


def linked(keys: Sequence[Iterable[Hashable]]) -> NDArray[np.int32]:
    """Return a number for each row of keys, the same for rows that are linked by a common key."""
    first: dict[Hashable, int] = {}
    links = [(row, first.setdefault(key, row)) for row, own in enumerate(keys) for key in own]
    n = len(keys)
    if not links:
        return np.arange(n, dtype=np.int32)
    one, other = np.array(links).T
    graph = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(n, n))
    found: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return found


def _digest(row: Rows, answers: tuple[Answered, ...]) -> str:
    """Return what tells a prompt with its answers from others, wherever it is padded."""
    real = np.flatnonzero(row != NO_TOKEN)
    contents = row[real[0] : real[-1] + 1].tobytes() + repr(answers).encode()
    return hashlib.sha256(contents).hexdigest()[:8]
