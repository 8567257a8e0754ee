"""Prompt pairs: what a task supplies, and the same pairs as the padded tensors that runs read.

Clean and corrupted prompts of a pair are compared position by position, so they have equally many
tokens, or name the spans that have not (alignment.py). Position ids count real tokens only, so a
padded prompt gives the same numbers as an unpadded one. `circuitkit.prompts.tokenization` makes the
second from the first. Answers of several tokens are read behind the prompt, in branches
(prompts/answers.py).
"""

import hashlib
import string
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.prompts.answers import Branches
from circuitkit.prompts.batch import Labels, PromptBatch, labelled_columns
from circuitkit.prompts.pieces import Piece, is_unequal, stand_ins
from circuitkit.work.notebook import Shown
from circuitkit.work.text import brief, shown

Span = tuple[int, int]
MessageSpan = tuple[int, int, int]  # which message, then the span in its content
Message = Mapping[str, str]  # {"role": ..., "content": ...}
Prompt = str | Sequence[int] | Sequence[Message]
Answer = str | int | Sequence[int]
END = "END"
ANSWERS = "ANSWERS"  # the role of the answers' tokens behind a prompt, where there are any
MAX_PAIRS = 50_000  # of a split: more would take minutes to draw, and say no more


@dataclass(frozen=True)
class PromptPair:
    """One clean and one corrupted prompt, with the answers expected after the clean one.

    Prompts are text, token ids, or messages that the model's chat template renders (chat.py).
    `roles` names spans of the clean prompt, end exclusive: of characters for text, of tokens for
    token ids, (message, start, end) in characters of its content for messages. The answer is read
    after the role `answer_after`; the role END (the last token) always exists. An answer is text of
    one or more tokens, a token id, or a sequence of them. With several roles in `answer_after`,
    `answers` and `wrong_answers` hold a sequence for each. Pairs of one `template` have equally
    many tokens.
    Pairs of one `cluster` are not independent: they share a fact or a wording, say. None leaves it
    to their contents (prompts/clusters.py). `corrupted_roles` names spans of the corrupted prompt;
    with a rule `align` the spans that both name may have unequal lengths (prompts/alignment.py).
    """

    clean: Prompt
    corrupted: Prompt
    answers: Sequence[Answer] | Sequence[Sequence[Answer]]
    wrong_answers: Sequence[Answer] | Sequence[Sequence[Answer]] = ()
    roles: Mapping[str, Span | MessageSpan] = field(default_factory=dict)
    template: str = ""
    answer_after: str | Sequence[str] = END
    cluster: str | None = None
    corrupted_roles: Mapping[str, Span | MessageSpan] = field(default_factory=dict)
    align: str = ""

    def __repr__(self) -> str:
        prompts = f"{shown(self.clean, 60)} / {shown(self.corrupted, 60)}"
        return brief(f"PromptPair({prompts} -> {shown(list(self.answers), 40)})")

    def contents(self) -> tuple[str | tuple[object, ...], str | tuple[object, ...]]:
        """Return both prompts in a form that can be compared and hashed."""
        return _hashable(self.clean), _hashable(self.corrupted)

    def right_answers(self) -> list[Hashable]:
        """Return the right answers, of all places, in a form that can be compared and hashed."""
        several = not isinstance(self.answer_after, str)
        flat = [each for some in self.answers for each in some] if several else self.answers  # type: ignore[union-attr]
        return [each if isinstance(each, str | int) else tuple(each) for each in flat]


def _hashable(prompt: Prompt) -> str | tuple[object, ...]:
    if isinstance(prompt, str):
        return prompt
    return tuple(
        tuple(sorted(part.items())) if isinstance(part, Mapping) else part for part in prompt
    )


def fill(template: str, **words: str) -> tuple[str, dict[str, Span]]:
    """Return `template` with its `{slots}` filled, and the character span of each slot.

    >>> fill("The {noun} lasted from {start}", noun="war", start="1741")
    ('The war lasted from 1741', {'noun': (4, 7), 'start': (20, 24)})
    """
    text, spans = "", {}
    for literal, slot, _, _ in string.Formatter().parse(template):
        text += literal
        if slot is not None:
            spans[slot] = (len(text), len(text) + len(words[slot]))
            text += words[slot]
    return text, spans


def next_word(text: str, span: Span) -> Span:
    """Return the span of the word or punctuation mark that follows `span`.

    >>> next_word("Mary and John", (0, 4))
    (5, 8)
    """
    start = span[1]
    while start < len(text) and text[start].isspace():
        start += 1
    end = start + 1
    while end < len(text) and text[start].isalnum() and text[end].isalnum():
        end += 1
    return start, end


@dataclass(frozen=True)
class PromptPairs(Shown):
    """Tokenised pairs. Positions count from the left of the padded tensors.

    Logits are read at `label_pos`, and at the columns `further` where there are several places or
    tokens; behind a prompt stand the tokens of its answers, in `branches` (prompts/answers.py).
    `bos` says what was done about the beginning-of-sequence token: "added" in front of text,
    "present" in the text, "none", "as given" of token ids; several where prompts differ.
    `n_dropped` pairs were misaligned, `n_repeats` had the contents of another: both are left out.
    Where some pair has unequal lengths, `corrupted_mask` and `pieces` are there: the real tokens of
    the corrupted prompts, and which of their columns stand for which of the clean ones.
    """

    clean: Int[Tensor, "pair pos"]
    corrupted: Int[Tensor, "pair pos"]
    mask: Bool[Tensor, "pair pos"]
    labels: Labels
    label_pos: Int[Tensor, " pair"]
    roles: tuple[Mapping[str, Span], ...]
    templates: tuple[str, ...]
    pairs: tuple[PromptPair, ...]
    cluster_names: tuple[str, ...]
    n_dropped: int = 0
    bos: str = ""
    n_repeats: int = 0
    further: Int[Tensor, "pair further"] | None = None
    branches: Branches | None = None
    corrupted_mask: Bool[Tensor, "pair pos"] | None = None
    pieces: tuple[tuple[Piece, ...], ...] = ()

    def __repr__(self) -> str:
        first = f"; the first: {self.pairs[0]!r}" if self.pairs else ""
        return brief(f"PromptPairs({len(self)} pairs, {self.clean.shape[1]} positions{first})")

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def clean_batch(self) -> PromptBatch:
        """The clean prompts, ready to run."""
        return self._batch(self.clean)

    @property
    def corrupted_batch(self) -> PromptBatch:
        """The corrupted prompts, ready to run; the answers behind them are the same."""
        if self.corrupted_mask is None:
            return self._batch(self.corrupted)
        stand_ins = self._stand_ins()
        read = stand_ins[torch.arange(len(self)), self.label_pos].argmax(-1)
        labels = self.labels.ids_alone()
        return PromptBatch(self.corrupted, self.corrupted_mask, read, labels, stand_ins=stand_ins)

    def _batch(self, tokens: Int[Tensor, "pair pos"]) -> PromptBatch:
        labels = self.labels.ids_alone()
        return PromptBatch(tokens, self.mask, self.label_pos, labels, self.further, self.branches)

    @property
    def is_level(self) -> bool:
        """Whether the clean and the corrupted prompt of every pair have equal lengths."""
        return self.corrupted_mask is None

    @property
    def align(self) -> str:
        """The rules by which pairs of unequal length were aligned, empty where there is none."""
        both = zip(self.pairs, self.pieces, strict=bool(self.pieces))
        return ", ".join(sorted({pair.align for pair, own in both if any(map(is_unequal, own))}))

    @property
    def differs(self) -> Bool[Tensor, "pair pos"]:
        """Where the token of the clean prompt is another than the one that stands for it."""
        if self.is_level:
            return self.clean != self.corrupted
        weights = self._stand_ins()
        at = weights.argmax(-1)
        is_single = weights.gather(-1, at.unsqueeze(-1))[..., 0] == 1
        return self.mask & ~(is_single & (self.clean == self.corrupted.gather(1, at)))

    def _stand_ins(self) -> Float[Tensor, "pair pos pos"]:
        width = self.clean.shape[1]
        both = zip(self.pieces, self.pairs, strict=True)
        return torch.stack([stand_ins(own, pair.align, width) for own, pair in both])

    @property
    def first_read(self) -> int:
        """The first column at which any logits are read."""
        return int(labelled_columns(self.label_pos, self.further).min())

    @property
    def prompt_mask(self) -> Bool[Tensor, "pair pos"]:
        """Which columns are tokens of the prompts, not padding and not of answers behind them."""
        return self.mask if self.branches is None else self.mask & (self.branches.number == 0)

    @property
    def lengths(self) -> Int[Tensor, " pair"]:
        """The number of tokens of each prompt."""
        return self.prompt_mask.sum(1)

    def slots(self) -> list[list[tuple[int, int]]]:
        """Return what stands in each real column of each pair, as (branch, place in it).

        Branch 0 is the prompt; an answer behind it begins at its place 1.
        """
        if self.branches is None:
            return [[(0, place) for place in range(n)] for n in self.lengths.tolist()]
        own = torch.where(self.branches.number > 0, self.branches.roots, 0)
        both = torch.stack((self.branches.number, self.branches.positions - own), -1)
        rows = zip(both, self.mask, strict=True)
        return [[(b, p) for b, p in row[real].tolist()] for row, real in rows]

    def prompts_alone(self) -> "PromptPairs":
        """Return the pairs without the answers' tokens behind the prompts, padded anew.

        The labels are then the first token of each answer, at the first place.
        """
        if self.labels.spelled is None:
            return self
        first, lengths = self.mask.long().argmax(1), self.lengths
        width = int(lengths.max())
        shift = torch.zeros_like(lengths) if not bool(first.any()) else width - lengths - first
        columns = torch.arange(width) - shift.unsqueeze(1)
        there = columns.clamp(min=0, max=self.mask.shape[1] - 1)
        real = (columns == there) & self.prompt_mask.gather(1, there)
        return replace(
            self,
            clean=self.clean.gather(1, there).where(real, 0),
            corrupted=self.corrupted.gather(1, there).where(real, 0),
            mask=real,
            labels=Labels(self.labels.answers, self.labels.wrong_answers),
            label_pos=self.label_pos + shift,
            roles=tuple(
                {name: (a + by, b + by) for name, (a, b) in roles.items() if name != ANSWERS}
                for roles, by in zip(self.roles, shift.tolist(), strict=True)
            ),
            further=None,
            branches=None,
        )

    @property
    def clusters(self) -> NDArray[np.int64]:
        """The number of each pair's cluster, from 0 on: pairs of one are not independent."""
        number: dict[str, int] = {}
        return np.array([number.setdefault(name, len(number)) for name in self.cluster_names])

    @property
    def n_clusters(self) -> int:
        """How many clusters there are: so many pairs are independent."""
        return len(set(self.cluster_names))

    @property
    def digest(self) -> str:
        """What these pairs are, as 16 hex digits: tokens, padding, answers, places, templates."""
        hashed = hashlib.sha256(repr(self.templates).encode())
        labels = [self.labels.answers, self.labels.wrong_answers, self.label_pos]
        if self.labels.spelled is not None:
            labels += self.labels.spelled.tensors
        if self.further is not None:
            labels.append(self.further)
        for tensor in (self.clean, self.corrupted, self.mask, *labels):
            hashed.update(repr(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
        if not self.is_level:
            hashed.update(repr((self.pieces, [pair.align for pair in self.pairs])).encode())
        return hashed.hexdigest()[:16]

    @property
    def prompt_digests(self) -> tuple[str, ...]:
        """A digest of every different prompt, clean or corrupted: 12 hex digits of its tokens."""
        return tuple(sorted({d for pair in self.pair_digests() for d in pair}))

    def pair_digests(self) -> list[tuple[str, str]]:
        """Return the digests of the clean and the corrupted prompt of each pair."""
        theirs = self.prompt_mask if self.corrupted_mask is None else self.corrupted_mask
        rows = zip(self.clean, self.prompt_mask, self.corrupted, theirs, strict=True)
        return [
            (_digest(clean[real]), _digest(corrupted[their_real]))
            for clean, real, corrupted, their_real in rows
        ]

    def contents(self) -> list[tuple[object, ...]]:
        """Return what the model sees of each pair: prompts, where answers are read, the answers."""
        first = self.mask.long().argmax(1)
        if self.labels.spelled is not None:
            columns = labelled_columns(self.label_pos, self.further) - first.unsqueeze(1)
            n_places = (self.labels.spelled.place.amax(1) + 1).tolist()
            read = [tuple(row[:n]) for row, n in zip(columns.tolist(), n_places, strict=True)]
            entries = self.labels.spelled.contents()
            return list(zip(self.pair_digests(), read, entries, strict=True))
        places: list[int] = (self.label_pos - first).tolist()
        right = [tuple(sorted(ids)) for ids in self.labels.answers.tolist()]
        wrong = [tuple(sorted(ids)) for ids in self.labels.wrong_answers.tolist()]
        return list(zip(self.pair_digests(), places, right, wrong, strict=True))

    @property
    def reading(self) -> str:
        """How answers of several tokens or places are read, in a sentence; empty for others."""
        spelled = self.labels.spelled
        if spelled is None:
            return ""
        n_tokens = spelled.ids.shape[-1]
        places = f" at up to {spelled.n_places} places" if spelled.n_places > 1 else ""
        tokens = f" of up to {n_tokens} tokens, each after those before it" if n_tokens > 1 else ""
        return f"Read: answers{places}{tokens}; the log-probability stands for the logit."

    def answers_of(self, row: int) -> tuple[list[list[int]], list[list[int]]]:
        """Return the token ids of each right and of each wrong answer of a pair."""
        spelled = self.labels.spelled
        if spelled is None:
            both = self.labels.answers[row].tolist(), self.labels.wrong_answers[row].tolist()
            right, wrong = ([[token] for token in ids if token >= 0] for ids in both)
            return right, wrong
        entries = zip(spelled.ids[row].tolist(), spelled.is_wrong[row].tolist(), strict=True)
        found: tuple[list[list[int]], list[list[int]]] = ([], [])
        for ids, is_wrong in entries:
            own = [token for token in ids if token >= 0]
            found[is_wrong].extend([own] if own else [])
        return found

    def select(self, rows: Sequence[int]) -> "PromptPairs":
        """Return the pairs of these rows, in this order, with the same padding."""
        at = torch.tensor(list(rows), dtype=torch.long)
        return replace(
            self,
            clean=self.clean[at],
            corrupted=self.corrupted[at],
            mask=self.mask[at],
            labels=self.labels.map(lambda x: x[at]),
            label_pos=self.label_pos[at],
            further=None if self.further is None else self.further[at],
            branches=None if self.branches is None else self.branches.map(lambda x: x[at]),
            roles=tuple(self.roles[i] for i in rows),
            templates=tuple(self.templates[i] for i in rows),
            pairs=tuple(self.pairs[i] for i in rows),
            cluster_names=tuple(self.cluster_names[i] for i in rows),
            corrupted_mask=None if self.corrupted_mask is None else self.corrupted_mask[at],
            pieces=tuple(self.pieces[i] for i in rows) if self.pieces else (),
        )

    def batches(self, size: int) -> Iterator["PromptPairs"]:
        """Yield the pairs in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.select(range(start, min(start + size, len(self))))

    def with_clean_logits(self, logits: Float[Tensor, "pair *label vocab"]) -> "PromptPairs":
        """Return the same pairs, labelled with the logits of the clean run."""
        return replace(self, labels=replace(self.labels, clean_logits=logits))


def _digest(tokens: Int[Tensor, " pos"]) -> str:
    return hashlib.sha256(tokens.numpy().tobytes()).hexdigest()[:12]
