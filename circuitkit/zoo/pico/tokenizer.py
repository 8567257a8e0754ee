"""Pico's tokenizer: one token per word or punctuation mark, in the Hugging Face fast format.

Digits are split into pairs, so that a year is its century and its last two digits.
"""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from circuitkit.zoo.pico.language import all_texts

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<unk>"


def vocabulary() -> dict[str, int]:
    """Return every token of the language with its id, the two special tokens first."""
    split = build_pre_tokenizer()
    words = {
        word for text in all_texts() for word, _ in split.pre_tokenize_str(without_slots(text))
    }
    return {token: i for i, token in enumerate((END_OF_TEXT, UNKNOWN, *sorted(words)))}


def build_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Return the rule that splits text into words, punctuation marks and pairs of digits."""
    pairs_of_digits = pre_tokenizers.Split(Regex(r"\d\d"), behavior="isolated")
    return pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pairs_of_digits])


def without_slots(frame: str) -> str:
    """Return the frame without its `{slots}`."""
    return " ".join(part.split("}")[-1] for part in frame.split("{"))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer of the language. It adds no token by itself, as GPT-2's does not."""
    backend = Tokenizer(models.WordLevel(vocabulary(), unk_token=UNKNOWN))
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
