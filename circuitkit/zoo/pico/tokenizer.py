"""Pico's tokenizer: one token per word or punctuation mark, in the Hugging Face fast format.

Digits are split into pairs, so that a year is its century and its last two digits.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from circuitkit.zoo.pico.language import all_texts

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<unk>"


def vocabulary() -> dict[str, int]:
    """Return every token of the language with its id, the two special tokens first."""
    words = words_in(all_texts())
    return {token: i for i, token in enumerate((END_OF_TEXT, UNKNOWN, *sorted(words)))}


def build_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Return the rule that splits text into words, punctuation marks and pairs of digits."""
    pairs_of_digits = pre_tokenizers.Split(Regex(r"\d\d"), behavior="isolated")
    return pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pairs_of_digits])


def without_slots(frame: str) -> str:
    """Return the frame without its `{slots}`."""
    return " ".join(part.split("}")[-1] for part in frame.split("{"))


def words_in(texts: Iterable[str]) -> set[str]:
    """Return the words, punctuation marks and pairs of digits of texts or frames."""
    split = build_pre_tokenizer()
    return {word for text in texts for word, _ in split.pre_tokenize_str(without_slots(text))}


def build_tokenizer(ids: dict[str, int] | None = None) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the language. It adds no token by itself, as GPT-2's does not.

    `ids` are the tokens and their ids; those of pico where there are none.
    """
    backend = Tokenizer(models.WordLevel(ids or vocabulary(), unk_token=UNKNOWN))
    backend.pre_tokenizer = build_pre_tokenizer()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)  # joins "door" and "."
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=UNKNOWN,
        model_max_length=64,
    )
