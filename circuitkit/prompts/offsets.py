"""Where each token of a slow (Python) tokenizer stands in its text.

Fast tokenizers say so themselves. A slow one only decodes, so prefixes are decoded one by one:
token k stands between the ends of the texts of the first k - 1 and the first k tokens. The text of
all tokens must be the text again; where only white space differs (tokenizers of words join with
single spaces), the other characters are counted instead.
"""

from collections.abc import Callable, Sequence

from circuitkit.errors import PromptError
from circuitkit.prompts.pairs import Span

Decode = Callable[[Sequence[int]], str]


def offsets_by_decoding(text: str, ids: Sequence[int], decode: Decode, kind: str) -> list[Span]:
    """Return the characters that each token stands for; `kind` names the tokenizer's class.

    Tokens that share one character (bytes of it) all stand for that character.

    Raises:
        PromptError: the tokens do not decode to the text.
    """
    prefixes = [decode(ids[:end]) for end in range(len(ids) + 1)]
    if prefixes[-1] == text:
        alone = [decode([token]) for token in ids]
        spans = _by_characters(text, prefixes)
        return [_own(text, span, own) for span, own in zip(spans, alone, strict=True)]
    places = [place for place, letter in enumerate(text) if not letter.isspace()]
    if _squeezed(prefixes[-1]) == _squeezed(text):
        return _by_letters(text, places, [_squeezed(prefix) for prefix in prefixes])
    raise PromptError(
        f"prompt {text[:200]!r}: its tokens must decode to it, so that their places are known, got "
        f"{prefixes[-1][:200]!r} from the slow tokenizer {kind}. Roles could not be placed. Give "
        "lists of token ids, or a fast tokenizer (tokenizer.json in the model's directory)."
    )


def _by_characters(text: str, prefixes: Sequence[str]) -> list[Span]:
    return [_span(text, one, two) for one, two in zip(prefixes, prefixes[1:], strict=False)]


def _by_letters(text: str, places: Sequence[int], prefixes: Sequence[str]) -> list[Span]:
    """Return spans in `text` from prefixes without white space; `places` are the others' places."""
    spans = _by_characters(_squeezed(text), prefixes)
    return [(places[s], places[e - 1] + 1) if e > s else (0, 0) for s, e in spans]


def _span(text: str, before: str, until: str) -> Span:
    """Return the span of the token that takes the decoded text from `before` to `until`."""
    start, end = _agreeing(text, before), _agreeing(text, until)
    if end < min(len(until), len(text)):  # inside a character, which all its parts get
        end += 1
    return (start - 1 if start == end > 0 else start), end


def _own(text: str, span: Span, alone: str) -> Span:
    """Return the span without a leading space that joining put there, not the token itself."""
    start, end = span
    while start < end - 1 and text[start].isspace() and not alone[:1].isspace():
        start += 1
    return start, end


def _agreeing(text: str, prefix: str) -> int:
    """Return how many first characters of both are equal."""
    for place, (mine, theirs) in enumerate(zip(text, prefix, strict=False)):
        if mine != theirs:
            return place
    return min(len(text), len(prefix))


def _squeezed(text: str) -> str:
    return "".join(text.split())
