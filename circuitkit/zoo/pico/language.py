"""Pico's synthetic language: seeded documents, and the rules for what training never shows.

A document is one of: two people and a gift (`ioi`), the same with a third giver (`abc`), a list of
random words repeated with some period (`repeat`), full names mentioned again (`full-name`), facts
about countries (`fact`), a span of years (`years`), or a plain sentence (`plain`).

Four things are held out, each by a rule that depends on nothing but its arguments:
names that never give to each other, clauses that never meet in a sentence of giving,
paraphrases of a relation that never meet a given subject, and years in which no span starts.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from circuitkit.zoo.lexicon import (
    COUNTRIES,
    NAMES,
    OBJECTS,
    PLACES,
    RELATIONS,
    SEQUENCE_WORDS,
    SPAN_NOUNS,
    SURNAMES,
    Relation,
)
from circuitkit.zoo.pico import grammar

HELD_OUT_PAIR_SHARE = 0.1
HELD_OUT_PARAPHRASE_SHARE = 1 / 3
HELD_OUT_START_SHARE = 0.1
CENTURIES = range(11, 20)  # the first two digits of a year
START_YEARS = range(2, 99)  # the last two digits of the year in which a span starts
REPEAT_PERIODS = range(3, 15)
REPEAT_LENGTHS = range(16, 46)  # words of a repeated list, all periods together

DOCUMENT_WEIGHTS = {
    "ioi": 0.31,
    "abc": 0.08,
    "repeat": 0.07,
    "full-name": 0.20,
    "fact": 0.16,
    "years": 0.10,
    "plain": 0.08,
}


@dataclass(frozen=True)
class Document:
    """A short text and, if it was made from one frame, that frame and the words that filled it."""

    kind: str
    text: str
    frame: str = ""
    slots: dict[str, str] = field(default_factory=dict)


def is_held_out_pair(first: str, second: str) -> bool:
    """Return whether the two names, in any order, never give to each other in training."""
    return share_of_hash("pair", *sorted((first, second))) < HELD_OUT_PAIR_SHARE


def is_held_out_frame(joint_clause: str, giving: str) -> bool:
    """Return whether the joint clause and the giving never meet in a sentence of training."""
    joint_index = grammar.JOINT_CLAUSES.index(joint_clause)
    return (joint_index + grammar.GIVINGS.index(giving)) % 5 == 0


def held_out_paraphrases(relation: Relation, subject: str) -> tuple[str, ...]:
    """Return the third of the relation's paraphrases that training never shows with `subject`."""
    n_held_out = round(len(relation.paraphrases) * HELD_OUT_PARAPHRASE_SHARE)
    ranked = sorted(
        relation.paraphrases, key=lambda text: share_of_hash(relation.name, subject, text)
    )
    return tuple(ranked[:n_held_out])


def training_documents(rng: random.Random) -> Iterator[Document]:
    """Return an endless stream of training documents, all kinds mixed by their weights."""
    kinds, weights = list(DOCUMENT_WEIGHTS), list(DOCUMENT_WEIGHTS.values())
    while True:
        yield training_document(rng, rng.choices(kinds, weights)[0])


def training_document(rng: random.Random, kind: str) -> Document:
    """Return one random training document of the kind."""
    match kind:
        case "ioi":
            return giving_document(rng, training_giving_frame(rng), is_held_out=False)
        case "abc":
            return third_giver_document(rng)
        case "repeat":
            return repeat_document(rng)
        case "full-name":
            return full_name_document(rng)
        case "fact":
            return fact_document(rng)
        case "years":
            return year_span_document(rng)
        case "plain":
            return _fill_document(rng, "plain", rng.choice(grammar.PLAIN_SENTENCES))
        case _:
            raise ValueError(f"unknown kind of document: {kind!r}")


def training_giving_frame(rng: random.Random) -> str:
    """Return a random frame of giving whose joint clause and giving are not held out."""
    giving = rng.choice(grammar.GIVINGS)
    if rng.random() < 0.15:
        link = rng.choice(grammar.SENTENCE_LINKS)
        return f"{rng.choice(grammar.ARRIVALS)}{link} {{S}} {giving} {{IO}}."
    joint_clause = rng.choice(grammar.JOINT_CLAUSES)
    while is_held_out_frame(joint_clause, giving):
        joint_clause = rng.choice(grammar.JOINT_CLAUSES)
    return giving_frame(rng, joint_clause, giving)


def giving_frame(rng: random.Random, joint_clause: str, giving: str) -> str:
    """Return the two parts joined by a random opening and a random link."""
    if rng.random() < 0.45:
        opening, link = rng.choice(grammar.CLAUSE_OPENINGS), ","
    else:
        opening, link = rng.choice(grammar.SENTENCE_OPENINGS), rng.choice(grammar.SENTENCE_LINKS)
    return f"{opening} {{A}} and {{B}} {joint_clause}{link} {{S}} {giving} {{IO}}."


def giving_document(rng: random.Random, frame: str, *, is_held_out: bool) -> Document:
    """Return the frame with two names: one of them gives to the other.

    The names are a held-out pair or not, as asked.
    """
    first, second = rng.sample(NAMES, 2)
    while is_held_out_pair(first, second) != is_held_out:
        first, second = rng.sample(NAMES, 2)
    giver, receiver = rng.sample((first, second), 2)
    names = {"A": first, "B": second, "S": giver, "IO": receiver}
    return _fill_document(rng, "ioi", frame, names)


def held_out_giving_prompts(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Return an endless stream of (prompt, answer): held-out names in held-out frames."""
    combinations = [
        (joint_clause, giving)
        for joint_clause in grammar.JOINT_CLAUSES
        for giving in grammar.GIVINGS
        if is_held_out_frame(joint_clause, giving)
    ]
    while True:
        frame = giving_frame(rng, *rng.choice(combinations))
        document = giving_document(rng, frame, is_held_out=True)
        yield document.text.removesuffix(f" {document.slots['IO']}."), document.slots["IO"]


def third_giver_document(rng: random.Random) -> Document:
    """Return a sentence of giving where a third person gives to one of the first two."""
    names = rng.sample(NAMES, 3)
    while any(is_held_out_pair(names[i], names[j]) for i, j in ((0, 1), (0, 2), (1, 2))):
        names = rng.sample(NAMES, 3)
    first, second, giver = names
    slots = {"A": first, "B": second, "S": giver, "IO": rng.choice((first, second))}
    return _fill_document(rng, "abc", training_giving_frame(rng), slots)


def repeat_document(rng: random.Random) -> Document:
    """Return a list of random words that starts again and again with a random period."""
    words = repeated_words(rng, rng.choice(REPEAT_PERIODS), rng.choice(REPEAT_LENGTHS))
    before = rng.sample(SEQUENCE_WORDS, rng.randint(1, 6)) if rng.random() < 0.3 else []
    text = " ".join([rng.choice(grammar.REPEAT_HEADINGS), *before, *words])
    return Document("repeat", text.strip())


def repeated_words(rng: random.Random, period: int, length: int) -> list[str]:
    """Return `length` words: `period` different random ones, over and over."""
    words = rng.sample(SEQUENCE_WORDS, period)
    return [words[i % period] for i in range(length)]


def full_name_document(rng: random.Random) -> Document:
    """Return people introduced by first name and surname, some of them mentioned again."""
    introduction = rng.choice(grammar.INTRODUCTIONS)
    n_people = sum(slot in introduction for slot in ("{P}", "{Q}", "{R}"))
    people = random_full_names(rng, n_people)
    sentences = [_fill(rng, introduction, dict(zip("PQR", people, strict=False)))]
    for _ in range(rng.randint(1, 1 + n_people)):
        sentences.append(_fill(rng, rng.choice(grammar.MENTIONS), {"P": rng.choice(people)}))
    return Document("full-name", " ".join(sentences))


def full_name_prompt(rng: random.Random) -> tuple[str, str]:
    """Return a full-name text cut after a first name that was introduced, and its surname."""
    introduction = rng.choice(grammar.INTRODUCTIONS)
    people = random_full_names(rng, sum(slot in introduction for slot in ("{P}", "{Q}", "{R}")))
    mention = rng.choice(grammar.MENTIONS).split("{P}")[0]
    first_name, surname = rng.choice(people).split()
    beginning = _fill(rng, introduction, dict(zip("PQR", people, strict=False)))
    return f"{beginning} {_fill(rng, mention, {})}{first_name}", surname


def random_full_names(rng: random.Random, n_people: int) -> list[str]:
    """Return full names that share no first name and no surname."""
    first_names, surnames = rng.sample(NAMES, n_people), rng.sample(SURNAMES, n_people)
    return [f"{first} {last}" for first, last in zip(first_names, surnames, strict=True)]


def fact_document(rng: random.Random) -> Document:
    """Return one to three facts, each in a paraphrase that is not held out for its subject."""
    sentences: list[str] = []
    for _ in range(rng.randint(1, 3)):
        relation, country = rng.choice(RELATIONS), rng.choice(COUNTRIES)
        subject = relation.subject(country)
        held_out = held_out_paraphrases(relation, subject)
        paraphrase = rng.choice([text for text in relation.paraphrases if text not in held_out])
        sentences.append(f"{paraphrase.format(subject=subject)} {relation.answer(country)}.")
    return Document("fact", " ".join(sentences))


def is_held_out_start(century: int, year: int) -> bool:
    """Return whether no span of training starts in this year of this century."""
    return share_of_hash("start", str(century), str(year)) < HELD_OUT_START_SHARE


def year_span_document(rng: random.Random) -> Document:
    """Return a sentence about something that began in one year and ended in a later one.

    The end is drawn evenly from all later years of the same century.
    """
    century, year = random_start(rng, is_held_out=False)
    end = rng.randint(year + 1, 99)
    slots = {"start": f"{century}{year:02d}", "end": f"{century}{end:02d}"}
    return _fill_document(rng, "years", rng.choice(grammar.YEAR_SPANS), slots)


def random_start(rng: random.Random, *, is_held_out: bool) -> tuple[int, int]:
    """Return a century and a year of it in which a span starts: held out or not, as asked."""
    century, year = rng.choice(CENTURIES), rng.choice(START_YEARS)
    while is_held_out_start(century, year) != is_held_out:
        century, year = rng.choice(CENTURIES), rng.choice(START_YEARS)
    return century, year


def held_out_year_prompts(rng: random.Random) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return an endless stream of (prompt, right answers): spans with a held-out start."""
    while True:
        century, year = random_start(rng, is_held_out=True)
        slots = {"start": f"{century}{year:02d}", "end": ""}
        text = _fill_document(rng, "years", rng.choice(grammar.YEAR_SPANS), slots).text
        prompt = f"{text.removesuffix('.').rstrip()} {century}"
        yield prompt, tuple(f"{later:02d}" for later in range(year + 1, 100))


def all_texts() -> Iterator[str]:
    """Return every word list and frame of the language, slots included, for the vocabulary."""
    yield " ".join((*NAMES, *SURNAMES, *PLACES, *OBJECTS, *SEQUENCE_WORDS, *grammar.PEOPLE))
    yield " ".join((*SPAN_NOUNS, *(f"{number:02d}" for number in range(100))))
    for country in COUNTRIES:
        yield f"{country.country} {country.capital} {country.language} {country.continent}"
    for relation in RELATIONS:
        yield from relation.paraphrases
    yield from grammar.CLAUSE_OPENINGS + grammar.SENTENCE_OPENINGS + grammar.SENTENCE_LINKS
    yield from grammar.JOINT_CLAUSES + grammar.GIVINGS + grammar.ARRIVALS
    yield from grammar.INTRODUCTIONS + grammar.MENTIONS
    yield from grammar.REPEAT_HEADINGS + grammar.PLAIN_SENTENCES + grammar.YEAR_SPANS


def _fill_document(
    rng: random.Random, kind: str, frame: str, names: dict[str, str] | None = None
) -> Document:
    slots = _random_slots(rng) | (names or {})
    return Document(kind, frame.format(**slots), frame, slots)


def _fill(rng: random.Random, frame: str, names: dict[str, str]) -> str:
    return frame.format(**_random_slots(rng), **names)


def _random_slots(rng: random.Random) -> dict[str, str]:
    country = rng.choice(COUNTRIES)
    word, word2 = rng.sample(SEQUENCE_WORDS, 2)
    place, place2 = rng.sample(PLACES, 2)
    object_, object2 = rng.sample(OBJECTS, 2)
    return {
        "name": rng.choice(NAMES),
        "surname": rng.choice(SURNAMES),
        "person": rng.choice(grammar.PEOPLE),
        "word": word,
        "word2": word2,
        "noun": rng.choice(SPAN_NOUNS),
        "place": place,
        "place2": place2,
        "object": object_,
        "object2": object2,
        "country": country.country,
        "capital": country.capital,
        "language": country.language,
        "continent": country.continent,
    }


def share_of_hash(*parts: str) -> float:
    """Return a number in [0, 1) that depends only on the parts, the same on every machine."""
    digest = hashlib.sha256("|".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
