"""From prompt pairs to token tensors: alignment, padding, and every check on the way."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from circuitkit.errors import AlignmentError, PromptError
from circuitkit.prompts.alignment import Side, checked_rule, pieces_of, require_one_token
from circuitkit.prompts.answers import Layout, branches_of, further_columns, laid_out, spelled
from circuitkit.prompts.batch import Labels
from circuitkit.prompts.clusters import cluster_names
from circuitkit.prompts.encoding import SHOWN, checked_bos, encode, pieces, shown
from circuitkit.prompts.expected import Expected, expected_from, expected_of
from circuitkit.prompts.pairs import ANSWERS, END, PromptPair, PromptPairs, Span
from circuitkit.prompts.pieces import Piece, shifted
from circuitkit.prompts.spans import token_roles

MANY = 600  # characters that a message shows of a prompt's tokens


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase | None) -> str:
    """Return what a tokenizer makes of its vocabulary, as 16 hex digits; empty for none."""
    if tokenizer is None:
        return ""
    vocabulary = sorted(tokenizer.get_vocab().items())
    return hashlib.sha256(repr(vocabulary).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Encoded:
    """One pair as token ids, before padding. Spans count tokens."""

    pair: PromptPair
    clean: list[int]
    corrupted: list[int]
    roles: dict[str, Span]
    expected: Expected
    bos: tuple[str, str]  # what was done about that of the clean and of the corrupted prompt
    corrupted_roles: dict[str, Span]
    pieces: tuple[Piece, ...] = ()

    @property
    def template(self) -> str:
        """The pair's template; pairs without one are grouped by their length."""
        return self.pair.template or f"{len(self.clean)} tokens"


def tokenize_pairs(
    pairs: Sequence[PromptPair],
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    drop_misaligned: bool = False,
    padding_side: Literal["left", "right"] = "left",
    pad_token: int = 0,
    bos: str = "auto",
) -> PromptPairs:
    """Return the pairs as padded tensors, each checked.

    Text gets the tokenizer's beginning-of-sequence token as `bos` says (prompts/encoding.py); token
    ids are taken as they are. Without a tokenizer, all prompts and answers must be token ids.

    Raises:
        PromptError: no pairs, an empty prompt, a word the tokenizer does not know, a bad role.
        AlignmentError: a pair or a template differs in length (pairs only if not dropped).
        AnswerError: an answer is unknown, right and wrong at once, or begins as another one does.
    """
    bos = checked_bos(bos)
    known: dict[str, tuple[int, ...]] = {}
    encoded = [encode_pair(pair, tokenizer, bos, known) for pair in pairs]
    aligned = []
    for each in encoded:
        try:
            aligned.append(_aligned(each, tokenizer))
        except AlignmentError:
            if not drop_misaligned:
                raise
    n_dropped = len(encoded) - len(aligned)
    if not aligned:
        raise PromptError(
            f"prompts: at least one aligned pair is needed, got {len(pairs)} pairs of which "
            f"{n_dropped} differ in length. There is nothing to measure. Supply more pairs."
        )
    _check_templates(aligned)
    return _pad(aligned, padding_side, pad_token, n_dropped)


def encode_pair(
    pair: PromptPair,
    tokenizer: PreTrainedTokenizerBase | None,
    bos: str = "auto",
    known: dict[str, tuple[int, ...]] | None = None,
) -> Encoded:
    """Return one pair as token ids, with its roles as token spans.

    `known` keeps the ids of answers from pair to pair: a task may have the same hundred in each.

    Raises:
        PromptError: an empty prompt, an unknown word or a role outside the prompt.
        AnswerError: there is none, one is unknown, wrong as well, or begins as another one does.
    """
    _require_kinds(pair)
    clean, corrupted = (encode(p, tokenizer, bos) for p in (pair.clean, pair.corrupted))
    roles = token_roles(pair.clean, pair.roles, clean)
    last = (len(clean.ids) - 1, len(clean.ids))
    if roles.setdefault(END, last) != last:
        raise PromptError(
            f"prompt {shown(pair.clean)}: a role {END!r} must be the last token, which it always "
            f"names, got the tokens {roles[END]} of {len(clean.ids)}. The answer would be read "
            "elsewhere. Give the span another name, and name it in `answer_after`."
        )
    expected = expected_of(pair, roles, tokenizer, {} if known is None else known)
    theirs = token_roles(pair.corrupted, pair.corrupted_roles, corrupted, "corrupted")
    done = clean.bos, corrupted.bos
    return Encoded(pair, clean.ids, corrupted.ids, roles, expected, done, theirs)


def _aligned(encoded: Encoded, tokenizer: PreTrainedTokenizerBase | None) -> Encoded:
    """Return a pair with what stands for what, if its prompts can be compared.

    Raises:
        AlignmentError: its lengths differ, and no spans are named that say where.
    """
    clean, corrupted = encoded.clean, encoded.corrupted
    rule = checked_rule(encoded.pair.align, f"prompt {shown(encoded.pair.clean)}: ")
    if not rule:
        if len(clean) != len(corrupted):
            raise _misaligned(encoded, tokenizer)
        return encoded
    sides = (
        Side(pieces(clean, tokenizer), encoded.roles),
        Side(pieces(corrupted, tokenizer), encoded.corrupted_roles),
    )
    found = pieces_of(*sides)
    for place in encoded.expected.places:
        require_one_token(place, found, rule, encoded.roles)
    return replace(encoded, pieces=found)


def _require_kinds(pair: PromptPair) -> None:
    """Refuse fields of a kind that nothing below could read."""
    kinds = {"roles": Mapping, "corrupted_roles": Mapping, "template": str}
    for field, kind in kinds.items():
        value = getattr(pair, field)
        if not isinstance(value, kind):
            raise PromptError(
                f"prompt {shown(pair.clean)}: {field} must be a {kind.__name__.lower()}, got "
                f"{shown(value)}. It could not be read. Correct the pair."
            )
    if not (pair.cluster is None or isinstance(pair.cluster, str)):
        raise PromptError(
            f"prompt {shown(pair.clean)}: cluster must be text or None, got {shown(pair.cluster)}. "
            "Pairs of one cluster count as one. Name what they share."
        )


def _misaligned(encoded: Encoded, tokenizer: PreTrainedTokenizerBase | None) -> AlignmentError:
    return AlignmentError(
        "prompt pair: clean and corrupted must have equally many tokens, got "
        f"{len(encoded.clean)} and {len(encoded.corrupted)}:\n"
        f"  clean     {shown(pieces(encoded.clean[:SHOWN], tokenizer), MANY)}\n"
        f"  corrupted {shown(pieces(encoded.corrupted[:SHOWN], tokenizer), MANY)}\n"
        "Activations are compared position by position. Use words of equal length in tokens, name "
        "the spans that differ and a rule (`roles`, `corrupted_roles`, `align`), or set "
        "`drop_misaligned = True` on the task to drop and count such pairs."
    )


def _check_templates(encoded: Sequence[Encoded]) -> None:
    lengths: dict[str, Encoded] = {}
    for e in encoded:
        first = lengths.setdefault(e.template, e)
        if len(first.clean) != len(e.clean):
            raise AlignmentError(
                f"template {e.template!r}: its prompts must have equally many tokens, got "
                f"{len(first.clean)} for {shown(first.pair.clean)} and {len(e.clean)} "
                f"for {shown(e.pair.clean)}. Means are taken per template and position. Give "
                "longer variants a template of their own."
            )


def _pad(
    encoded: Sequence[Encoded], side: Literal["left", "right"], pad_token: int, n_dropped: int
) -> PromptPairs:
    layouts = [laid_out(len(e.clean), e.expected.places, e.expected.entries) for e in encoded]
    clean, corrupted = (
        [ids + layout.tokens for ids, layout in zip(prompts, layouts, strict=True)]
        for prompts in ([e.clean for e in encoded], [e.corrupted for e in encoded])
    )
    width = max(map(len, clean + corrupted))
    shifts, their_shifts = (
        [width - len(ids) if side == "left" else 0 for ids in rows] for rows in (clean, corrupted)
    )
    expected, lengths = [e.expected for e in encoded], [len(e.clean) for e in encoded]
    is_plain = all(each.is_plain for each in expected)
    has_branches = any(layout.tokens for layout in layouts)
    rows = list(zip(encoded, layouts, shifts, strict=True))
    found = PromptPairs(
        clean=_padded(clean, shifts, width, pad_token),
        corrupted=_padded(corrupted, their_shifts, width, pad_token),
        mask=_real(clean, shifts, width),
        labels=_labels(expected, None if is_plain else layouts),
        label_pos=torch.tensor([e.expected.places[0] + shift for e, _, shift in rows]),
        roles=tuple(_shifted(e, layout, shift) for e, layout, shift in rows),
        templates=tuple(e.template for e in encoded),
        pairs=tuple(e.pair for e in encoded),
        cluster_names=_clusters(encoded),
        n_dropped=n_dropped,
        bos=", ".join(sorted({done for e in encoded for done in e.bos})),
        further=None if is_plain else further_columns(layouts, shifts, width),
        branches=branches_of(layouts, lengths, shifts, width) if has_branches else None,
    )
    return _with_pieces(found, encoded, shifts, their_shifts)


def _labels(expected: Sequence[Expected], layouts: Sequence[Layout] | None) -> Labels:
    """Return what is expected; token by token where the layouts of answers are given."""
    entries = [each.entries for each in expected]
    return Labels(
        _ragged([each.first_ids(is_wrong=False) for each in expected]),
        _ragged([each.first_ids(is_wrong=True) for each in expected]),
        spelled=None if layouts is None else spelled(layouts, entries),
    )


def with_answers_of(pairs: PromptPairs, order: Sequence[int]) -> PromptPairs:
    """Return pairs whose answers have several tokens or places with the answers of others.

    Raises:
        PromptError: the other pair has another number of places.
    """
    encoded = [_encoded(pairs, row) for row in range(len(pairs))]
    given = [
        replace(own, expected=own.expected.with_answers_of(encoded[row].expected))
        for own, row in zip(encoded, order, strict=True)
    ]
    is_right_padded = bool(pairs.mask[:, 0].all())
    found = _pad(given, "right" if is_right_padded else "left", 0, pairs.n_dropped)
    kept = {name: getattr(pairs, name) for name in ("cluster_names", "bos", "n_repeats")}
    return replace(found, **kept)


def _encoded(pairs: PromptPairs, row: int) -> Encoded:
    """Return a pair as it was before padding."""
    real, first = pairs.prompt_mask[row], int(pairs.mask[row].long().argmax())
    labelled = [int(column) - first for column in pairs.clean_batch.labelled[row]]
    roles = {
        name: (start - first, end - first)
        for name, (start, end) in pairs.roles[row].items()
        if name != ANSWERS
    }
    return Encoded(
        pairs.pairs[row],
        pairs.clean[row, real].tolist(),
        pairs.corrupted[row, real].tolist(),
        roles,
        expected_from(pairs.labels, row, labelled),
        (pairs.bos, pairs.bos),
        {},
    )


def _shifted(encoded: Encoded, layout: Layout, shift: int) -> dict[str, Span]:
    """Return the roles as columns, and that of the answers' tokens behind the prompt if any."""
    roles = {name: (start + shift, end + shift) for name, (start, end) in encoded.roles.items()}
    if layout.tokens:
        behind = shift + len(encoded.clean)
        roles[ANSWERS] = (behind, behind + len(layout.tokens))
    return roles


def _clusters(encoded: Sequence[Encoded]) -> tuple[str, ...]:
    return cluster_names(
        [e.clean for e in encoded],
        [e.expected.places[0] for e in encoded],
        [e.expected.right for e in encoded],
        [e.pair.cluster for e in encoded],
        [e.corrupted for e in encoded],
    )


def _with_pieces(
    pairs: PromptPairs, encoded: Sequence[Encoded], shifts: list[int], their_shifts: list[int]
) -> PromptPairs:
    """Return the pairs with what stands for what, if some have unequal lengths."""
    if all(ours == theirs for e in encoded for ours, theirs in e.pieces):
        return pairs
    if pairs.labels.spelled is not None:
        raise AlignmentError(
            "prompt pairs: with answers of several tokens or places, clean and corrupted prompts "
            "must have equally many tokens, got pairs that are aligned span by span. The answers "
            "stand behind both. Use answers of one token, or prompts of equal length."
        )
    pieces = tuple(
        # of a pair without spans, each token stands for itself
        shifted(e.pieces or (((0, len(e.clean)),) * 2,), *both)
        for e, both in zip(encoded, zip(shifts, their_shifts, strict=True), strict=True)
    )
    mask = _real([e.corrupted for e in encoded], their_shifts, pairs.corrupted.shape[1])
    return replace(pairs, corrupted_mask=mask, pieces=pieces)


def _padded(
    prompts: Sequence[list[int]], shifts: Sequence[int], width: int, pad_token: int
) -> Int[Tensor, "pair pos"]:
    """Return prompts as rows, each behind so many columns of padding."""
    rows = torch.full((len(prompts), width), pad_token)
    for row, ids, shift in zip(rows, prompts, shifts, strict=True):
        row[shift : shift + len(ids)] = torch.tensor(ids)
    return rows


def _real(
    prompts: Sequence[list[int]], shifts: Sequence[int], width: int
) -> Bool[Tensor, "pair pos"]:
    """Return which columns of such rows hold the prompts."""
    starts = torch.tensor(shifts).unsqueeze(1)
    ends = starts + torch.tensor([[len(ids)] for ids in prompts])
    columns = torch.arange(width)
    return (starts <= columns) & (columns < ends)


def _ragged(rows: Sequence[Sequence[int]]) -> Int[Tensor, "row entry"]:
    width = max(len(row) for row in rows)
    filled = [[*row, *[-1] * (width - len(row))] for row in rows]
    return torch.tensor(filled, dtype=torch.long).reshape(len(rows), width)
