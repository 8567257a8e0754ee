"""What is true of a token of pico's language, by its grammar alone: 79 yes-or-no questions.

A category is a name and, for each token of a document, whether it applies:

    word lists      "name", "place", "verb", "century", ...
    places          "first person", "giver", "receiver", "end year", "first token", ...
    repetition      "seen before in this document", "repeated word of a list", ...
    what is next    "before name", "before receiver", "before an answer of a fact", ...
    documents       "in ioi", "in repeat", ...

No model is asked. Each token is also a word, and stands before one.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from circuitkit.zoo.lexicon import (
    COUNTRIES,
    NAMES,
    OBJECTS,
    PLACES,
    SEQUENCE_WORDS,
    SPAN_NOUNS,
    SURNAMES,
)
from circuitkit.zoo.pico import grammar
from circuitkit.zoo.pico.language import Document, training_document, training_documents
from circuitkit.zoo.pico.train import REPEAT_FIRST_SHARE, SEQUENCE_LENGTH

LISTS: dict[str, frozenset[str]] = {
    "name": frozenset(NAMES),
    "surname": frozenset(SURNAMES),
    "place": frozenset(PLACES),
    "object": frozenset(OBJECTS),
    "person": frozenset(grammar.PEOPLE),
    "listed word": frozenset(SEQUENCE_WORDS),
    "noun of a span": frozenset(SPAN_NOUNS),
    "country": frozenset(country.country for country in COUNTRIES),
    "capital": frozenset(country.capital for country in COUNTRIES),
    "language": frozenset(country.language for country in COUNTRIES),
    "continent": frozenset(country.continent for country in COUNTRIES),
    "verb of giving": frozenset(giving.split()[0] for giving in grammar.GIVINGS),
    "verb of two people": frozenset(clause.split()[0] for clause in grammar.JOINT_CLAUSES),
    "opening": frozenset(
        opening.split()[0] for opening in grammar.CLAUSE_OPENINGS + grammar.SENTENCE_OPENINGS
    ),
    "article": frozenset(("a", "the", "A", "The")),
    "preposition": frozenset(("at", "to", "of", "in", "near", "from", "for", "about", "with")),
    "form of be": frozenset(("is", "are", "was", "were")),
    "comma": frozenset((",",)),
    "full stop": frozenset((".",)),
    "number": frozenset(f"{number:02d}" for number in range(100)),
}
GIVING, ROLES = ("ioi", "abc"), ("first person", "second person", "giver", "receiver")
KINDS = ("ioi", "abc", "repeat", "full-name", "fact", "years", "plain")
NUMBERS = ("start century", "start year", "end century", "end year")


@dataclass(frozen=True)
class Labelled:
    """Sequences of pico's language as training has them, and what is true of each token.

    Axes of `truths` are as those of `ids`, without the beginning-of-sequence token.
    """

    ids: Int[Tensor, "sequence pos"]
    categories: tuple[str, ...]
    truths: Bool[Tensor, "sequence pos_behind_first category"]


def labelled_sequences(tokenizer: PreTrainedTokenizerFast, n: int, *, seed: str) -> Labelled:
    """Return sequences that are drawn by the rule of training, with every token's categories."""
    rng = random.Random(seed)
    names = category_names()
    index = {name: place for place, name in enumerate(names)}
    truths = torch.zeros(n, SEQUENCE_LENGTH - 1, len(names), dtype=torch.bool)
    rows = []
    for row in range(n):
        ids: list[int] = [tokenizer.bos_token_id]
        for document in _documents(rng):
            encoding = tokenizer.backend_tokenizer.encode(document.text)
            for place, found in enumerate(categories_of(document, encoding.tokens)):
                if len(ids) - 1 + place < SEQUENCE_LENGTH - 1:
                    truths[row, len(ids) - 1 + place, [index[name] for name in found]] = True
            ids += encoding.ids
            if len(ids) >= SEQUENCE_LENGTH:
                break
        rows.append(ids[:SEQUENCE_LENGTH])
    return Labelled(torch.tensor(rows), names, truths)


def _documents(rng: random.Random) -> list[Document]:
    """Return more documents than fill a sequence, by the rule of training."""
    documents = training_documents(rng)
    repeats = rng.random() < REPEAT_FIRST_SHARE
    first = training_document(rng, "repeat") if repeats else next(documents)
    return [first, *(next(documents) for _ in range(SEQUENCE_LENGTH // 4))]


def category_names() -> tuple[str, ...]:
    """Return every category, in a fixed order."""
    return (
        *LISTS,
        *(f"before {name}" for name in LISTS),
        *(f"in {kind}" for kind in KINDS),
        *ROLES,
        *(f"before {role}" for role in ROLES),
        *NUMBERS,
        *(f"before {number}" for number in NUMBERS),
        "first token",
        "second token",
        "third token",
        "last token",
        "seen before in this document",
        "before a token seen before",
        "repeated word of a list",
        "first time in a list",
        "name with a surname",
        "name whose surname was given",
        "surname seen before",
        "name seen before",
        "subject of a fact",
        "behind the subject of a fact",
        "answer of a fact",
        "before an answer of a fact",
    )


def categories_of(document: Document, tokens: Sequence[str]) -> list[set[str]]:
    """Return the categories of each token of a document."""
    found: list[set[str]] = [{f"in {document.kind}"} for _ in tokens]
    for place, token in enumerate(tokens):
        found[place] |= {name for name, words in LISTS.items() if token in words}
        if token in tokens[:place]:
            found[place].add("seen before in this document")
    for place, name in enumerate(("first token", "second token", "third token")):
        if place < len(tokens):
            found[place].add(name)
    found[-1].add("last token")
    _add_roles(found, document, tokens)
    _add_repetition(found, document, tokens)
    if document.kind == "fact":
        _add_facts(found, tokens)
    _add_what_is_next(found)
    return found


def _add_roles(found: list[set[str]], document: Document, tokens: Sequence[str]) -> None:
    """Say who gives and gets, and which numbers begin and end a span."""
    if document.kind in GIVING:
        people = [place for place, token in enumerate(tokens) if token in LISTS["name"]]
        for place, role in zip(people, ROLES, strict=True):
            found[place].add(role)
    if document.kind == "years":
        numbers = [place for place, token in enumerate(tokens) if token in LISTS["number"]]
        for place, name in zip(numbers, NUMBERS, strict=True):
            found[place].add(name)


def _add_repetition(found: list[set[str]], document: Document, tokens: Sequence[str]) -> None:
    for place, token in enumerate(tokens):
        before = tokens[:place]
        if document.kind == "repeat" and token in LISTS["listed word"]:
            name = "repeated word of a list" if token in before else "first time in a list"
            found[place].add(name)
        if token in LISTS["surname"] and token in before:
            found[place].add("surname seen before")
        if token in LISTS["name"]:
            behind = tokens[place + 1] if place + 1 < len(tokens) else ""
            if behind in LISTS["surname"]:
                found[place].add("name with a surname")
                if behind in before:
                    found[place].add("name whose surname was given")
            if token in before:
                found[place].add("name seen before")


def _add_facts(found: list[set[str]], tokens: Sequence[str]) -> None:
    """Say what each sentence is about, and what it ends in."""
    known = LISTS["country"] | LISTS["capital"] | LISTS["language"] | LISTS["continent"]
    start = 0
    for end, token in enumerate(tokens):
        if token == ".":
            named = [place for place in range(start, end) if tokens[place] in known]
            found[named[0]].add("subject of a fact")
            found[named[0] + 1].add("behind the subject of a fact")
            found[end - 1].add("answer of a fact")
            found[end - 2].add("before an answer of a fact")
            start = end + 1


def _add_what_is_next(found: list[set[str]]) -> None:
    for here, behind in zip(found, list(map(set, found))[1:], strict=False):
        here |= {f"before {name}" for name in LISTS if name in behind}
        here |= {f"before {name}" for name in (*ROLES, *NUMBERS) if name in behind}
        if "seen before in this document" in behind:
            here.add("before a token seen before")
