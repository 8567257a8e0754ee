"""Answers of several tokens and at several places: how they stand behind a prompt and are read.

An answer is scored by teacher forcing: the probability of each of its tokens after the prompt and
the tokens before it. So that all answers of a pair are read in one pass, they stand behind the
prompt one after the other, each a *branch*:

    column      0 1 2 3   4    5       6
    token       The way to the New York | San            answers " New York City", " San Diego"
    number      0 0 0 0 0      1    1     2
    position    0 1 2 3 4      5    6     5

A token of a branch sees the prompt up to the place that the branch begins behind, and the tokens
before it in its own branch; no token sees a branch that it is not of. The last token of an answer
is predicted and never read, so an answer of one token has no column of its own; where all have one,
nothing stands behind the prompts. This computes exactly what one run for each answer would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

NO_TOKEN = -1  # fills up rows of answers


@dataclass(frozen=True)
class Branches:
    """Which columns are tokens of answers behind a prompt, and what each of them sees.

    `number` is 0 in the prompt (and in padding), else that of the branch. `positions` are the
    position ids. `roots` are the position of the place that a branch begins behind; in a prompt, of
    the token itself.
    """

    number: Int[Tensor, "row pos"]
    positions: Int[Tensor, "row pos"]
    roots: Int[Tensor, "row pos"]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Branches":
        """Return the branches with `function` applied to each tensor."""
        return Branches(function(self.number), function(self.positions), function(self.roots))

    def visible(self) -> Bool[Tensor, "row pos pos"]:
        """Return which columns (last axis) each column sees, padding aside."""
        own, source = self.number.unsqueeze(2), self.number.unsqueeze(1)
        positions = self.positions.unsqueeze(1)
        in_prompt = (source == 0) & (positions <= self.roots.unsqueeze(2))
        in_branch = (source != 0) & (source == own) & (positions <= self.positions.unsqueeze(2))
        return in_prompt | in_branch


@dataclass(frozen=True)
class Spelled:
    """The answers of each pair token by token; an entry is one right or wrong answer.

    Token t of an entry is predicted by the logits of label number `labels[..., t]`. `ids` are
    filled up with -1. `place` counts the places of a pair that are labelled.
    """

    ids: Int[Tensor, "pair entry token"]
    labels: Int[Tensor, "pair entry token"]
    is_wrong: Bool[Tensor, "pair entry"]
    place: Int[Tensor, "pair entry"]

    @property
    def tensors(self) -> list[Tensor]:
        """All that says what is expected."""
        return [self.ids, self.labels, self.is_wrong, self.place]

    @property
    def n_places(self) -> int:
        """The most places that a pair has."""
        return int(self.place.max()) + 1

    def map(self, function: Callable[[Tensor], Tensor]) -> "Spelled":
        """Return the answers with `function` applied to each tensor."""
        return Spelled(*map(function, self.tensors))

    def contents(self) -> list[tuple[object, ...]]:
        """Return the entries of each pair, in an order of their own."""
        pairs = zip(*(x.tolist() for x in (self.place, self.is_wrong, self.ids)), strict=True)
        return [
            tuple(
                sorted((place, wrong, tuple(ids)) for place, wrong, ids in zip(*own, strict=True))
            )
            for own in pairs
        ]


@dataclass(frozen=True)
class Entry:
    """One right or wrong answer of a pair: its tokens, and the number of its place."""

    ids: tuple[int, ...]
    is_wrong: bool = False
    place: int = 0


@dataclass(frozen=True)
class Layout:
    """What stands behind one prompt, and where its logits are read; columns count from its start.

    `labels` has one row for each entry: the number of the label that predicts each token.
    """

    tokens: list[int]
    number: list[int]
    positions: list[int]
    roots: list[int]
    labelled: list[int]
    labels: list[list[int]]


def laid_out(n_prompt: int, places: Sequence[int], entries: Sequence[Entry]) -> Layout:
    """Return how the answers stand behind a prompt of `n_prompt` tokens, read at these places."""
    layout = Layout([], [], [], [], list(places), [])
    for branch, entry in enumerate(entries, start=1):
        root = places[entry.place]
        read_at = [entry.place]
        for offset, token in enumerate(entry.ids[:-1], start=1):
            read_at.append(len(layout.labelled))
            layout.labelled.append(n_prompt + len(layout.tokens))
            layout.tokens.append(token)
            layout.number.append(branch)
            layout.positions.append(root + offset)
            layout.roots.append(root)
        layout.labels.append(read_at)
    return layout


def branches_of(
    layouts: Sequence[Layout], lengths: Sequence[int], shifts: Sequence[int], width: int
) -> Branches:
    """Return the branches of padded rows; prompts have these lengths and begin at `shifts`."""
    found = Branches(*torch.zeros(3, len(layouts), width, dtype=torch.long).unbind())
    for row, (layout, length, shift) in enumerate(zip(layouts, lengths, shifts, strict=True)):
        prompt = slice(shift, shift + length)
        behind = slice(prompt.stop, prompt.stop + len(layout.tokens))
        found.positions[row, prompt] = found.roots[row, prompt] = torch.arange(length)
        for tensor, values in (
            (found.number, layout.number),
            (found.positions, layout.positions),
            (found.roots, layout.roots),
        ):
            tensor[row, behind] = torch.tensor(values, dtype=torch.long)
    return found


def further_columns(
    layouts: Sequence[Layout], shifts: Sequence[int], width: int
) -> Int[Tensor, "row further"]:
    """Return the labelled columns but the first, filled up with others that nothing refers to."""
    n_labels = max(len(layout.labelled) for layout in layouts)
    rows = []
    for layout, shift in zip(layouts, shifts, strict=True):
        columns = [shift + column for column in layout.labelled]
        free = (column for column in range(width - 1, -1, -1) if column not in columns)
        rows.append([*columns[1:], *(next(free) for _ in range(n_labels - len(columns)))])
    return torch.tensor(rows, dtype=torch.long).reshape(len(rows), n_labels - 1)


def spelled(layouts: Sequence[Layout], entries: Sequence[Sequence[Entry]]) -> Spelled:
    """Return the answers of all pairs, token by token."""
    n_entries = max(len(row) for row in entries)
    n_tokens = max(len(entry.ids) for row in entries for entry in row)
    ids = torch.full((len(entries), n_entries, n_tokens), NO_TOKEN)
    labels = torch.zeros_like(ids)
    is_wrong = torch.zeros(len(entries), n_entries, dtype=torch.bool)
    place = torch.zeros(len(entries), n_entries, dtype=torch.long)
    for row, (layout, own) in enumerate(zip(layouts, entries, strict=True)):
        for column, (entry, read_at) in enumerate(zip(own, layout.labels, strict=True)):
            ids[row, column, : len(entry.ids)] = torch.tensor(entry.ids)
            labels[row, column, : len(read_at)] = torch.tensor(read_at)
            is_wrong[row, column], place[row, column] = entry.is_wrong, entry.place
    return Spelled(ids, labels, is_wrong, place)
