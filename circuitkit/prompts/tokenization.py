"""From prompt pairs to token tensors: encoding, alignment, padding, and every check on the way."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from circuitkit.errors import AlignmentError, AnswerError, PromptError
from circuitkit.prompts.pairs import END, Labels, PromptPair, PromptPairs, Span


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
    answers: list[int]
    wrong_answers: list[int]

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
) -> PromptPairs:
    """Return the pairs as padded tensors, each checked.

    Text gets the tokenizer's beginning-of-sequence token, if it has one; token ids are taken as
    they are. Without a tokenizer, all prompts and answers must be token ids.

    Raises:
        PromptError: no pairs, an empty prompt, a word the tokenizer does not know, a bad role.
        AlignmentError: a pair or a template differs in length (pairs only if not dropped).
        AnswerError: an answer is not exactly one token.
    """
    encoded = [encode_pair(pair, tokenizer) for pair in pairs]
    aligned = [e for e in encoded if len(e.clean) == len(e.corrupted)]
    n_dropped = len(encoded) - len(aligned)
    if n_dropped and not drop_misaligned:
        raise _misaligned(next(e for e in encoded if len(e.clean) != len(e.corrupted)), tokenizer)
    if not aligned:
        raise PromptError(
            f"prompts: at least one aligned pair is needed, got {len(pairs)} pairs of which "
            f"{n_dropped} differ in length. There is nothing to measure. Supply more pairs."
        )
    _check_templates(aligned)
    return _pad(aligned, padding_side, pad_token, n_dropped)


def encode_pair(pair: PromptPair, tokenizer: PreTrainedTokenizerBase | None) -> Encoded:
    """Return one pair as token ids, with its roles as token spans.

    Raises:
        PromptError: an empty prompt, an unknown word or a role outside the prompt.
        AnswerError: an answer is not exactly one token, or there is none.
    """
    clean, offsets = _encode(pair.clean, tokenizer)
    corrupted, _ = _encode(pair.corrupted, tokenizer)
    roles = {name: _token_span(name, span, offsets, pair) for name, span in pair.roles.items()}
    roles.setdefault(END, (len(clean) - 1, len(clean)))
    if pair.answer_after not in roles:
        raise PromptError(
            f"prompt {pair.clean!r}: answer_after must be a role, got {pair.answer_after!r} among "
            f"{sorted(roles)}. The answer is read after it. Name the span in roles."
        )
    if not pair.answers:
        raise AnswerError(
            f"prompt {pair.clean!r}: needs at least one answer, got none. "
            "Metrics compare answers. Fill `answers`."
        )
    return Encoded(
        pair,
        clean,
        corrupted,
        roles,
        [answer_id(answer, tokenizer) for answer in pair.answers],
        [answer_id(answer, tokenizer) for answer in pair.wrong_answers],
    )


def answer_id(answer: str | int, tokenizer: PreTrainedTokenizerBase | None) -> int:
    """Return the token id of an answer, as it continues a prompt.

    Raises:
        AnswerError: it is not exactly one token, or not a token of the vocabulary.
    """
    if isinstance(answer, int):
        return answer
    ids, _ = _plain_ids(answer, tokenizer)
    if len(ids) > 1 and answer[:1].isspace():
        ids = _behind_a_word(answer, tokenizer)
    if len(ids) != 1 or _is_unknown(ids[0], tokenizer):
        raise AnswerError(
            f"answer {answer!r}: must be exactly one known token, got {_pieces(ids, tokenizer)}. "
            "Its logit is read at one position. Choose another word, or check for a missing "
            "leading space."
        )
    return ids[0]


def _behind_a_word(answer: str, tokenizer: PreTrainedTokenizerBase | None) -> list[int]:
    """Return the ids of an answer that begins with a space.

    Alone it may get a second space: tokenizers such as Llama's begin every text with one.
    """
    before, _ = _plain_ids("a", tokenizer)
    both, _ = _plain_ids("a" + answer, tokenizer)
    return both[len(before) :] if both[: len(before)] == before else both


def _encode(
    prompt: str | Sequence[int], tokenizer: PreTrainedTokenizerBase | None
) -> tuple[list[int], list[Span]]:
    """Return token ids and, for each, its span in the prompt (characters, or the token itself)."""
    if not isinstance(prompt, str):
        ids = [int(token) for token in prompt]
        offsets = [(place, place + 1) for place in range(len(ids))]
    else:
        ids, offsets = _plain_ids(prompt, tokenizer)
        unknown = [
            prompt[s:e] for i, (s, e) in zip(ids, offsets, strict=True) if _is_unknown(i, tokenizer)
        ]
        if unknown:
            raise PromptError(
                f"prompt {prompt!r}: every word must be in the tokenizer's vocabulary, got "
                f"{unknown}. The model would see a blank. Use other words or another model."
            )
    if not ids:
        raise PromptError(f"prompt {prompt!r}: must hold at least one token, got none. Fill it.")
    bos = getattr(tokenizer, "bos_token_id", None)
    if isinstance(prompt, str) and bos is not None:
        return [bos, *ids], [(-1, -1), *offsets]
    return ids, offsets


def _plain_ids(
    text: str, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[list[int], list[Span]]:
    if tokenizer is None:
        raise PromptError(
            f"prompt {text!r}: must be token ids, got text, and the model has no tokenizer. "
            "Give lists of token ids, or put tokenizer.json into the model's directory."
        )
    encoding: Any = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoding["input_ids"]), [tuple(span) for span in encoding["offset_mapping"]]


def _is_unknown(token: int, tokenizer: PreTrainedTokenizerBase | None) -> bool:
    unknown = getattr(tokenizer, "unk_token_id", None)
    # GPT-2 names its end-of-text token as the unknown one too, yet has no unknown words.
    return unknown is not None and token == unknown and unknown != tokenizer.eos_token_id  # type: ignore[union-attr]


def _pieces(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase | None) -> list[str]:
    if tokenizer is None:
        return [str(token) for token in ids]
    return [str(tokenizer.decode([token])) for token in ids]


def _token_span(name: str, span: Span, offsets: list[Span], pair: PromptPair) -> Span:
    start, end = span
    touched = [place for place, (s, e) in enumerate(offsets) if s < end and e > start]
    if not touched:
        raise PromptError(
            f"prompt {pair.clean!r}: role {name!r} must cover a token, got the span {span}. "
            "Spans are (start, end) in the clean prompt, in characters for text and in tokens "
            "for token ids. Correct the span."
        )
    return touched[0], touched[-1] + 1


def _misaligned(encoded: Encoded, tokenizer: PreTrainedTokenizerBase | None) -> AlignmentError:
    return AlignmentError(
        "prompt pair: clean and corrupted must have equally many tokens, got "
        f"{len(encoded.clean)} and {len(encoded.corrupted)}:\n"
        f"  clean     {_pieces(encoded.clean, tokenizer)}\n"
        f"  corrupted {_pieces(encoded.corrupted, tokenizer)}\n"
        "Activations are compared position by position. Use words of equal length in tokens, or "
        "set `drop_misaligned = True` on the task to drop and count such pairs."
    )


def _check_templates(encoded: Sequence[Encoded]) -> None:
    lengths: dict[str, Encoded] = {}
    for e in encoded:
        first = lengths.setdefault(e.template, e)
        if len(first.clean) != len(e.clean):
            raise AlignmentError(
                f"template {e.template!r}: its prompts must have equally many tokens, got "
                f"{len(first.clean)} for {first.pair.clean!r} and {len(e.clean)} for "
                f"{e.pair.clean!r}. Means are taken per template and position. Give longer "
                "variants a template of their own."
            )


def _pad(
    encoded: Sequence[Encoded], side: Literal["left", "right"], pad_token: int, n_dropped: int
) -> PromptPairs:
    width = max(len(e.clean) for e in encoded)
    shifts = [width - len(e.clean) if side == "left" else 0 for e in encoded]

    def padded(ids: list[int], shift: int) -> list[int]:
        return [pad_token] * shift + ids + [pad_token] * (width - len(ids) - shift)

    roles = tuple(
        {name: (start + shift, end + shift) for name, (start, end) in e.roles.items()}
        for e, shift in zip(encoded, shifts, strict=True)
    )
    last = [r[e.pair.answer_after][1] - 1 for r, e in zip(roles, encoded, strict=True)]
    rows = list(zip(encoded, shifts, strict=True))
    mask = [[shift <= p < shift + len(e.clean) for p in range(width)] for e, shift in rows]
    return PromptPairs(
        clean=torch.tensor([padded(e.clean, shift) for e, shift in rows]),
        corrupted=torch.tensor([padded(e.corrupted, shift) for e, shift in rows]),
        mask=torch.tensor(mask),
        labels=Labels(
            _ragged([e.answers for e in encoded]), _ragged([e.wrong_answers for e in encoded])
        ),
        label_pos=torch.tensor(last),
        roles=roles,
        templates=tuple(e.template for e in encoded),
        pairs=tuple(e.pair for e in encoded),
        n_dropped=n_dropped,
    )


def _ragged(rows: Sequence[Sequence[int]]) -> Int[Tensor, "row entry"]:
    width = max(len(row) for row in rows)
    filled = [[*row, *[-1] * (width - len(row))] for row in rows]
    return torch.tensor(filled, dtype=torch.long).reshape(len(rows), width)
