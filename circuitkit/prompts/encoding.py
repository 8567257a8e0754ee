"""From text to token ids: special tokens, the place of every token, and which ids can be tokens.

Text may begin with the tokenizer's beginning-of-sequence token (BOS), as a rendered chat template
does. Which prompts get one is one choice, `bos`:

    auto     text gets the BOS if its tokenizer has one, and never a second one
    always   the same, and a tokenizer without a BOS is refused
    never    nothing is added; a BOS that the text begins with stays

Messages are rendered by the chat template, which knows whether there is a BOS: `auto` adds none.
Token ids are taken as they are, whatever the choice. docs/special-tokens.md says more.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from circuitkit.errors import AnswerError, PromptError
from circuitkit.prompts.chat import RenderedChat, render_chat
from circuitkit.prompts.messages import is_chat
from circuitkit.prompts.offsets import offsets_by_decoding
from circuitkit.prompts.pairs import Prompt, Span
from circuitkit.work.text import is_unicode

BOS_CHOICES = ("auto", "always", "never")
BY_TEMPLATE = "by template"  # what `auto` is for messages
# What was done about the BOS of a prompt: put in front, found in the text, none, ids as given.
ADDED, PRESENT, NONE, AS_GIVEN = "added", "present", "none", "as given"
ABOVE_IDS = 2**63  # token ids are 64-bit integers
SHOWN = 200  # characters of a prompt in a message


@dataclass(frozen=True)
class EncodedText:
    """A prompt's token ids, the span of each in the prompt, and what was done about the BOS.

    Spans are characters of text (of messages: as rendered), or the token's own place among token
    ids; that of a BOS which was added is (-1, -1).
    """

    ids: list[int]
    offsets: list[Span]
    bos: str
    chat: RenderedChat | None = None


def checked_bos(bos: str) -> str:
    """Return the choice of what to do about the beginning-of-sequence token.

    Raises:
        PromptError: there is no such choice.
    """
    if bos not in BOS_CHOICES:
        raise PromptError(
            f"bos: must be one of {', '.join(BOS_CHOICES)}, got {bos!r}. It says which prompts "
            "begin with the tokenizer's beginning-of-sequence token. Choose one."
        )
    return bos


def encode(prompt: Prompt, tokenizer: PreTrainedTokenizerBase | None, bos: str) -> EncodedText:
    """Return a prompt as token ids.

    Raises:
        PromptError: it is empty, neither text nor messages nor token ids, holds an unknown word,
            or the chat template cannot render it.
    """
    if isinstance(prompt, str):
        return _encode_text(prompt, tokenizer, bos)
    if is_chat(prompt):
        chat = render_chat(prompt, tokenizer)
        how = BY_TEMPLATE if bos == "auto" else bos
        return replace(_encode_text(chat.text, tokenizer, how), chat=chat)
    try:
        ids = [token_id(token) for token in prompt]
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"prompt {shown(prompt)}: must be text or a sequence of token ids from 0 on, or "
            f"messages, got {error}. It is what the model reads. Correct it."
        ) from error
    _require_tokens(ids, prompt)
    return EncodedText(ids, [(place, place + 1) for place in range(len(ids))], AS_GIVEN)


def token_id(token: Any) -> int:
    """Return a token id as a plain integer.

    Raises:
        TypeError: it is no integer; True and False are none here.
        ValueError: it is below 0, or above what 64 bits hold.
    """
    if isinstance(token, bool):
        raise TypeError(f"{token!r}, which is no integer")
    found = operator.index(token)
    if not 0 <= found < ABOVE_IDS:
        raise ValueError(f"the id {shown(found)}")
    return found


def answer_ids(
    answer: str | int | Sequence[int], tokenizer: PreTrainedTokenizerBase | None
) -> tuple[int, ...]:
    """Return the token ids of an answer, as it continues a prompt; one or more.

    Raises:
        AnswerError: it is empty, or not of the vocabulary, or neither text nor ids.
    """
    if not isinstance(answer, str):
        try:
            return tuple(token_id(token) for token in _as_sequence(answer))
        except (TypeError, ValueError) as error:
            raise AnswerError(
                f"answer {shown(answer)}: must be text, a token id from 0 on or some of them, got "
                f"{error}. Its logit is read. Give the id of a token."
            ) from error
    ids, _ = _plain_ids(answer, tokenizer, AnswerError)
    if len(ids) > 1 and answer[:1].isspace():
        ids = _behind_a_word(answer, tokenizer)
    if not ids or any(_is_unknown(token, tokenizer) for token in ids):
        raise AnswerError(
            f"answer {shown(answer)}: must be known tokens, got {shown(pieces(ids, tokenizer))}. "
            "Their logits are read. Choose another word, or check for a missing leading space."
        )
    return tuple(ids)


def _as_sequence(answer: int | Sequence[int]) -> Sequence[int]:
    """Return the ids of an answer that is no text: an id is a sequence of one.

    Raises:
        ValueError: there is none.
    """
    if not isinstance(answer, Sequence):
        return (answer,)
    if not answer:
        raise ValueError("no id")
    return answer


def pieces(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase | None) -> list[str]:
    """Return the text of each token alone, its id where there is no tokenizer."""
    return [_piece(token, tokenizer) for token in ids]


def _piece(token: int, tokenizer: PreTrainedTokenizerBase | None) -> str:
    try:
        return str(token) if tokenizer is None else str(tokenizer.decode([token]))
    except (IndexError, KeyError, OverflowError, TypeError, ValueError):  # none of its tokens
        return str(token)


def shown(value: object, limit: int = SHOWN) -> str:
    """Return a value as a message shows it: cut where it is long."""
    text = ascii(value) if isinstance(value, str) and not is_unicode(value) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def _encode_text(text: str, tokenizer: PreTrainedTokenizerBase | None, bos: str) -> EncodedText:
    ids, offsets = _plain_ids(text, tokenizer, PromptError)
    unknown = [place for place, token in enumerate(ids) if _is_unknown(token, tokenizer)]
    if unknown:
        words = [text[slice(*offsets[place])] if offsets else f"token {place}" for place in unknown]
        raise PromptError(
            f"prompt {shown(text)}: every word must be in the tokenizer's vocabulary, got "
            f"{shown(words)}. The model would see a blank. Use other words or another model."
        )
    _require_tokens(ids, text)
    assert tokenizer is not None, "text was tokenised"
    offsets = offsets or offsets_by_decoding(
        text, ids, lambda some: _decoded(some, tokenizer), type(tokenizer).__name__
    )
    done = _bos_for(text, ids, tokenizer, bos)
    if done != ADDED:
        return EncodedText(ids, offsets, done)
    return EncodedText([int(tokenizer.bos_token_id), *ids], [(-1, -1), *offsets], done)


def _bos_for(text: str, ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, bos: str) -> str:
    """Return what is to be done about a text's beginning-of-sequence token."""
    own = getattr(tokenizer, "bos_token_id", None)
    if own is not None and ids[0] == own:
        return PRESENT
    if bos == "never" or (own is None and bos != "always"):
        return NONE
    if own is None:
        raise PromptError(
            f"prompt {shown(text)}: with bos 'always' the tokenizer must have a "
            "beginning-of-sequence token, got none. There is nothing to begin with. Use bos 'auto'."
        )
    if text.startswith(str(tokenizer.bos_token)):
        raise PromptError(
            f"prompt {shown(text)}: the {tokenizer.bos_token!r} that it begins with must be one "
            f"token, got {shown(pieces(ids[:4], tokenizer))} first. The model would read the "
            "letters of the name. Take it off the text, or let the tokenizer not split special "
            "tokens."
        )
    return NONE if bos == BY_TEMPLATE else ADDED


def _require_tokens(ids: Sequence[int], prompt: object) -> None:
    if not ids:
        raise PromptError(
            f"prompt {shown(prompt)}: must hold at least one token, got none. Fill it."
        )


def _behind_a_word(answer: str, tokenizer: PreTrainedTokenizerBase | None) -> list[int]:
    """Return the ids of an answer that begins with a space.

    Alone it may get a second space: tokenizers such as Llama's begin every text with one.
    """
    before, _ = _plain_ids("a", tokenizer, AnswerError)
    both, _ = _plain_ids("a" + answer, tokenizer, AnswerError)
    return both[len(before) :] if both[: len(before)] == before else both


def _plain_ids(
    text: str, tokenizer: PreTrainedTokenizerBase | None, error_class: type[PromptError]
) -> tuple[list[int], list[Span]]:
    """Return the ids of a text without anything added, and their spans; none of a slow tokenizer.

    Special tokens that stand in the text ("<s>") are read as such.
    """
    where = f"{'answer' if error_class is AnswerError else 'prompt'} {shown(text)}"
    if tokenizer is None:
        raise error_class(
            f"{where}: must be token ids, got text, and the model has no tokenizer. "
            "Give lists of token ids, or put tokenizer.json into the model's directory."
        )
    if not is_unicode(text):
        raise error_class(
            f"{where}: must be Unicode text, got half of a surrogate pair. No tokenizer can read "
            "it. Take it out."
        )
    is_fast = bool(tokenizer.is_fast)
    extra = {"return_offsets_mapping": True} if is_fast else {}
    try:
        encoding: Any = tokenizer(text, add_special_tokens=False, **extra)
        ids = [int(token) for token in encoding["input_ids"]]
        return ids, [tuple(span) for span in encoding["offset_mapping"]] if is_fast else []
    except Exception as error:  # tokenizers raise many kinds: no unknown token, for one
        raise error_class(
            f"{where}: the tokenizer ({type(tokenizer).__name__}) must be able to read it, got "
            f"{type(error).__name__}: {shown(str(error))}. There would be no tokens. Use other "
            "words, or give token ids."
        ) from error


def _decoded(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)) if ids else ""


def _is_unknown(token: int, tokenizer: PreTrainedTokenizerBase | None) -> bool:
    unknown = getattr(tokenizer, "unk_token_id", None)
    # GPT-2 names its end-of-text token as the unknown one too, yet has no unknown words.
    return unknown is not None and token == unknown and unknown != tokenizer.eos_token_id  # type: ignore[union-attr]
