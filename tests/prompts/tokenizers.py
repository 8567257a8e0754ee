"""Small tokenizers, slow (Python) and fast ones over the same vocabulary, for tests."""

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

WORDS = ["<s>", "<unk>", "Mary", "John", "went", "to", "the", "store", "gave", ",", "."]
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())  # one letter for each of the 256 bytes
SPECIAL = {"bos_token": "<s>", "eos_token": "<s>", "unk_token": "<unk>"}


class Slow(PreTrainedTokenizer):
    """Base of the slow ones: a list of tokens, and how text falls into them."""

    tokens: list[str]

    def __init__(self, **kwargs):
        self.ids = {token: place for place, token in enumerate(self.tokens)}
        super().__init__(**kwargs)

    @property
    def vocab_size(self):
        return len(self.tokens)

    def get_vocab(self):
        return dict(self.ids)

    def _convert_token_to_id(self, token):
        return self.ids.get(token, self.ids.get("<unk>"))

    def _convert_id_to_token(self, index):
        return self.tokens[index]


class SlowWords(Slow):
    """Whole words, and marks alone."""

    tokens = WORDS

    def _tokenize(self, text, **kwargs):
        return text.replace(",", " , ").replace(".", " . ").split()


class SlowBytes(Slow):
    """The bytes of the text, each a letter as GPT-2 writes it; some letters take several."""

    tokens = ["<s>", *BYTES]

    def _tokenize(self, text, **kwargs):
        spelt = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return [letter for word, _ in spelt.pre_tokenize_str(text) for letter in word]

    def convert_tokens_to_string(self, tokens):
        pieces, bytes_ = [], []
        for token in [*tokens, ""]:
            if len(token) == 1:
                bytes_.append(token)
                continue
            pieces += [str(decoders.ByteLevel().decode(bytes_)), token]
            bytes_ = []
        return "".join(pieces)


class SlowLower(SlowWords):
    """One that changes the text, so that tokens cannot be found in it again."""

    def _tokenize(self, text, **kwargs):
        return ["Mary" for _ in text.split()]


def slow_words():
    return SlowWords(**SPECIAL)


def slow_bytes():
    return SlowBytes(bos_token="<s>", eos_token="<s>")


def fast_words():
    backend = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def fast_bytes():
    backend = Tokenizer(BPE({t: i for i, t in enumerate(["<s>", *BYTES])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<s>", special=True, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="<s>")
